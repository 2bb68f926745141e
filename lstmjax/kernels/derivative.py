"""A function with a backward pass of its own that keeps every other derivative.

The problem: `jax.custom_vjp` would give up forward mode. Only the transpose of the linearised function, which is what
reverse mode runs, should be one's own; forward mode and second derivatives come from a reference with the same values.

The system: JAX has one public primitive whose transpose one may choose and which has all derivatives and batching,
`lax.custom_linear_solve`. With A the linearised reference, v the tangents going in, y = A v those coming out:

    [  I  0 ] [ v ]   [ v ]
    [ -A  I ] [ y ] = [ 0 ]

It is solved by applying A, and its transpose by applying A^T: the backward pass.

The dependency: JAX transposes the primitive only if every part of its right side depends on what is differentiated.
The 0 beside v does not, nor need all of v; `zeros_depending_on` makes them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from lstmjax.steps import add_trees
from lstmjax.types import Array, PyTree


def with_backward(
    forward: Callable[..., Any],
    saving: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], tuple[Any, ...]],
    reference: Callable[..., Any],
) -> Callable[..., Any]:
    """`forward`, with `backward` for reverse mode and the derivatives of `reference` for all else.

    None of the first three needs derivatives of its own.

    Args:
      forward: the function of some trees of arrays.
      saving: the same function, giving also what `backward` needs.
      backward: from that and the results' cotangents to a tuple of cotangents, a tree for each argument; leaves that
        have no cotangent, such as booleans, may be anything.
      reference: the same function, made of what JAX can differentiate in every way.
    """

    @jax.custom_jvp
    def with_residuals(primals: tuple[Any, ...]) -> tuple[Any, Any]:
        return saving(*primals)

    @with_residuals.defjvp
    def with_residuals_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        (arguments,) = primals
        out, saved = with_residuals(arguments)
        return (out, saved), (jax.jvp(function, arguments, tangents[0])[1], zero_tangents(saved))

    @jax.custom_jvp
    def gradients(primals: tuple[Any, ...], saved: Any, cotangents: Any) -> list[Array]:
        """Of the floating leaves. `saved` follows from `primals`, so all change of it is counted in theirs."""
        return floats(jax.tree.structure(primals).flatten_up_to(backward(saved, cotangents)), jax.tree.leaves(primals))

    @gradients.defjvp
    def gradients_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        (arguments, saved, cotangents), (d_arguments, _, d_cotangents) = primals, tangents
        leaves, of_floats = function_of_floats(reference, arguments)
        dots = floats(jax.tree.structure(arguments).flatten_up_to(d_arguments), jax.tree.leaves(arguments))

        def pull(values: list[Array], cotangents: Any) -> list[Array]:
            (pulled,) = jax.vjp(of_floats, values)[1](cotangents)
            return pulled  # type: ignore[no-any-return]

        d_pulled = jax.jvp(pull, (leaves, cotangents), (dots, d_cotangents))[1]
        return gradients(arguments, saved, cotangents), d_pulled

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        leaves, of_floats = function_of_floats(reference, primals)
        dots = floats(jax.tree.structure(primals).flatten_up_to(tangents), jax.tree.leaves(primals))
        moving = [i for i, dot in enumerate(dots) if not isinstance(dot, SymbolicZero)]

        def of_moving(values: list[Array]) -> Any:
            at = dict(zip(moving, values, strict=True))
            return of_floats([at.get(i, leaf) for i, leaf in enumerate(leaves)])

        def linear(v: list[Array]) -> Any:
            return jax.jvp(of_moving, ([leaves[i] for i in moving],), (v,))[1]

        def transposed(y: Any) -> list[Array]:
            all_floats = gradients(primals, saved, y)
            return [all_floats[i] for i in moving]

        out, saved = with_residuals(primals)
        return out, apply_linear(linear, transposed, [dots[i] for i in moving], out)

    function = jax.custom_jvp(forward)
    function.defjvp(rule, symbolic_zeros=True)
    return function


def function_of_floats(function: Callable[..., Any], arguments: Any) -> tuple[list[Array], Callable[..., Any]]:
    """The floating leaves of `arguments`, and `function` as one of such a list, with all others as they are."""
    leaves, structure = jax.tree.flatten(arguments)
    floating = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.floating)]

    def of_floats(values: list[Array]) -> Any:
        at = dict(zip(floating, values, strict=True))
        return function(*structure.unflatten([at.get(i, leaf) for i, leaf in enumerate(leaves)]))

    return [leaves[i] for i in floating], of_floats


def floats(values: list[Any], leaves: list[Array]) -> list[Any]:
    """Those values that belong to floating leaves."""
    return [value for value, leaf in zip(values, leaves, strict=True) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def zero_tangents(tree: PyTree) -> PyTree:
    """Tangents of a tree that does not change."""

    def zero(leaf: Array) -> Any:
        inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jnp.zeros_like(leaf) if inexact else np.zeros(leaf.shape, jax.dtypes.float0)

    return jax.tree.map(zero, tree)


def apply_linear(linear: Callable[[Any], Any], transposed: Callable[[Any], Any], v: PyTree, like: PyTree) -> PyTree:
    """`linear(v)`, a tree like `like`, with `transposed` for its transpose."""

    def system(unknown: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = unknown
        product = linear(add_trees(v, zeros_depending_on(y, v)))
        return add_trees(v, zeros_depending_on(product, v)), jax.tree.map(jnp.subtract, y, product)

    def solve(_: Any, right: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = right
        return v, add_trees(y, linear(v))

    def solve_transposed(_: Any, right: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = right
        return add_trees(v, transposed(y)), y

    right = (add_trees(v, zeros_depending_on(v, v)), zeros_depending_on(v, like))
    return lax.custom_linear_solve(system, right, solve, solve_transposed)[1]


def zeros_depending_on(source: PyTree, like: PyTree) -> PyTree:
    """Zeros that JAX takes for a linear function of `source`; the compiler sees they are zeros and drops them."""
    # Reductions and sums alone, so that it holds for arrays in several shards and for empty ones.
    nothings = [jnp.sum(lax.select(jnp.array(False), leaf, jnp.zeros_like(leaf))) for leaf in jax.tree.leaves(source)]

    def zeros(leaf: Array) -> Array:
        mixed = sum((one.astype(leaf.dtype) for one in nothings), jnp.zeros((), leaf.dtype))
        return jnp.zeros_like(leaf) + jnp.broadcast_to(mixed, leaf.shape)

    return jax.tree.map(zeros, like)
