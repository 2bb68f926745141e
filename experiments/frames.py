"""Learn to say the next frames of videos, by convolutional LSTMs.

Trains on Moving MNIST, made as it goes, or on a file of videos, and a baseline beside it: an LSTM for every pixel by
itself. Chooses by the validation part, looks at the test part once. Videos go on, by a trained model, with --checkpoint
DIR --predict FILE.

Usage: python -m experiments.frames [--data FILE] [--out DIR] ...
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import baselines, cli, image_parts, settings, study, trained
from experiments.baselines import Figures
from experiments.frame_pictures import as_picture, draw_moving, draw_steps, draw_strip, save_gif
from experiments.observers import plot_curves
from experiments.parts import digest
from experiments.ranges import Checked, Index, Positive
from lstmjax import checks, data, metrics, training
from lstmjax.data import moving_digits, videos
from lstmjax.data.source import Examples
from lstmjax.errors import InputError
from lstmjax.models import FramePredictor, FramePredictorConfig

SIZES = {"moving-mnist-32": (32, 14), "moving-mnist-64": (64, 28)}
"""Of the made sets: the side of a frame and that of a digit."""
PIXEL = FramePredictorConfig(hidden_features=(32,), kernel_sizes=(1,), patch_size=1)
"""An LSTM that all pixels share, each with a state of its own."""
SHOWN = 3
"""Test clips in the pictures."""

CLIPS = 1000
"""Of the made sets: clips to test on."""


@dataclasses.dataclass(frozen=True)
class FramesConfig(settings.StepsConfig):
    """Every setting of a run."""

    data: str = "moving-mnist-32"
    """moving-mnist-32, moving-mnist-64, or a file of videos [N, T, H, W] or [N, T, H, W, C], .npy or .npz: bytes, or
    numbers in [0, 1]; also mnist_test_seq.npy as it is published."""
    given: Positive = 10
    """Frames that the model sees."""
    ahead: Positive = 10
    """Frames that it says."""
    clips: Positive | None = None
    """Of the made sets: clips to test on, 1,000 unless said; a fifth as many to choose by."""
    baselines: bool = True
    """Train the LSTM for every pixel too."""
    quick: bool = False
    """A look in under a minute: 10 steps, and few clips to choose by and to test on."""
    batch_size: Positive = 8
    steps: settings.Steps = 2000
    eval_every: Positive = 250
    model: FramePredictorConfig = dataclasses.field(
        default_factory=lambda: FramePredictorConfig(hidden_features=(32, 32), kernel_sizes=(3, 3), patch_size=2)
    )
    optimizer: training.OptimizerConfig = training.OptimizerConfig(learning_rate=3e-3, beta2=0.999)
    quick_steps: ClassVar[int] = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clips is not None and self.data not in SIZES:
            raise ValueError(f"clips is for {', '.join(SIZES)}; a file has as many as it has")


def load(config: FramesConfig) -> study.Data:
    """Clips to learn from, to choose by and to test on."""
    train, validation, test, facts = _made(config) if config.data in SIZES else _read(config)
    height, width, channels = test.shape[2:]
    if height % config.model.patch_size or width % config.model.patch_size:
        patch = f"--model.patch-size {config.model.patch_size}"
        wanted = f"must divide height and width of the frames of {config.data}, {height} x {width}"
        raise settings.not_for(config, f"{patch} {wanted}")
    model = dataclasses.replace(config.model, spatial_shape=(height, width), channels=channels)
    if config.quick:
        validation, test = validation[:32], test[:32]
    return study.Data(
        train=train,
        validation=_ordered(validation, config),
        test=_ordered(test, config),
        model=model,
        save_companion=lambda folder: None,
        identity=facts,
        symbols_per_step=config.batch_size * config.ahead,
        unit="frames",
        description=f"clips: {config.given} frames of {height} x {width} given, {config.ahead} to say; "
        f"{len(validation)} to choose by, {len(test)} to test on",
    )


def _made(config: FramesConfig) -> tuple[Any, np.ndarray, np.ndarray, dict[str, Any]]:
    """Moving MNIST: the parts' digits are those of MNIST's parts."""
    size, side = SIZES[config.data]
    digits, clips = moving_digits.mnist_digits(side), config.clips or CLIPS
    fixed = [
        moving_digits.moving_digits(
            part, count, np.random.default_rng(seed), steps=config.given + config.ahead, size=size
        )
        for part, count, seed in zip(digits[1:], (-(-clips // 5), clips), (1, 2), strict=True)
    ]
    train = data.MovingDigits(
        digits[0], config.batch_size, config.seed, given=config.given, ahead=config.ahead, size=size
    )
    return train, fixed[0][..., None], fixed[1][..., None], {"made": config.data, "test": digest([fixed[1].tobytes()])}


def _read(config: FramesConfig) -> tuple[Any, np.ndarray, np.ndarray, dict[str, Any]]:
    """A user's videos: a tenth of them to choose by, a tenth to test on, at least one each."""
    steps = config.given + config.ahead
    image_parts.check_name(config.data, SIZES)
    whole = _videos(config.data, steps)
    if len(whole) < 3:
        raise InputError(f"{config.data}: expected at least 3 videos, to learn, choose and test, got {len(whole)}")
    order, held = np.random.default_rng(config.seed).permutation(len(whole)), max(1, len(whole) // 10)
    test, validation, train = (
        videos.clips_of(whole[part], steps=steps, every=config.ahead) for part in np.split(order, [held, 2 * held])
    )
    if config.quick:
        train = train[:200]
    source = videos.Bright(data.Shuffled(_cut(train, config.given), config.batch_size, config.seed))
    return source, validation, test, {"videos": list(whole.shape), "sha256": digest([whole.tobytes()])}


def _videos(path: str | Path, frames: int) -> np.ndarray:
    """A file's videos; says so where they were turned."""
    whole = videos.read_videos(path, frames=frames)
    if str(path).endswith(".npy") and videos.is_time_first(path, np.load(path, mmap_mode="r")):
        print(f"{path} has time first, as mnist_test_seq.npy is published: {len(whole)} videos of 20 frames")
    return whole


def _cut(clips: np.ndarray, given: int) -> Examples:
    return Examples(clips[:, :given], clips[:, given:])


def _ordered(clips: np.ndarray, config: FramesConfig) -> videos.Bright:
    return videos.Bright(data.Ordered(_cut(clips, config.given), config.batch_size))


def finish(run: study.Run, model: Any, companion: None) -> Figures:
    """Test once, train the baseline, draw the pictures, and say how good all are and where everything lies."""
    assert run.data.test is not None
    found = {"model": measure(run, model, companion), "copy_last": copy_last(run)}
    if run.config.baselines and any(size > 1 for size in run.data.model.kernel_sizes):
        sizes = {name: getattr(run.data.model, name) for name in ("spatial_shape", "channels")}
        found["pixel_lstm"] = baselines.train(run, "pixel_lstm", dataclasses.replace(PIXEL, **sizes), measure)
    folder, batch = run.folder, run.data.test.batch(0)
    shown = slice(min(SHOWN, int(batch.weights.sum())))
    clips = batch.inputs[shown], batch.targets[shown]
    said = np.asarray(jax.nn.sigmoid(predictor(model, run.config.ahead)(clips[0])))
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "cross-entropy of a pixel, nats"})
    draw_steps(folder.path / "steps.png", found, run.config.ahead)
    draw_strip(folder.path / "frames.png", *clips, said)
    draw_moving(folder.path / "frames.gif", *clips, said)
    names = [name for name in found["model"] if "ahead" not in name]
    baselines.print_models(found, names, digits=".4g")
    baselines.print_saved(run, "go on with videos", "--predict", "FILE")
    return baselines.summary(found)


