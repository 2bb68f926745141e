"""What all decoders share: a state, cells that step together, attention as their rows use it, and teacher forcing.

A decoder has one `step`, which training scans over the steps of the target and decoding calls for each new symbol, so
both compute the same. R rows are B, or B * K where each of B sources has K rows, which stand together: its memory
serves them all and is never copied.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from lstmjax import checks, regularizers
from lstmjax.attention import Attention, Memory, PredictedCentre, Window
from lstmjax.cells import output_shape
from lstmjax.cells.full_cell import draw_noise
from lstmjax.layers.recurrent import WeightedCell, check_rngs
from lstmjax.types import Array, Cell, Float, Int, Key


class DecoderState(NamedTuple):
    """What a decoder hands from step to step.

    Args:
      recurrent: the state of each cell, bottom first.
      features: [R, A], what the last symbol's scores were made from.
      weights: [R, S], attention over the source at this step.
      coverage: [R, S], the sum of all such weights so far.
      position: [R], int32, how many symbols have been read.
    """

    recurrent: tuple[Any, ...]
    features: Float[Array, "R A"]
    weights: Float[Array, "R S"]
    coverage: Float[Array, "R S"]
    position: Int[Array, "R"]

    def after(self, recurrent: tuple[Any, ...], features: Array, weights: Array) -> "DecoderState":
        """The state one symbol on."""
        return DecoderState(recurrent, features, weights, self.coverage + weights, self.position + 1)


class ReadyCell(NamedTuple):
    """A cell ready to step: with its parameters and the mask of dropout on its input, both drawn for a whole call."""

    cell: Cell[Any, Any]
    params: Any
    mask: Float[Array, "R I"] | None


ReadyCells = Sequence[ReadyCell]


class Decoder(nnx.Module):
    """What all decoders share: recurrent cells one on another that step together, and dropout between them.

    A decoder adds `remember` and `step`.

    Args:
      cells: at least one, bottom first; each takes as many features as the one below gives.
      out_features: A, size of the vector that a step gives.
      dropout: between cells, in [0, 1).
      rngs: draws the initial parameters (stream "params").

    Raises:
      ValueError: no cells, or sizes that do not chain.
    """

    def __init__(
        self, cells: Sequence[Cell[Any, Any]], out_features: int, dropout: float = 0.0, *, rngs: nnx.Rngs
    ) -> None:
        check_rngs("rngs", rngs)
        if not cells:
            raise ValueError("cells must hold at least one cell, got none")
        for below, above in itertools.pairwise(cells):
            if output_shape(below) != (above.in_features,):
                came = f"{above.in_features} after {list(output_shape(below))}"
                raise ValueError(f"each cell must take as many features as the one below gives, got {came}")
        self.layers = nnx.List(WeightedCell(cell, rngs=rngs) for cell in cells)
        self.dropout = regularizers.Dropout(dropout)
        self.out_features = out_features

    @property
    def hidden_features(self) -> int:
        """H, of the top cell."""
        return output_shape(self.layers[-1].cell)[-1]

    def remember(self, encoded: Float[Array, "B S M"], lengths: Int[Array, "B"] | None) -> Memory:
        """What it looks back at, made once for each source."""
        raise NotImplementedError

    def step(self, cells: ReadyCells, memory: Memory, state: DecoderState, x: Float[Array, "R D"]) -> DecoderState:
        """One step over the symbols' embeddings."""
        raise NotImplementedError

    def initial_recurrent(self, rows: int) -> tuple[Any, ...]:
        """Each cell's, bottom first."""
        return tuple(layer.cell.initial_state((rows,)) for layer in self.layers)

    def ready(self, rows: int, key: Key[Array, ""] | None = None) -> list[ReadyCell]:
        """The cells with their parameters; a key draws their noise and the dropout between them, for all steps."""
        if key is None:
            return [ReadyCell(layer.cell, layer.params, None) for layer in self.layers]
        ready = []
        keys = jax.random.split(key, (len(self.layers), 2))
        for number, (layer, (key_cell, key_mask)) in enumerate(zip(self.layers, keys, strict=True)):
            cell = layer.cell
            unseen = jnp.zeros((1, rows, cell.in_features))
            noisy, params, inputs = draw_noise(cell, layer.params, unseen, key_cell)
            if inputs is not unseen:
                raise TypeError(f"a cell that steps can't have noise for each step, as {type(cell).__name__} does")
            mask = self.dropout(jnp.ones((rows, cell.in_features)), key=key_mask)
            ready.append(ReadyCell(noisy, params, mask if number else None))
        return ready


