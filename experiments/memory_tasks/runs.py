"""One run: a cell learns a task from fresh batches until it has solved it, or its steps are over."""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import lstmjax as lx
from experiments.memory_tasks.gradients import gradient_norms
from lstmjax import cells, initializers, losses, training
from lstmjax.data import memory_tasks as data
from lstmjax.data.source import Examples
from lstmjax.tasks import Mean, Task
from lstmjax.training.state import TrainStep
from lstmjax.types import Array, Cell, PyTree

Record = dict[str, Any]

EVERY = 25
"""Steps between two records; each has the means over the batches since the last."""

CELLS: dict[str, Callable[[int, int, int], Cell[Any, Any]]] = {
    "elman_uniform": lambda i, h, t: cells.ElmanRNN(i, h, recurrent_init=initializers.torch_uniform(h)),
    "elman": lambda i, h, t: cells.ElmanRNN(i, h),
    "irnn": lambda i, h, t: cells.ElmanRNN(i, h, activation_fn=jax.nn.relu, recurrent_init=initializers.identity()),
    "indrnn": lambda i, h, t: cells.StackedCells((cells.IndRNN(i, h), cells.IndRNN(h, h))),  # one layer can't gate
    "gru": lambda i, h, t: cells.GRU(i, h),
    "gru_chrono": lambda i, h, t: cells.GRU(i, h, bias_init=initializers.Chrono(max(3, t), "rzn")),
    "lstm_forget_0": lambda i, h, t: cells.LSTM(i, h, forget_bias=0.0),
    "lstm": lambda i, h, t: cells.LSTM(i, h),
    "lstm_chrono": lambda i, h, t: cells.LSTM(i, h, bias_init=initializers.Chrono(max(3, t)), forget_bias=0.0),
    "lstm_attention": lambda i, h, t: cells.LSTM(i, h),
}
"""From I, H and T to a cell. The first weights of `elman` are orthogonal, of `elman_uniform` as in PyTorch.

`lstm_attention`, of many alone, looks back at its own outputs where it was told the facts.
"""

CAUTION = {"irnn": 0.1, "indrnn": 0.3}
"""What a cell's learning rate is multiplied by: at the rate of the others, these two end in NaN."""


class Kind(NamedTuple):
    """A task.

    `letter` is what its size is called; `draw` gives B sequences of a size; `outputs` is how many numbers the network
    says; `asked`, of a size, how many answers at the end must be right; `baseline`, of a size, the loss of one who
    remembers nothing.
    """

    letter: str
    draw: Callable[[int, int, np.random.Generator], Examples]
    outputs: int
    asked: Callable[[int], int]
    baseline: Callable[[int], float]


KINDS = {
    "adding": Kind("T", data.adding, 1, lambda size: 1, lambda size: data.adding_baseline()),
    "copy": Kind("T", data.copying, data.SYMBOLS + 1, lambda size: data.WORD, data.copying_baseline),
    "many": Kind("K", data.recalling, data.SYMBOLS, lambda size: size, lambda size: math.log(data.SYMBOLS)),
}


