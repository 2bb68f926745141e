"""A function whose reverse mode is a given backward pass, and whose other derivatives are those of plain JAX.

The problem: a function with `jax.custom_vjp` has no forward mode. Only reverse mode should run the given backward pass;
forward mode and second derivatives should come from `reference`, the same function in plain JAX.

The system: for reverse mode, JAX transposes the linear map A from the arguments' tangents v to the results' tangents
y = A v. `lax.custom_linear_solve` is its one public primitive whose transpose one may choose and which keeps all
derivatives and batching. So y is found by solving

    [  I  0 ] [ v ]   [ v ]
    [ -A  I ] [ y ] = [ 0 ]

which takes one application of A. The transposed system takes one of A^T, which is the backward pass.

The dependency: JAX transposes the primitive only if every array on the right side depends on the tangents. The 0 does
not, nor need all of v; `zero_depending_on` makes a zero that does, to be added to each.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from lstmjax.types import Array, Float, PyTree


def with_backward(
    forward: Callable[..., Any],
    saving: Callable[..., tuple[Any, Any]],
    backward: Callable[[Any, Any], tuple[Any, ...]],
    reference: Callable[..., Any],
) -> Callable[..., Any]:
    """`forward`, with `backward` for reverse mode and the derivatives of `reference` for all else.

    JAX need not be able to differentiate the first three.

    Args:
      forward: the function of some trees of arrays.
      saving: the same function; returns its results and the residuals.
      backward: from the residuals and the results' cotangents to a tuple of cotangents, a tree for each argument;
        leaves that have no cotangent, such as booleans, may be anything.
      reference: the same function, of which JAX can take every derivative.
    """
    function = jax.custom_jvp(forward)
    with_residuals = saving_like(function, saving)
    gradients = gradients_like(reference, backward)

    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        values, of_floats = function_of_floats(reference, primals)
        dots = floats(primals, tangents)
        moving = [i for i, dot in enumerate(dots) if not isinstance(dot, SymbolicZero)]

        def of_moving(moved: list[Array]) -> Any:
            at = dict(zip(moving, moved, strict=True))
            return of_floats([at.get(i, value) for i, value in enumerate(values)])

        def linear(v: list[Array]) -> Any:
            return jax.jvp(of_moving, ([values[i] for i in moving],), (v,))[1]

        def transposed(y: Any) -> list[Array]:
            cotangents = gradients(primals, saved, y)
            return [cotangents[i] for i in moving]

        out, saved = with_residuals(primals)
        return out, apply_linear(linear, transposed, [dots[i] for i in moving], out)

    function.defjvp(rule, symbolic_zeros=True)
    return function


def saving_like(function: Callable[..., Any], saving: Callable[..., tuple[Any, Any]]) -> Callable[..., Any]:
    """`saving` of a tuple of arguments, with the derivatives of `function`; residuals have none."""

    @jax.custom_jvp
    def with_residuals(arguments: tuple[Any, ...]) -> tuple[Any, Any]:
        return saving(*arguments)

    @with_residuals.defjvp
    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        out, saved = with_residuals(*primals)
        return (out, saved), (jax.jvp(function, primals[0], tangents[0])[1], zero_tangents(saved))

    return with_residuals


def gradients_like(
    reference: Callable[..., Any], backward: Callable[[Any, Any], tuple[Any, ...]]
) -> Callable[[tuple[Any, ...], Any, Any], list[Array]]:
    """The gradients of floating leaves by `backward`, with the derivatives of `reference`'s gradients.

    Residuals follow from the arguments, so their change is counted in that of the arguments.
    """

    @jax.custom_jvp
    def gradients(arguments: tuple[Any, ...], saved: Any, cotangents: Any) -> list[Array]:
        return floats(arguments, backward(saved, cotangents))

    @gradients.defjvp
    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        arguments, _, cotangents = primals
        d_arguments, _, d_cotangents = tangents
        values, of_floats = function_of_floats(reference, arguments)

        def pull(values: list[Array], cotangents: Any) -> Any:
            return jax.vjp(of_floats, values)[1](cotangents)[0]

        inputs, changes = (values, cotangents), (floats(arguments, d_arguments), d_cotangents)
        return gradients(*primals), jax.jvp(pull, inputs, changes)[1]

    return gradients


def function_of_floats(function: Callable[..., Any], arguments: Any) -> tuple[list[Array], Callable[..., Any]]:
    """The floating leaves of `arguments`, and `function` of a list of such leaves, all others kept."""
    structure: Any
    leaves, structure = jax.tree.flatten(arguments)
    floating = [i for i, leaf in enumerate(leaves) if is_floating(leaf)]

    def of_floats(values: list[Array]) -> Any:
        at = dict(zip(floating, values, strict=True))
        return function(*structure.unflatten([at.get(i, leaf) for i, leaf in enumerate(leaves)]))

    return [leaves[i] for i in floating], of_floats


def floats(arguments: PyTree, tree: PyTree) -> list[Any]:
    """The leaves of a tree like `arguments` at the places of its floating leaves."""
    structure: Any
    leaves, structure = jax.tree.flatten(arguments)
    return [value for leaf, value in zip(leaves, structure.flatten_up_to(tree), strict=True) if is_floating(leaf)]


def is_floating(leaf: Array) -> bool:
    """Whether an array has a gradient: booleans, whole numbers and keys have none."""
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def zero_tangents(tree: PyTree) -> PyTree:
    """Tangents of a tree that does not change."""
    return jax.tree.map(lambda x: jnp.zeros_like(x) if is_floating(x) else np.zeros(x.shape, jax.dtypes.float0), tree)


def apply_linear(linear: Callable[[Any], Any], transposed: Callable[[Any], Any], v: PyTree, like: PyTree) -> PyTree:
    """`linear(v)`, a tree like `like`, with `transposed` for its transpose."""
    linear = jax.jit(linear)  # traced once, where the system and its solution both need it

    def system(unknown: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = unknown
        product = linear(add_to_all(v, zero_depending_on(y)))
        return add_to_all(v, zero_depending_on(product)), jax.tree.map(jnp.subtract, y, product)

    def solve(_: Any, right: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = right
        return v, add_trees(y, linear(v))

    def solve_transposed(_: Any, right: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        v, y = right
        return add_trees(v, transposed(y)), y

    right = add_to_all((v, jax.tree.map(jnp.zeros_like, like)), zero_depending_on(v))
    return lax.custom_linear_solve(system, right, solve, solve_transposed)[1]


def zero_depending_on(tree: PyTree) -> Float[Array, ""]:
    """A zero that JAX takes for a linear function of every leaf; the compiler sees what it is and drops it."""
    # Reductions work for empty arrays, too, and for those in several shards.
    nothings = [jnp.sum(lax.select(False, leaf, lax.full_like(leaf, 0))) for leaf in jax.tree.leaves(tree)]
    return sum((nothing.astype(jnp.float32) for nothing in nothings), jnp.float32(0))


def add_to_all(tree: PyTree, number: Float[Array, ""]) -> PyTree:
    """`number` added to every element of every leaf."""
    return jax.tree.map(lambda leaf: leaf + number.astype(leaf.dtype), tree)


def add_trees(a: PyTree, b: PyTree) -> PyTree:
    """The sum, leaf by leaf."""
    return jax.tree.map(jnp.add, a, b)
