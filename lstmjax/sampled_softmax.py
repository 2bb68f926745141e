"""A softmax over very many symbols, trained on a sample of them."""

import jax
import jax.numpy as jnp

from lstmjax import checks
from lstmjax.types import Array, Bool, Float, Int, Key


def sample_symbols(key: Key[Array, ""], num_symbols: int, size: int) -> tuple[Int[Array, "S"], Float[Array, "S"]]:
    """Symbols to stand for all, with the logarithm of how many each one stands for.

    The first quarter of the sample are the symbols 0, 1, ..., which stand for themselves; the others are drawn evenly
    and without repetition from the rest, and stand for as many as the rest has for each of them. So where symbols are
    numbered from the most frequent down, the ones that matter most are always there.

    Args:
      key: draws them.
      num_symbols: V.
      size: S, at least 4; at V and beyond all symbols are taken.

    Returns:
      ids, integers [S], distinct; logarithms of their weights [S], float32.

    Raises:
      ValueError: a size below 4.

    >>> ids, log_weights = sample_symbols(jax.random.key(0), num_symbols=100, size=8)
    >>> len(set(ids.tolist())), ids[:2].tolist(), [round(float(weight), 2) for weight in jnp.exp(log_weights)]
    (8, [0, 1], [1.0, 1.0, 16.33, 16.33, 16.33, 16.33, 16.33, 16.33])
    """
    checks.positive_int("num_symbols", num_symbols)
    checks.index("size", size, 4)
    if size >= num_symbols:
        return jnp.arange(num_symbols), jnp.zeros(num_symbols, jnp.float32)
    head, rest = size // 4, num_symbols - size // 4
    drawn = jax.random.choice(key, rest, (size - head,), replace=False) + head
    weights = jnp.where(jnp.arange(size) < head, 1.0, rest / (size - head))
    return jnp.concatenate([jnp.arange(head), drawn]), jnp.log(weights).astype(jnp.float32)


def sampled_softmax_losses(
    logits: Float[Array, "*batch S"],
    target_logits: Float[Array, "*batch"],
    is_target: Bool[Array, "*batch S"],
    log_weights: Float[Array, "S"],
) -> Float[Array, "*batch"]:
    """`-log p_target` where the sum over all symbols in p is estimated from a sample of them.

        log(e^z_target + sum over the sample, but the target, of weight_s e^z_s) - z_target,   in nats

    The estimate of the sum (not of its logarithm) is right on average; with all symbols sampled, it is the sum.

    Args:
      logits: of the sample's symbols [..., S].
      target_logits: of the targets [...].
      is_target: where the sample has the target itself, booleans [..., S].
      log_weights: how many symbols each one stands for [S], its logarithm.

    Returns:
      losses [...].

    Source: importance sampling, Bengio and Senécal 2003; with shared samples, Jean et al. 2015, "On Using Very Large
    Target Vocabulary for Neural Machine Translation".

    >>> is_target = jnp.array([[False, True, False]])
    >>> losses = sampled_softmax_losses(jnp.zeros((1, 3)), jnp.zeros(1), is_target, jnp.zeros(3))
    >>> round(float(jnp.exp(losses[0])), 4)
    3.0
    """
    spread = jnp.broadcast_to(log_weights.astype(logits.dtype), logits.shape)
    others = jnp.where(is_target, -jnp.inf, logits + spread)
    return jax.nn.logsumexp(jnp.concatenate([target_logits[..., None], others], axis=-1), axis=-1) - target_logits
