"""`check`: test a hypergradient, whole and in parts, by central differences."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from .._argmin import hoist
from .._bilevel import AbstractBilevel
from .._certify import certify
from .._program import compiled
from .._tree import all_finite, dot, norm
from ..derivatives import Implicit
from ..problems import Smooth
from ..results import CONVERGED, sentence
from ._differences import difference, narrowed, numbers
from ._method import relative


class Finding(NamedTuple):
    """The test of one part of a bilevel problem: its name, the relative error, whether it passed,
    and a sentence.
    """

    part: str
    error: float
    ok: bool
    message: str


class Check(NamedTuple):
    """Result of `check`; `str()` explains it.

    - `findings`: one per test. `ok`: all passed. `wrong`: names of the parts that failed.
    - `degenerate`: the certificate says that the derivative is one-sided at z, so that differences
      cannot test it; choose another z.
    """

    findings: list[Finding]
    degenerate: bool

    @property
    def ok(self) -> bool:
        """Whether all tests passed."""
        return all(finding.ok for finding in self.findings)

    @property
    def wrong(self) -> list[str]:
        """Names of the parts that failed."""
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

    Each part is compared with differences along random directions: the outer objective in z and in
    the solution, the inner problem in z, the conditions in z and in the unknowns, and the solution
    as a function of these. Then the solve and the adjoint are tested by their residuals, and the
    whole by differences. Casts to fewer bits and random functions are reported too.

    - `objective`: a composed attack or a `Bilevel`.
    - `z`: a point in general position: at a kink every test fails.
    - `tol`: relative error above which a part is wrong. Correct parts have errors of about 1e-9.
    - `seed`: of the random directions.

    Raises `ValueError` if z is not finite and floating. It takes seconds: one program per part.
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
    """Findings about functions that differ between two calls at the same z."""

    def called(z: PyTree) -> dict[str, Array]:
        parts = {"inner problem": objective.pose(z).problem, "value": objective.evaluate(z)[0]}
        return {part: numbers(result) for part, result in parts.items()}

    # Each program is traced anew: a random function is called twice. Op by op compiles far more.
    once, again = (compiled(called, effort=0)(z) for _ in range(2))
    for part, first in once.items():
        second = again[part]
        if first.shape != second.shape or not bool(jnp.all(first == second)):
            gap = relative(first, second) if first.shape == second.shape else float("inf")
            message = "two calls at the same z differ; pass random keys in z or in the data"
            yield Finding(part, gap, False, message)


def _parts(objective: AbstractBilevel, z: PyTree, tol: float, key) -> Iterator[Finding]:
    solver = objective.solver
    problem = hoist(objective.pose(z).problem)
    point = compiled(lambda problem: solver.run(problem, solver.cold(problem)), effort=0)(problem)
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
    """The test of all of x; if it fails, also of each leaf, for the message."""
    error = difference(function, x, key)
    if error <= tol:
        return Finding(part, error, True, "the derivative agrees with differences")
    paths, structure = jax.tree_util.tree_flatten_with_path(x)
    leaves = [leaf for _, leaf in paths]
    off = []
    for number, (path, leaf) in enumerate(paths):

        def in_leaf(leaf, number=number):
            return function(structure.unflatten([*leaves[:number], leaf, *leaves[number + 1 :]]))

        if len(paths) > 1 and difference(in_leaf, leaf, key) > tol:
            off.append(jax.tree_util.keystr(path))
    where = f", in {', '.join(off)}" if off else ""
    return Finding(part, error, False, f"the derivative disagrees with differences{where}")


def _stationarity(objective, problem, u, frozen, tol: float, key) -> Finding:
    """Test that the conditions of a smooth problem are the gradient of its objective near u."""

    def slope(u, direction):
        return dot(objective.solver.conditions(problem, u, frozen), direction)

    def values(u):
        return problem.objective(u, problem.args)

    shift = jax.random.normal(key, numbers(u).shape, numbers(u).dtype)
    flat, unravel = ravel_pytree(u)
    near = unravel(flat + 0.1 * (norm(u) / flat.size**0.5 + 0.1) * shift)
    error = difference(values, near, key, slope)
    ok = error <= tol
    message = "the conditions are " + ("" if ok else "not ") + "the slope of the inner objective"
    return Finding("inner objective, its gradient", error, ok, message)


def _solve(objective: AbstractBilevel, certificate, tol: float) -> Iterator[Finding]:
    size = float(norm(certificate.gradient))
    converged = int(certificate.result) == CONVERGED
    moved = float(certificate.inner_error) / size if size > 0 else 0.0
    name = type(objective.solver).__name__
    message = "relative error of the gradient from the inner residual"
    if not converged:
        message = sentence(certificate.result)
    yield Finding(f"solve by {name}", moved, converged and moved <= tol, message)
    adjoint = float(certificate.adjoint_error) / size if size > 0 else 0.0
    name = type(objective.linear).__name__
    message = "relative error of the gradient from the residual of the adjoint system"
    yield Finding(f"adjoint by {name}", adjoint, adjoint <= tol, message)


def _whole(objective: AbstractBilevel, z: PyTree, tol: float, key, findings) -> Finding:
    arrays, static = eqx.partition(objective, eqx.is_array)

    def value(z):
        return eqx.combine(arrays, static).evaluate(z)[0]

    finding = _compared("hypergradient", value, z, tol, key)
    if not math.isfinite(finding.error):
        message = "the gradient or the value is not finite"
        return Finding("hypergradient", float("inf"), False, message)
    if not finding.ok and all(f.ok for f in findings):
        name = type(objective.derivative).__name__
        message = f"all parts are right, so the derivative ({name}) is wrong, or z is at a kink"
        return Finding(f"derivative {name}", finding.error, False, message)
    return finding
