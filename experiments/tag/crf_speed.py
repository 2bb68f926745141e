"""How long a CRF takes: `python -m experiments.tag.crf_speed`.

Log-likelihood with its gradients (of emissions and transitions), one step after another and parallel in time, and the
best path, beside pytorch-crf where it is installed; float32. All run in one process in turn, round by round: what slows
the machine for a while slows all. A line shows the median of each one's times and of its ratios to `lstmjax`.
"""

import dataclasses
import importlib.util
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli
from experiments.speed.turns import OURS, Timing, paired_ratio, seconds_a_run, turns
from lstmjax import checks, crf

Run = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class CrfSpeedConfig(Timing):
    """Sizes, and how to time."""

    steps: tuple[int, ...] = (32, 128, 1024)
    """tokens of a sentence, one line of results for each"""
    batch: int = 32
    """sentences"""
    tags: int = 20
    """tags"""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch", "tags"):
            checks.positive_int(name, getattr(self, name))
        for steps in self.steps:
            checks.positive_int("steps", steps)


def main(config: CrfSpeedConfig) -> int:
    """Print a line for each kind of work and each number of steps."""
    for steps in config.steps:
        rng = np.random.default_rng(0)
        emissions = rng.normal(size=(config.batch, steps, config.tags)).astype(np.float32)
        tags = rng.integers(0, config.tags, (config.batch, steps))
        ours, theirs = _ours(emissions, tags), _theirs(emissions, tags)
        for kind, runs in ours.items():
            runs |= theirs.get(kind, {})
            print(f"B {config.batch}, T {steps}, K {config.tags}, {kind}: {_line(_times(runs, config))}", flush=True)
    return 0


def _ours(emissions: np.ndarray, tags: np.ndarray) -> dict[str, dict[str, Run]]:
    num_tags = emissions.shape[-1]
    transitions = crf.Transitions(jnp.zeros((num_tags, num_tags)), jnp.zeros(num_tags), jnp.zeros(num_tags))
    xs, ys = jnp.asarray(emissions), jnp.asarray(tags)

    def parallel(xs: Any, transitions: crf.Transitions) -> Any:
        return jnp.sum(crf.path_score(xs, ys, transitions) - crf.log_partition_parallel(xs, transitions))

    def sequential(xs: Any, transitions: crf.Transitions) -> Any:
        return jnp.sum(crf.log_likelihood(xs, ys, transitions))

    def ready(function: Callable[..., Any]) -> Run:
        program = jax.jit(function)
        return lambda: jax.block_until_ready(program(xs, transitions))  # type: ignore[no-untyped-call]

    gradients = {
        OURS: ready(jax.value_and_grad(sequential, (0, 1))),
        "lstmjax parallel": ready(jax.value_and_grad(parallel, (0, 1))),
    }
    return {"log-likelihood and gradients": gradients, "Viterbi": {OURS: ready(crf.viterbi)}}


def _theirs(emissions: np.ndarray, tags: np.ndarray) -> dict[str, dict[str, Run]]:
    if importlib.util.find_spec("torchcrf") is None:
        return {}
    import torch
    import torchcrf  # type: ignore[import-untyped]

    model = torchcrf.CRF(emissions.shape[-1], batch_first=True)
    xs, ys = torch.tensor(emissions, requires_grad=True), torch.tensor(tags)
    mask = torch.ones(ys.shape, dtype=torch.bool)  # it warns of its own default

    def gradients() -> Any:
        return torch.autograd.grad(model(xs, ys, mask=mask), [xs, *model.parameters()])

    def best() -> Any:
        with torch.no_grad():
            return model.decode(xs, mask=mask)

    return {"log-likelihood and gradients": {"pytorch-crf": gradients}, "Viterbi": {"pytorch-crf": best}}


def _times(runs: dict[str, Run], config: CrfSpeedConfig) -> dict[str, list[float]]:
    """Seconds a run, round by round; first all is compiled."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name in turns(list(runs), config.rounds):
        times[name].append(seconds_a_run(runs[name], config.seconds))
    return times


def _line(times: dict[str, list[float]]) -> str:
    def one(name: str) -> str:
        shown = f"{name} {1e3 * statistics.median(times[name]):.2f} ms (least {1e3 * min(times[name]):.2f})"
        return shown if name == OURS else f"{shown}, {paired_ratio(times[name], times[OURS]):.1f} times as long"

    return "; ".join(map(one, times))


if __name__ == "__main__":
    cli.run(lambda: main(cli.parse(CrfSpeedConfig, __doc__)))
