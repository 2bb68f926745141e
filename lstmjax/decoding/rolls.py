"""Music from a model of piano rolls: openings read and continued step by step."""

import jax.numpy as jnp
import numpy as np

from lstmjax import checks
from lstmjax.decoding.loop import MOST_SYMBOLS, after_reading, decode, one_step
from lstmjax.models.piano_roll import PianoRoll
from lstmjax.types import Array, ArrayLike, Bool, Key


def sample_rolls(
    model: PianoRoll,
    openings: Bool[ArrayLike, "B S P"],
    *,
    length: int,
    key: Key[Array, ""],
    temperature: float = 1.0,
) -> Bool[np.ndarray, "B N P"]:
    """Continue each opening by so many steps, each drawn given all before it.

    What is drawn for a row depends on the key and the row's number, on no other row.

    Args:
      model: says which notes come next.
      openings: booleans [B, S, P]; with S = 0 music begins from silence.
      length: N, at least 1, how many steps to add.
      key: fixes every draw.
      temperature: at least 0; divides every note's logit. 0 takes each note that is likelier than not.

    Returns:
      the new steps alone, booleans [B, N, P].

    Raises:
      TypeError: a model of another kind, or openings that are neither booleans nor integers.
      ValueError: openings of another shape, a number out of range.

    >>> config = lx.models.PianoRollConfig(hidden_features=(8,), nade_features=4, num_notes=12, most_notes=3)
    >>> model = lx.models.piano_roll_config.build(config, nnx.Rngs(0))
    >>> sample_rolls(model, jnp.zeros((2, 0, 12), bool), length=5, key=jax.random.key(0)).shape
    (2, 5, 12)
    """
    if not isinstance(model, PianoRoll):
        raise TypeError(f"model must be a PianoRoll, got {type(model).__name__}")
    steps = checks.index("length", length, 1, MOST_SYMBOLS)
    checks.random_key("key", key)
    openings = jnp.asarray(openings)
    checks.shape("openings", openings, ("B", "S", model.num_notes))
    draw = model.notes.draw(temperature)
    begin = after_reading(model, jnp.pad(openings, ((0, 0), (1, 0), (0, 0))), key)  # a silent step comes before all
    drawn, _ = decode(one_step(model), begin, steps, draw)
    return np.asarray(drawn)