def step_cells(
    cells: ReadyCells, states: Sequence[Any], x: Float[Array, "R I"]
) -> tuple[tuple[Any, ...], Float[Array, "R H"]]:
    """One step of each cell, bottom first, each fed with the output of the one below."""
    after = []
    for (cell, params, mask), state in zip(cells, states, strict=True):
        x = x if mask is None else x * mask.astype(x.dtype)
        state, x = cell.step(params, state, cell.project(params, x))
        after.append(state)
    return tuple(after), x


class Looking(nnx.Module):
    """Attention as a decoder's rows use it, over whole sources or near one of their steps.

    Args:
      attention: any of `lstmjax.attention`.
      window: None for whole sources; "monotonic" for the steps around the target's own position (Luong's local-m);
        "predicted" for those around a step that the query names (local-p).
      half_width: D of the window, at least 1.
      rngs: draws the initial parameters of the prediction (stream "params").

    >>> looking = Looking(lx.attention.DotAttention(), "monotonic", 1, query_features=2, rngs=nnx.Rngs(0))
    >>> memory = looking.attention.memory(jnp.ones((1, 5, 2)))
    >>> state = DecoderState((), jnp.zeros((2, 2)), *[jnp.zeros((2, 5))] * 2, jnp.array([0, 3]))
    >>> looking(jnp.ones((2, 2)), memory, state)[1].tolist()
    [[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.3333333432674408, 0.3333333432674408, 0.3333333432674408]]
    """

    def __init__(
        self,
        attention: Attention,
        window: Literal["monotonic", "predicted"] | None = None,
        half_width: int = 5,
        *,
        query_features: int,
        rngs: nnx.Rngs,
    ) -> None:
        if window is not None:
            checks.one_of("window", window, ("monotonic", "predicted"))
        self.attention, self.window, self.half_width = attention, window, half_width
        self.centre = PredictedCentre(query_features, query_features, rngs=rngs) if window == "predicted" else None

    def __call__(
        self, query: Float[Array, "R H"], memory: Memory, state: DecoderState
    ) -> tuple[Float[Array, "R M"], Float[Array, "R S"]]:
        """Context and weights of each row; K rows look at each source."""
        sources, steps = memory.is_there.shape
        queries = query.reshape(sources, -1, query.shape[1])
        seen = state.coverage.reshape(sources, -1, steps) if self.attention.coverage else None
        window = self._window(queries, memory, state.position.reshape(sources, -1))
        context, weights = self.attention(queries, memory, coverage=seen, window=window)
        return context.reshape(len(query), -1), weights.reshape(len(query), steps)

    def _window(self, queries: Array, memory: Memory, position: Int[Array, "B Q"]) -> Window | None:
        if self.window is None:
            return None
        if self.centre is None:
            return Window(position.astype(jnp.float32), self.half_width)
        return Window(self.centre(queries, memory), self.half_width, gaussian=True)


def first_state(decoder: Decoder, recurrent: tuple[Any, ...], memory: Memory) -> DecoderState:
    """Before the first symbol: nothing has been looked at."""
    sources, steps = memory.is_there.shape
    dtype = memory.values.dtype
    nowhere = jnp.zeros((sources, steps), jnp.float64 if dtype == jnp.float64 else jnp.float32)
    features = jnp.zeros((sources, decoder.out_features), dtype)
    return DecoderState(recurrent, features, nowhere, nowhere, jnp.zeros(sources, jnp.int32))


def run_decoder(
    decoder: Decoder,
    memory: Memory,
    state: DecoderState,
    xs: Float[Array, "B T D"],
    key: Key[Array, ""] | None = None,
) -> tuple[Float[Array, "B T A"], Float[Array, "B T S"]]:
    """Teacher forcing: all steps of known symbols in one compiled loop.

    Args:
      decoder: steps.
      memory: what it looks back at.
      state: before the first step.
      xs: the symbols' embeddings.
      key: switches dropout on and draws it.

    Returns:
      features and attention weights of each step.
    """
    cells = decoder.ready(len(xs), key)

    def step(state: DecoderState, x: Array) -> tuple[DecoderState, tuple[Array, Array]]:
        after = decoder.step(cells, memory, state, x)
        return after, (after.features, after.weights)

    _, steps = lax.scan(step, state, xs.swapaxes(0, 1))
    features, weights = steps
    return features.swapaxes(0, 1), weights.swapaxes(0, 1)
