"""`torch.nn.LSTM`, `GRU` and `RNN`, time-major as they are by default; ragged batches as packed sequences."""

from collections.abc import Callable
from typing import Any

import torch

from experiments.peers.common import States, Weights
from lstmjax.training import OptimizerConfig


def layers(kind: str, hidden: int, weights: Weights, **options: Any) -> Any:
    """A module with these weights."""
    features, bidirectional = weights[0][0]["weight_ih"].shape[1], len(weights[0]) == 2
    module = getattr(torch.nn, kind)(features, hidden, len(weights), bidirectional=bidirectional, **options)
    entries = {
        f"{name}_l{depth}{'_reverse' * way}": torch.tensor(array)
        for depth, both in enumerate(weights)
        for way, one in enumerate(both)
        for name, array in one.items()
    }
    module.to(next(iter(entries.values())).dtype).load_state_dict(entries)
    return module


def run(module: Any, xs: Any, states: Any = None, lengths: Any = None) -> tuple[Any, Any]:
    """Outputs [T, B, H], and what `module` says of the final states."""
    if lengths is None:
        return module(xs, states)  # type: ignore[no-any-return]
    packed = torch.nn.utils.rnn.pack_padded_sequence(xs, lengths, enforce_sorted=False)
    ys, ends = module(packed, states)
    return torch.nn.utils.rnn.pad_packed_sequence(ys, total_length=len(xs))[0], ends


def by_layer(module: Any, arrays: list[Any]) -> Weights:
    """Arrays in the order of `module.parameters()`, such as gradients, as weights are handed over."""
    ways = 2 if module.bidirectional else 1
    weights: Weights = [[{} for _ in range(ways)] for _ in range(module.num_layers)]
    for (name, _), array in zip(module.named_parameters(), arrays, strict=True):
        entry, place = name.removesuffix("_reverse").rsplit("_l", 1)
        weights[int(place)][name.endswith("_reverse")][entry] = array
    return weights


def stacked(states: States) -> Any:
    """States as a module takes them: [layers * ways, B, H] of h and of c, or of h alone."""
    leaves = [one for both in states for one in both]
    stacks = tuple(torch.stack([torch.as_tensor(array) for array in each]) for each in zip(*leaves, strict=True))
    return stacks if len(stacks) == 2 else stacks[0]


def apart(module: Any, stacks: Any) -> States:
    """The inverse of `stacked`."""
    ways = 2 if module.bidirectional else 1
    each = list(zip(*stacks, strict=True)) if isinstance(stacks, tuple) else [(one,) for one in stacks]
    return [each[at : at + ways] for at in range(0, len(each), ways)]


def to_numpy(tensor: Any) -> Any:
    """NumPy has no bfloat16 of its own."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def make_train_step(model: Any, config: OptimizerConfig) -> Callable[..., None]:
    """One step of Adam, its fused form, as `lstmjax.training` takes it with a constant learning rate."""
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate, (0.9, config.beta2), fused=True)

    def train_step(*batch: Any) -> None:
        optimizer.zero_grad()
        model.loss(*batch).backward()
        if config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()

    return train_step
