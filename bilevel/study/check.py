"""Is this hypergradient right, and if not, which part of it is off?"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PyTree

from .._argmin import hoist
from .._bilevel import AbstractBilevel
from .._certify import certify
from .._tree import all_finite, dot, norm
from ..derivatives import Implicit
from ..problems import Smooth
from ..results import CONVERGED, sentence
from ._differences import difference, narrowed, numbers
from ._method import relative


class Finding(NamedTuple):
    """One part of a bilevel problem, what was tested, the error seen, and whether it passed."""

    part: str
    error: float
    ok: bool
    message: str


class Check(NamedTuple):
    """All findings. `ok`: nothing is wrong. `wrong`: names of the parts that are. `str()` explains.
    `degenerate`: the certificate says that the derivative is one-sided here, so that differences
    cannot judge it; choose another z.
    """

    findings: list[Finding]
    degenerate: bool

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)

    @property
    def wrong(self) -> list[str]:
        return [finding.part for finding in self.findings if not finding.ok]

    def __str__(self) -> str:
        lines = [
            f"{'ok   ' if f.ok else 'WRONG'}  {f.part}: {f.message} ({f.error:.1e})"
            for f in self.findings
        ]
        if self.degenerate:
            lines.append("DEGENERATE: the derivative is one-sided at this z; check it elsewhere")
        return "\n".join(lines)


def check(objective: AbstractBilevel, z: PyTree, *, tol: float = 1e-6, seed: int = 0) -> Check:
    """Test the hypergradient of `objective` at z, whole and in parts, by central differences.

    Each part is compared with its own differences along random directions: the outer objective in
    z and in the solution, the inner problem in z, the conditions in the unknowns, what the solver
    makes of them; then the solve (residual), the adjoint (residual), and the whole. Casts to
    fewer bits and functions that are not functions (randomness) are looked for as well.

    - `z`: a point in general position; at a kink no test can pass.
    - `tol`: relative error above which a part is wrong. Steps and rounding leave some 1e-9.

    Raises `ValueError` if z is not finite and floating. Takes seconds: a program per part.
    """
    if not jax.tree.leaves(z) or not all(
        jnp.issubdtype(jnp.result_type(leaf), jnp.floating) for leaf in jax.tree.leaves(z)
    ):
        raise ValueError("z: expected a pytree of floating arrays, at least one")
    if not bool(all_finite(z)):
        raise ValueError("z: got NaN or infinity, expected finite numbers")
    certificate = certify(objective, z) if isinstance(objective.derivative, Implicit) else None
    findings = [
        *_purity(objective, z),
        *_parts(objective, z, tol, jax.random.key(seed)),
    ]
    if certificate is not None:
        findings += _solve(objective, certificate, tol)
    findings.append(_whole(objective, z, tol, jax.random.key(seed + 1), findings))
    return Check(findings, certificate is not None and bool(certificate.degenerate))


def _purity(objective: AbstractBilevel, z: PyTree) -> Iterator[Finding]:
    """Two traces of the same function must agree."""
    for part, function in (
        ("inner problem", lambda: objective.pose(z).problem),
        ("value", lambda: objective.evaluate(z)[0]),
    ):
        first, second = numbers(function()), numbers(function())
        same = first.shape == second.shape and bool(jnp.all(first == second))
        if not same:
            gap = relative(first, second) if first.shape == second.shape else float("inf")
            said = "two calls at the same z differ; pass random keys in z or in the data"
            yield Finding(part, gap, False, said)


def _parts(objective: AbstractBilevel, z: PyTree, tol: float, key) -> Iterator[Finding]:
    solver = objective.solver
    problem = hoist(objective.pose(z).problem)
    point = eqx.filter_jit(solver.run)(problem, solver.cold(problem))
    u, frozen = point.unknowns, point.frozen
    value = solver.value(problem, u, frozen)

    def inner(z):
        return hoist(objective.pose(z).problem)

    def outer(z, value):
        return objective.pose(z).outcome(value).score

    tests: list[tuple[str, Callable, PyTree]] = [
        ("outer objective, in the solution", lambda v: outer(z, v), value),
        ("outer objective, in z", lambda z: outer(z, value), z),
        ("inner problem, its arrays in z", inner, z),
    ]
    if isinstance(objective.derivative, Implicit):
        tests += [
            ("conditions, in z", lambda z: solver.conditions(inner(z), u, frozen), z),
            ("conditions, in the unknowns", lambda u: solver.conditions(problem, u, frozen), u),
            ("solution, in the unknowns", lambda u: solver.value(problem, u, frozen), u),
            ("solution, in z directly", lambda z: solver.value(inner(z), u, frozen), z),
        ]
    for number, (part, function, argument) in enumerate(tests):
        cast = narrowed(function, argument)
        if cast is not None:
            yield Finding(part, float("inf"), False, f"casts {cast}: digits are lost")
        yield _compared(part, function, argument, tol, jax.random.fold_in(key, number))
    if isinstance(objective.derivative, Implicit) and isinstance(problem, Smooth):
        yield _stationarity(objective, problem, u, frozen, tol, key)


def _compared(part: str, function: Callable, x: PyTree, tol: float, key) -> Finding:
    """All of x at once; then, if that is off, leaf by leaf, so that the message can name it."""
    error = difference(function, x, key)
    if error <= tol:
        return Finding(part, error, True, "agrees with its differences")
    paths, structure = jax.tree_util.tree_flatten_with_path(x)
    leaves = [leaf for _, leaf in paths]
    off = []
    for number, (path, leaf) in enumerate(paths):

        def in_leaf(leaf, number=number):
            return function(structure.unflatten([*leaves[:number], leaf, *leaves[number + 1 :]]))

        if len(paths) > 1 and difference(in_leaf, leaf, key) > tol:
            off.append(jax.tree_util.keystr(path))
    where = f", in {', '.join(off)}" if off else ""
    return Finding(part, error, False, f"its derivative is not that of its values{where}")


def _stationarity(objective, problem, u, frozen, tol: float, key) -> Finding:
    """The conditions of a smooth problem are the slope of its objective, near the solution too."""

    def slope(u, direction):
        return dot(objective.solver.conditions(problem, u, frozen), direction)

    def values(u):
        return problem.objective(u, problem.args)

    shift = jax.random.normal(key, numbers(u).shape, numbers(u).dtype)
    flat, unravel = ravel_pytree(u)
    near = unravel(flat + 0.1 * (norm(u) / flat.size**0.5 + 0.1) * shift)
    error = difference(values, near, key, slope)
    ok = error <= tol
    said = "are the slope of the inner objective" if ok else "are not the slope of its values"
    return Finding("inner objective, its gradient", error, ok, f"the conditions {said}")


def _solve(objective: AbstractBilevel, certificate, tol: float) -> Iterator[Finding]:
    size = float(norm(certificate.gradient))
    converged = int(certificate.result) == CONVERGED
    moved = float(certificate.inner_error) / size if size > 0 else 0.0
    name = type(objective.solver).__name__
    if converged:
        said = "what is left of the inner residual moves the gradient by this share of it"
    else:
        said = sentence(certificate.result)
    yield Finding(f"solve by {name}", moved, converged and moved <= tol, said)
    adjoint = float(certificate.adjoint_error) / size if size > 0 else 0.0
    name = type(objective.linear).__name__
    said = "what is left of the adjoint system moves the gradient by this share of it"
    yield Finding(f"adjoint by {name}", adjoint, adjoint <= tol, said)


def _whole(objective: AbstractBilevel, z: PyTree, tol: float, key, findings) -> Finding:
    arrays, static = eqx.partition(objective, eqx.is_array)

    def value(z):
        return eqx.combine(arrays, static).evaluate(z)[0]

    finding = _compared("hypergradient", value, z, tol, key)
    if not math.isfinite(finding.error):
        return Finding("hypergradient", float("inf"), False, "it, or the value, is not finite")
    if not finding.ok and all(f.ok for f in findings):
        name = type(objective.derivative).__name__
        said = f"every part is right, so the derivative ({name}) is what is off, or z is at a kink"
        return Finding(f"derivative {name}", finding.error, False, said)
    return finding