class Run(NamedTuple):
    """All that decides what is measured."""

    task: str
    size: int
    cell: str
    hidden: int
    seed: int
    batch_size: int
    steps: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Such as adding_100_lstm or many_8_gru_16_seed_1."""
        width = f"_{self.hidden}" if self.task == "many" else ""
        return f"{self.task}_{self.size}_{self.cell}{width}" + (f"_seed_{self.seed}" if self.seed else "")

    @property
    def letter(self) -> str:
        """What its size is called."""
        return KINDS[self.task].letter if self.task in KINDS else "T"


class Program(NamedTuple):
    """What runs that differ only by their seed share."""

    cell: Cell[Any, Any]
    model: Callable[[int], nnx.Module]
    task: Task
    optimizer: training.Optimizer
    step: TrainStep


@functools.lru_cache(maxsize=1)
def program_of(run: Run) -> Program:
    """The program of a run whose seed is 0, compiled once."""
    kind = KINDS[run.task]
    features = kind.draw(1, run.size, np.random.default_rng(0)).inputs.shape[-1]
    cell = CELLS[run.cell](features, run.hidden, run.size)

    def model(seed: int) -> nnx.Module:
        rngs, h = nnx.Rngs(seed), run.hidden
        if run.cell == "lstm_attention":
            attention = lx.attention.GeneralAttention(h, h, rngs=rngs)
            return nnx.List([lx.Recurrent(cell, rngs=rngs), attention, nnx.Linear(2 * h, kind.outputs, rngs=rngs)])
        return nnx.List([lx.Recurrent(cell, rngs=rngs), nnx.Linear(h, kind.outputs, rngs=rngs)])

    task = Task(functools.partial(loss, kind.asked(run.size)))
    config = training.OptimizerConfig(learning_rate=run.learning_rate, schedule="constant", warmup_steps=0)
    optimizer = training.make_optimizer(config, run.steps)
    step = training.make_train_step(task, training.split_model(model(0))[0], optimizer)
    return Program(cell, model, task, optimizer, step)


def loss(asked: int, model: Any, batch: Examples, carry: PyTree, key: Any) -> tuple[dict[str, Mean], PyTree]:
    """Squared error of numbers or cross-entropy of symbols; and how many of the last `asked` symbols are right."""
    layer, *attention, head = model
    ys, _ = layer(batch.inputs, key=key)
    before, seen = jnp.split(ys, [ys.shape[1] - batch.targets.shape[1]], axis=1)
    for reader in attention:
        context, _ = reader(seen, reader.memory(before))
        seen = jnp.concatenate([seen, context], axis=-1)
    answers = head(seen)
    if jnp.issubdtype(batch.targets.dtype, jnp.floating):
        return {"loss": losses.mean_squared_error(answers[..., 0], batch.targets)}, carry
    right = (jnp.argmax(answers, axis=-1) == batch.targets)[:, -asked:]
    return {"loss": losses.sparse_categorical_cross_entropy(answers, batch.targets), "accuracy": Mean.of(right)}, carry


def is_solved(record: Record) -> bool:
    """By means over fresh batches: 99% of the symbols asked for are right, or the squared error is below 0.01."""
    return bool(record["accuracy"] > 0.99 if "accuracy" in record else record["loss"] < 0.01)


def learn(run: Run) -> Iterator[Record]:
    """Train; a record every `EVERY` steps, and a last one that says whether the task is solved.

    A run ends when it is, when its loss is no number any more, or when its steps are over.
    """
    program, draw = program_of(run._replace(seed=0)), KINDS[run.task].draw
    generator = np.random.default_rng((run.seed, 0))  # the same data for every cell
    model, key = program.model(run.seed), jax.random.key(run.seed)
    state = training.initial_train_state(model, program.task, program.optimizer, run.batch_size, key)
    for done in range(EVERY, run.steps + 1, EVERY):
        found = []
        for _ in range(EVERY):
            state, metrics = program.step(state, draw(run.batch_size, run.size, generator))
            found.append(metrics)
        record: Record = {"step": done} | _means(found)
        if is_solved(record) or not math.isfinite(record["loss"]) or done + EVERY > run.steps:
            break
        yield record
    end = {"solved": is_solved(record)}
    if not math.isfinite(record["loss"]):
        record["loss"] = None  # JSON has no NaN
    elif run.task == "adding":
        end |= _gradients_after(run, program, state)
    yield record | end


def measure(run: Run) -> Iterator[Record]:
    """One record: norms of gradients back through time in an untrained network that reads the adding problem."""
    cell = CELLS[run.cell](2, run.hidden, run.size)
    inputs = data.adding(run.batch_size, run.size, np.random.default_rng((run.seed, 1))).inputs
    norms = gradient_norms(cell, cell.init(jax.random.key(run.seed)), jnp.asarray(inputs))
    yield {"step": 0, "solved": None} | _rounded(norms)


def _gradients_after(run: Run, program: Program, state: training.TrainState) -> dict[str, Any]:
    """Norms of gradients in a network that has learnt to add, or has not; none where there are two layers."""
    if isinstance(program.cell, cells.StackedCells):
        return {}
    layer, _ = nnx.merge(training.split_model(program.model(0))[0], state.params, state.other)
    inputs = data.adding(run.batch_size, run.size, np.random.default_rng((run.seed, 1))).inputs
    return _rounded(gradient_norms(program.cell, layer.params, jnp.asarray(inputs)))


def _means(found: list[dict[str, Array]]) -> dict[str, float]:
    names = sorted(found[0].keys() - {"grad_norm"})
    return {name: float(np.mean([metrics[name] for metrics in found])) for name in names}


def _rounded(norms: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [float(f"{norm:.4g}") for norm in each] for name, each in norms.items()}
