"""Music as a piano roll: which notes sound at the next step, from all steps before it."""

from typing import Any

import jax.numpy as jnp
from flax import nnx

from lstmjax import checks
from lstmjax.layers.recurrent import Layer, check_layer
from lstmjax.models.piano_roll_notes import NADE, IndependentNotes
from lstmjax.regularizers import locked_dropout, split_key
from lstmjax.types import Array, ArrayLike, Bool, Float, Int, Key


class PianoRoll(nnx.Module):
    """The notes of the next step, from all steps before it.

        h = recurrent(drop(v)),    p(v[t+1] | v[..t]) = notes(drop(h[t]))

    The recurrent state goes in and comes out, so one model serves whole pieces and generation one step at a time.

    Args:
      recurrent: any layer that takes the P notes; None leaves the next step to the last one alone.
      notes: their distribution given h: `IndependentNotes` or `NADE`, for as many features as `recurrent` gives, or P.
      input_dropout: locked dropout on the notes that are read: a key is silent throughout a piece.
      output_dropout: locked dropout on h.

    Raises:
      TypeError: a part of another kind.
      ValueError: parts whose sizes do not fit, a rate outside [0, 1).

    Source: the RNN and RNN-NADE of Boulanger-Lewandowski, Bengio and Vincent 2012, "Modeling Temporal Dependencies in
    High-Dimensional Sequences: Application to Polyphonic Music Generation and Transcription".

    >>> rngs = nnx.Rngs(0)
    >>> model = lx.models.PianoRoll(lx.LSTM(88, 32, rngs=rngs), lx.models.NADE(32, 88, 16, most_notes=4, rngs=rngs))
    >>> roll = jnp.zeros((2, 7, 88), bool).at[:, :, 39].set(True)
    >>> scores, state = model(roll[:, :-1])
    >>> model.notes.log_likelihood(scores, roll[:, 1:]).shape
    (2, 6)
    """

    def __init__(
        self,
        recurrent: Layer | None,
        notes: IndependentNotes | NADE,
        *,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
    ) -> None:
        if recurrent is not None:
            check_layer("recurrent", recurrent)
        checks.instance("notes", notes, IndependentNotes, NADE)
        given = (notes.num_notes,) * 2 if recurrent is None else (*recurrent.in_shape, *recurrent.out_shape)
        if given != (notes.num_notes, notes.in_features):
            between = "the notes themselves are" if recurrent is None else "recurrent takes and gives"
            raise ValueError(
                f"notes must be for [{notes.num_notes}] notes and [{notes.in_features}] features, "
                f"which {between} {list(given)}"
            )
        self.recurrent, self.notes = recurrent, notes
        self.input_dropout, self.output_dropout = locked_dropout(input_dropout), locked_dropout(output_dropout)

    @property
    def num_notes(self) -> int:
        """P."""
        return self.notes.num_notes

    def initial_state(self, batch_size: int) -> Any:
        """The state before the first step."""
        return () if self.recurrent is None else self.recurrent.initial_state(batch_size)

    def __call__(
        self,
        rolls: Bool[ArrayLike, "B T P"],
        state: Any = None,
        *,
        lengths: Int[Array, "B"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[Any, Any]:
        """Score the notes that follow each step.

        Args:
          rolls: which notes sound, booleans or integers 0 and 1, [B, T, P].
          state: what an earlier call returned, to go on from there; None starts anew.
          lengths: integers [B] in 0..T, for pieces of different lengths; None where all have T steps.
          key: switches dropout on and draws its masks; None, as at evaluation, means no dropout.

        Returns:
          scores, where those at t are of step t + 1, for `model.notes.log_likelihood` or `model.notes.draw`; and the
          new state.

        Raises:
          TypeError: rolls that are neither booleans nor integers.
          ValueError: another shape, or (outside `jit`) numbers other than 0 and 1.
        """
        key_in, key_recurrent, key_out = split_key(key, 3)
        hs = self.input_dropout(as_numbers(rolls, self.num_notes), key=key_in)
        if self.recurrent is None:
            state = self.initial_state(len(hs))
        else:
            hs, state = self.recurrent(hs, state=state, lengths=lengths, key=key_recurrent)
        return self.notes(self.output_dropout(hs.astype(jnp.float32), key=key_out)), state


def as_numbers(rolls: ArrayLike, num_notes: int) -> Float[Array, "B T P"]:
    """Rolls [B, T, P] of booleans or integers as 0.0 and 1.0, checked."""
    rolls = jnp.asarray(rolls)
    rolls = rolls.astype(jnp.int32) if rolls.dtype == jnp.bool_ else rolls
    return checks.whole_numbers("rolls", rolls, ("B", "T", num_notes), 0, 1).astype(jnp.float32)
