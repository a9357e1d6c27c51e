"""Methods: pairs of a solver and a derivative, and objectives with another method."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._bilevel import AbstractBilevel, Info
from .._certificate import Certificate
from .._certify import certify
from .._solver import AbstractSolver
from .._tree import norm, tree_sub
from ..derivatives import AbstractDerivative, Implicit


class Method(NamedTuple):
    """A solver and a derivative of its solution."""

    solver: AbstractSolver
    derivative: AbstractDerivative


Methods = Mapping[str, AbstractDerivative | Method] | Sequence[AbstractDerivative]


def named(objective: AbstractBilevel, methods: Methods) -> dict[str, Method]:
    """Methods by name; a derivative without a solver gets the objective's. ValueError if empty."""
    pairs: dict[str, AbstractDerivative | Method] = {}
    if isinstance(methods, Sequence):
        pairs.update({str(entry): entry for entry in methods})
    else:
        pairs.update(methods)
    if not pairs:
        raise ValueError("derivatives: got none, expected at least one to measure")
    return {
        name: entry if isinstance(entry, Method) else Method(objective.solver, entry)
        for name, entry in pairs.items()
    }


def using(objective: AbstractBilevel, method: Method) -> AbstractBilevel:
    """The same objective with another method."""
    return objective.using(*method)


class Evaluation(NamedTuple):
    """Value, hypergradient and report of one evaluation."""

    value: Float[Array, ""]
    gradient: PyTree
    info: Info


def compiled(objective: AbstractBilevel) -> Callable[[PyTree], jax.stages.Lowered]:
    """Z -> the lowered program of value and hypergradient, in (arrays of the objective, z)."""
    arrays, static = eqx.partition(objective, eqx.is_array)

    def evaluate(arrays, z):
        objective = eqx.combine(arrays, static)
        outer = jax.value_and_grad(objective.evaluate, has_aux=True)
        (value, (_, info)), gradient = outer(z)
        return Evaluation(value, gradient, info)

    return lambda z: jax.jit(evaluate).lower(arrays, z)


def evaluated(objective: AbstractBilevel, z: PyTree) -> Evaluation:
    """Value and hypergradient, by a program that is not kept."""
    arrays = eqx.filter(objective, eqx.is_array)
    return compiled(objective)(z).compile()(arrays, z)


def certified(objective: AbstractBilevel, methods: Mapping[str, Method], z: PyTree):
    """Certificates of the methods with an implicit derivative, by name."""
    return {
        name: certify(using(objective, method), z)
        for name, method in methods.items()
        if isinstance(method.derivative, Implicit)
    }


def best(certificates: Mapping[str, Certificate]) -> str | None:
    """The name of the certificate with the smallest bound; None if no bound is finite."""
    bounds = {name: float(c.error_bound) for name, c in certificates.items()}
    finite = {name: bound for name, bound in bounds.items() if bound < float("inf")}
    return min(finite, key=lambda name: finite[name]) if finite else None


def relative(a: PyTree, b: PyTree) -> float:
    """|a - b| / |b| over all leaves."""
    size = float(norm(b))
    return float(norm(tree_sub(a, b))) / size if size > 0 else float(norm(a) > 0)


def degrees(a: PyTree, b: PyTree) -> float:
    """Angle between two gradients in degrees, accurate for small angles."""
    sizes = float(norm(a)), float(norm(b))
    if not all(0 < size < float("inf") for size in sizes):
        return float("nan")
    a, b = (jax.tree.map(lambda x, s=s: x / s, t) for t, s in zip((a, b), sizes, strict=True))
    half = jnp.arctan2(norm(tree_sub(a, b)), norm(jax.tree.map(jnp.add, a, b)))
    return float(jnp.rad2deg(2 * half))
