"""Keywords of other libraries: refused with what to write here instead."""

import functools
import inspect
from collections.abc import Callable, Set
from typing import Any, TypeVar, cast

from lstmjax.masking import RunOptions

Call = TypeVar("Call", bound=Callable[..., Any])

_ALL_OUTPUTS = dict.fromkeys(
    ("return_sequences", "return_state", "return_carry"),
    "every call gives the outputs at all steps and the final state: ys, state = layer(xs); "
    "Outputs(layer) gives ys alone, and Outputs(layer, layers.last_step) the last valid step's",
)

_IN_CONSTRUCTION = {
    **_ALL_OUTPUTS,
    "stateful": "hand the state on: ys, state = layer(xs, state=state); or Stateful(layer, batch_size) keeps it",
    "cell": "lstmjax.stack(lambda i, h: cells.PeepholeLSTM(i, h), ...) makes such a layer of any cell",
    "batch_first": "inputs are [B, T, I], or [T, B, I] in a call with time_major=True",
    "time_major": "it is a keyword of the call",
    "go_backwards": "write reverse=True in the call",
    "reverse": "it is a keyword of the call",
    "recurrent_dropout_rate": "it is called recurrent_dropout",
    "dropout_rate": "it is called dropout",
    "proj_size": "it is called proj_features",
    "activation": "write activation_fn=jnp.tanh",
    "nonlinearity": "ElmanRNN takes activation_fn=jax.nn.relu",
    "recurrent_activation": "write gate_fn=jax.nn.sigmoid",
    "unit_forget_bias": "write forget_bias=1.0",
    **dict.fromkeys(("units", "features", "hidden_size", "filters"), "it is called hidden_features"),
    "input_size": "it is called in_features",
    "bias": "it is called use_bias",
    "merge_mode": "it is called merge",
    "kernel_initializer": "it is called kernel_init",
    **dict.fromkeys(("recurrent_initializer", "recurrent_kernel_init"), "it is called recurrent_init"),
    "bias_initializer": "it is called bias_init",
    "seed": "write rngs=nnx.Rngs(seed)",
    "key": "write rngs=nnx.Rngs(key)",
}

_SWITCH = "give key= in training, which switches dropout and noise on, and leave it out at evaluation"

_IN_A_CALL = {
    **dict.fromkeys(("initial_state", "initial_carry", "carry", "hx"), "write state="),
    **dict.fromkeys(("training", "train", "deterministic"), _SWITCH),
    "rngs": "write key=rngs.dropout()",
    **dict.fromkeys(("seq_lengths", "sequence_length"), "write lengths="),
    **_ALL_OUTPUTS,
}


def refuses_other_keywords(build: Call) -> Call:
    """A layer's `__init__` or `stack`, whose unknown keywords are refused with what to write instead.

    Raises:
      TypeError: a keyword that is not in the signature.
    """
    known = inspect.signature(build).parameters.keys() - {"self"}
    name = build.__qualname__.removesuffix(".__init__")

    @functools.wraps(build)
    def checked(*args: Any, **keywords: Any) -> Any:
        _refuse_unknown(name, keywords, known, _IN_CONSTRUCTION)
        return build(*args, **keywords)

    return cast(Call, checked)


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
                "to run layers one on another use lstmjax.Stacked, and in nnx.Sequential lstmjax.Outputs(layer)"
            )
        known = {"xs", "state", "key", *RunOptions.__annotations__}
        _refuse_unknown("a call of a layer", keywords, known, _IN_A_CALL)
        return call(self, *args, **keywords)

    return cast(Call, checked)


def _refuse_unknown(taker: str, given: dict[str, Any], known: Set[str], instead: dict[str, str]) -> None:
    for name in sorted(given.keys() - known):
        hint = instead.get(name, f"it takes {', '.join(sorted(known))}")
        raise TypeError(f"{taker} takes no keyword {name}: {hint}")
