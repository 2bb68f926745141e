"""Keywords that a layer does not take: refused by name, with what to write here for those other libraries taught."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

from lstmjax.masking import RunOptions

Call = TypeVar("Call", bound=Callable[..., Any])

_BOTH = "every call gives the outputs at all steps and the final state: ys, state = layer(xs)"
_CELL = "stack(lambda i, h: regularizers.RecurrentDropout(cells.LSTM(i, h), rate), ...) makes a stack of any cell"

IN_CONSTRUCTION = {
    "return_sequences": _BOTH,
    "return_state": _BOTH,
    "return_carry": _BOTH,
    "stateful": "hand the state on: ys, state = layer(xs, state=state)",
    "batch_first": "inputs are [B, T, I], or [T, B, I] in a call with time_major=True",
    "time_major": "it is a keyword of the call",
    "go_backwards": "write reverse=True in the call",
    "reverse": "it is a keyword of the call",
    "recurrent_dropout": _CELL,
    "recurrent_dropout_rate": _CELL,
    "proj_size": "stack(lambda i, h: cells.ProjectedLSTM(i, h, proj_features=r), ...) makes a stack of any cell",
    "activation": "write activation_fn=jnp.tanh",
    "nonlinearity": "ElmanRNN takes activation_fn=jax.nn.relu",
    "recurrent_activation": "write gate_fn=jax.nn.sigmoid",
    "unit_forget_bias": "write forget_bias=1.0",
    "units": "it is called hidden_features",
    "features": "it is called hidden_features",
    "hidden_size": "it is called hidden_features",
    "filters": "it is called hidden_features",
    "input_size": "it is called in_features",
    "bias": "it is called use_bias",
    "merge_mode": "it is called merge",
    "kernel_initializer": "it is called kernel_init",
    "recurrent_initializer": "it is called recurrent_init",
    "recurrent_kernel_init": "it is called recurrent_init",
    "bias_initializer": "it is called bias_init",
    "seed": "write rngs=nnx.Rngs(seed)",
    "key": "write rngs=nnx.Rngs(key)",
}

_SWITCH = "give key= in training, which switches dropout and noise on, and leave it out at evaluation"
_STATE = "write state="

_IN_A_CALL = {
    "initial_state": _STATE,
    "initial_carry": _STATE,
    "carry": _STATE,
    "hx": _STATE,
    "training": _SWITCH,
    "train": _SWITCH,
    "deterministic": _SWITCH,
    "rngs": "write key=rngs.dropout()",
    "seq_lengths": "write lengths=",
    "sequence_length": "write lengths=",
    "return_sequences": _BOTH,
    "return_state": _BOTH,
    "return_carry": _BOTH,
}


def refuse_unknown(taker: str, given: Iterable[str], known: Iterable[str], instead: dict[str, str]) -> None:
    """Every keyword is one of those known.

    Raises:
      TypeError: one is not; `instead` says what to write in its place.
    """
    for name in sorted(set(given) - set(known)):
        hint = instead.get(name, f"it takes {', '.join(sorted(known))}")
        raise TypeError(f"{taker} takes no keyword {name}: {hint}")


def called_with_state_by_name(call: Call) -> Call:
    """A layer's `__call__`, which takes `xs` in place and everything else by keyword.

    `nnx.Sequential` spreads what a layer gives over the next one's arguments: taken in place, the final state of one
    layer would be where the next starts from.

    Raises:
      TypeError: something after `xs` without its keyword, or a keyword that is not known.
    """

    @functools.wraps(call)
    def checked(self: Any, *args: Any, **keywords: Any) -> Any:
        if len(args) > 1:
            raise TypeError(
                f"state must be given by keyword, layer(xs, state=...), got {len(args) - 1} more in place after xs; "
                "to run layers one on another use lstmjax.Stacked, not nnx.Sequential"
            )
        known = {"xs", "state", "key", *RunOptions.__annotations__}
        refuse_unknown("a call of a layer", keywords, known, _IN_A_CALL)
        return call(self, *args, **keywords)

    return cast(Call, checked)