def measure(run: study.Run, model: Any, companion: None) -> Figures:
    """A model's figures on the test part."""
    say = predictor(model, run.config.ahead)
    return scores(run, lambda batch: say(batch.inputs))


def copy_last(run: study.Run) -> Figures:
    """The figures of the last given frame, again and again; no cross-entropy, which is infinite for a sure mistake."""

    def say(batch: Examples) -> Any:
        last = jnp.repeat(batch.inputs[:, -1:], run.config.ahead, axis=1)
        return jnp.log(last) - jnp.log1p(-last)

    return {name: value for name, value in scores(run, say).items() if name != "test_cross_entropy"}


def predictor(model: Any, ahead: int) -> Callable[[Any], Any]:
    """From given frames to the logits of those that a model says."""
    return trained.compiled(model, lambda model, frames: model(frames, steps=ahead))


def scores(run: study.Run, say: Callable[[Examples], Any]) -> Figures:
    """Figures of logits on the test part: a frame's SSIM, its errors and its cross-entropy, summed over its pixels."""
    assert run.data.test is not None
    total: dict[str, Any] = {}
    for position in range(len(run.data.test)):
        batch = run.data.test.batch(position)
        for name, each in of_frames(say(batch), batch.targets).items():
            total[name] = total.get(name, 0.0) + np.asarray(batch.weights @ np.asarray(each), np.float64)
        total["clips"] = total.get("clips", 0.0) + batch.weights.sum()
    clips = total.pop("clips")
    by_step = {f"test_mse_ahead_{step}": float(sum_ / clips) for step, sum_ in enumerate(total["mse"], start=1)}
    return {f"test_{name}": float(sums.mean() / clips) for name, sums in total.items()} | by_step


