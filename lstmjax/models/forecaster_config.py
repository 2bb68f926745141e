"""Forecasters from a config alone."""

import dataclasses
from typing import Any, Literal

from flax import nnx

from lstmjax import layers
from lstmjax.distributions import OUTPUTS
from lstmjax.layers.scaling import SeriesScaler
from lstmjax.models.config_parts import CELLS, cell_maker, check_fields
from lstmjax.models.forecast_networks import DecoderNetwork, DirectNetwork, Network, WindowNetwork
from lstmjax.models.forecaster import Forecaster, InstanceNorm, RecursiveForecaster


@dataclasses.dataclass(frozen=True)
class ForecasterConfig:
    """Sizes, outputs and regularisation of a `Forecaster` or a `RecursiveForecaster`."""

    network: Literal["lstm", "gru", "elman", "mlp", "linear", "dlinear"] = "lstm"
    """What reads the window: a recurrent network, dense layers, a linear map, or one each for trend and remainder."""
    head: Literal["direct", "decoder", "recursive"] = "direct"
    """How recurrent networks predict: all steps at once from the last output; by a second recurrence, over the steps to
    come; or one step after another, each drawn and read again (DeepAR)."""
    output: Literal["mse", "mae", "huber", "gaussian", "student-t", "negative-binomial", "quantiles"] = "student-t"
    """What is predicted of each value: a point, trained on one of three errors; a distribution; or quantiles."""
    hidden_features: tuple[int, ...] = (64,)
    """The width of each recurrent or hidden dense layer, bottom first; unused by the linear maps."""
    segment: int | None = None
    """Steps that recurrent networks read (and the decoder writes) at a time; with 24, a day of hours is one step. None
    leaves it to the data: a season where the window has four or more, else 1."""
    channels: Literal["shared", "joint"] = "shared"
    """Several targets: each by itself through shared weights, or all together through one network."""
    instance_norm: InstanceNorm = "standard"
    """What is taken out of each window and put back: its last value; its mean and standard deviation; for counts, its
    scale alone. Series that drift need it."""
    transform: Literal["none", "log", "sqrt"] = "none"
    """What is done to numbers before all else: the logarithm, where changes grow with the level; the square root, where
    their variance does, as in counts. The point that is forecast is then a median."""
    scaling: Literal["none", "standard", "minmax", "robust"] = "standard"
    """What each series is scaled by before, measured on its training part: mean and deviation, range, or median and
    quartiles."""
    scale_each: bool = True
    """Every series by statistics of its own; or all of a file by the same."""
    moving_average: int = 25
    """Steps that dlinear's trend is a mean over, odd."""
    hidden_dropout: float = 0.0
    """Dropout between layers, in [0, 1)."""
    recurrent_dropout: float = 0.0
    """Dropout on what enters the recurrent product, one mask a window, in [0, 1)."""
    output_dropout: float = 0.0
    """Dropout on what the last layer reads of a recurrence, in [0, 1)."""
    input_length: int | None = None
    """L, steps of history that are read; None leaves it to the data."""
    horizon: int | None = None
    """H, steps to come; None leaves this and what follows to the data."""
    num_targets: int | None = None
    """C, numbers to forecast at each step."""
    num_past: int = 0
    """P, covariates that end with the history."""
    num_known: int = 0
    """K, covariates known for the steps to come, too."""
    num_series: int = 1
    """Series that have scales of their own."""

    def __post_init__(self) -> None:
        check_fields(self, {"num_past": 0, "num_known": 0})
        self._check_network()
        self._check_output()
        self._check_steps()

    @property
    def is_recurrent(self) -> bool:
        """Whether the network runs over time."""
        return self.network in CELLS

    def _check_network(self) -> None:
        if self.moving_average % 2 == 0:
            raise ValueError(f"moving_average must be odd, to have a middle, got {self.moving_average}")
        if not self.is_recurrent:
            for name in ("head", "segment", "recurrent_dropout", "output_dropout"):
                if getattr(self, name) != getattr(ForecasterConfig, name):
                    raise ValueError(f"{name} is for recurrent networks, got it with network {self.network!r}")
        if self.network in (*CELLS, "mlp") and not self.hidden_features:
            raise ValueError(f"hidden_features must have a width for network {self.network!r}, got none")
        if self.network in ("linear", "dlinear") and self.hidden_dropout:
            raise ValueError(f"hidden_dropout acts between layers, and network {self.network!r} has only one")
        if self.is_recurrent and self.hidden_dropout and len(self.hidden_features) < 2:
            raise ValueError("hidden_dropout acts between layers, so it needs two widths in hidden_features")

    def _check_output(self) -> None:
        if self.output != "negative-binomial":
            return
        if (self.scaling, self.transform) != ("none", "none") or self.instance_norm not in ("none", "scale"):
            raise ValueError(
                "output negative-binomial is for counts as they are: it needs scaling and transform none, and "
                f"instance_norm none or scale, got {self.scaling}, {self.transform} and {self.instance_norm}"
            )

    def _check_steps(self) -> None:
        """Segments fit into the window, and the head can do with what it is given."""
        if self.head == "recursive":
            if self.segment not in (None, 1):
                raise ValueError(f"segment must be 1 where one step follows another, got {self.segment}")
            if self.num_past:
                raise ValueError("head recursive has no past covariates in the steps to come; give known ones only")
        for name in ("input_length", "horizon") if self.head == "decoder" else ("input_length",):
            steps = getattr(self, name)
            if self.segment is not None and steps is not None and steps % self.segment:
                raise ValueError(f"{name} must be a multiple of segment {self.segment}, got {steps}")