@jax.jit
def of_frames(logits: Any, true: Any) -> dict[str, Any]:
    """Each figure of each frame, [B, steps]."""
    pixels, said = (2, 3, 4), jax.nn.sigmoid(logits)
    return {
        "mse": jnp.sum(jnp.square(said - true), pixels),
        "mae": jnp.sum(jnp.abs(said - true), pixels),
        "ssim": metrics.structural_similarity(said, true),
        "cross_entropy": jnp.sum(optax.sigmoid_binary_cross_entropy(logits, true), pixels),
    }


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """Which videos to go on with, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """Videos, as in training; each goes on after its last frames."""
    out: Path = Path("frames.npy")
    """The file to write: .npy for the frames that are said, float32 [N, steps, H, W, C]; .gif to see the first one."""
    ahead: Positive | None = None
    """Frames to say; without it, as many as in training."""
    step: Index | None = None
    """Which checkpoint; without it, the best."""
    batch_size: Positive = 16
    """Videos at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("the ending of out", self.out.suffix, (".npy", ".gif"))


def predict(config: PredictConfig) -> None:
    """Say the frames after each of a file's videos, and write them."""
    cli.check_out(config.out)
    model, _ = trained.load(config.checkpoint, config.step, FramePredictor)
    fields = training.RunFolder(config.checkpoint).read_config()
    whole = _videos(config.predict, fields["given"])
    wanted = (*(model.config.spatial_shape or ()), model.config.channels)
    if whole.shape[2:] != wanted:
        raise InputError(
            f"{config.predict}: expected frames {list(wanted)}, as in training, got {list(whole.shape[2:])}"
        )
    given, ahead = videos.bright(whole[:, -fields["given"] :]), config.ahead or fields["ahead"]
    say = predictor(model, ahead)
    batches = range(0, len(given), config.batch_size)
    logits = np.concatenate([np.asarray(say(given[first : first + config.batch_size])) for first in batches])
    said = np.asarray(jax.nn.sigmoid(logits))
    if config.out.suffix == ".gif":
        save_gif(config.out, [as_picture(frame) for frame in (*videos.bright(whole[0]), *said[0])])
    else:
        np.save(config.out, said)
    print(f"{ahead} frames after each of {len(said)} videos in {config.out}")


STUDY: study.Study[FramesConfig] = study.Study(
    module="experiments.frames",
    description=__doc__,
    family="frame-predictor",
    config=FramesConfig,
    name=lambda config: "frames",
    load=load,
    finish=finish,
    use=study.Use(PredictConfig, predict),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