def build(config: ForecasterConfig, rngs: nnx.Rngs) -> Forecaster | RecursiveForecaster:
    """The model that a config describes.

    Raises:
      ValueError: the config leaves open what the data decide.

    >>> config = ForecasterConfig(network="dlinear", output="mse", input_length=48, horizon=24, num_targets=7)
    >>> build(config, nnx.Rngs(0))(jnp.ones((2, 48, 7))).value.shape
    (2, 24, 7)
    """
    if config.input_length is None or config.horizon is None or config.num_targets is None:
        raise ValueError("input_length, horizon and num_targets must be set")
    num_scales = config.num_series if config.scale_each else 1
    scaler = SeriesScaler(config.num_targets, config.scaling, num_scales, config.transform)
    channels = 1 if config.channels == "shared" else config.num_targets
    options: dict[str, Any] = {
        "num_known": config.num_known,
        "input_length": config.input_length,
        "horizon": config.horizon,
        "instance_norm": config.instance_norm,
        "shared_channels": config.channels == "shared",
    }
    if config.head == "recursive":
        recurrent = _recurrent(config, channels + config.num_known, rngs)
        options |= {"dropout": config.output_dropout, "rngs": rngs}
        return RecursiveForecaster(recurrent, config.output, scaler, **options)
    network = _network(config, channels, config.input_length, config.horizon, rngs)
    return Forecaster(network, config.output, scaler, num_past=config.num_past, **options)


def _network(config: ForecasterConfig, channels: int, input_length: int, horizon: int, rngs: nnx.Rngs) -> Network:
    """What predicts all steps at once."""
    features = channels + config.num_past + config.num_known
    out = channels * OUTPUTS[config.output].kind.size
    if not config.is_recurrent:
        return WindowNetwork(
            input_length,
            features,
            horizon,
            config.num_known,
            out,
            hidden_features=config.hidden_features if config.network == "mlp" else (),
            moving_average=config.moving_average if config.network == "dlinear" else None,
            dropout=config.hidden_dropout,
            rngs=rngs,
        )
    segment = config.segment or 1
    encoder = _recurrent(config, segment * features, rngs)
    if config.head == "direct":
        return DirectNetwork(
            encoder, horizon, config.num_known, out, segment=segment, dropout=config.output_dropout, rngs=rngs
        )
    lead_features = config.hidden_features[0]
    decoder = _recurrent(config, lead_features + segment * config.num_known, rngs)
    return DecoderNetwork(
        encoder, decoder, horizon, lead_features, out, segment=segment, dropout=config.output_dropout, rngs=rngs
    )


def _recurrent(config: ForecasterConfig, in_features: int, rngs: nnx.Rngs) -> layers.Stacked:
    cell = cell_maker(config.network, config.recurrent_dropout)
    return layers.stack(cell, in_features, config.hidden_features, dropout=config.hidden_dropout, rngs=rngs)
