"""Constrained problems: gradients against independent oracles, or a result that says why not."""

from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from nonlinear_programs import FAMILIES
from scipy.optimize import linprog

from bilevel import AbstractSolver, argmin
from bilevel.problems.constrained import Constrained
from bilevel.problems.qp import QP
from bilevel.results import CONVERGED, DEGENERATE, INFEASIBLE, SENTENCES
from bilevel.solvers.constrained.interior_point import PrimalDual

SOLVER = PrimalDual()
SHAPES = {
    "both": (8, 2, 10),
    "inequalities": (6, 0, 9),
    "equalities": (7, 3, 0),
    "many": (10, 3, 24),
}
SEEDS = 50
H = 1e-4
STENCIL = ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))  # fourth order


def probe(size: int, seed: int = 0):
    """Weights of a scalar that sees every part of a value."""
    return np.random.default_rng(seed).normal(size=size)


def seen(value):
    flat = jnp.concatenate([value.x, value.nu, value.lam])
    return jnp.asarray(probe(flat.size)) @ flat


def make_qp(arrays):
    return QP(**arrays)


def study(make):
    """Map over stacked arrays: the solution, its result and the gradient in every array."""

    def one(arrays):
        def score(arrays):
            solution = argmin(make(arrays), solver=SOLVER, throw=False)
            return seen(solution.value), solution

        (value, solution), gradient = jax.value_and_grad(score, has_aux=True)(arrays)
        return value, gradient, solution.value, solution.result

    mapped = jax.jit(lambda stacked: lax.map(one, stacked))

    def run(cases):
        """In portions of one size, which compile once."""
        parts = []
        for first in range(0, len(cases), SEEDS):
            part = cases[first : first + SEEDS]
            out = mapped(stack(part + [part[0]] * (SEEDS - len(part))))
            parts.append(jax.tree.map(lambda a, k=len(part): np.asarray(a)[:k], out))
        return jax.tree.map(lambda *a: np.concatenate(a), *parts)

    return run


def stack(cases):
    return {name: jnp.asarray(np.stack([c[name] for c in cases])) for name in cases[0]}


study_qp = study(make_qp)


def gradient_errors(study, cases, found, names):
    """Per converged case and array, the error of the gradient along a random direction, relative
    to the gradient; NaN where the active set changes within the stencil."""
    _, gradient, solutions, results = found
    rng = np.random.default_rng(1)
    good = [i for i in range(len(cases)) if int(results[i]) == CONVERGED]
    perturbed, directions = [], []
    for i in good:
        for name in names:
            direction = rng.normal(size=cases[i][name].shape)
            direction /= np.linalg.norm(direction)
            directions.append(direction)
            for step, _ in STENCIL:
                perturbed.append({**cases[i], name: cases[i][name] + step * H * direction})
    value, _, points, codes = study(perturbed)
    errors, at = np.full((len(good), len(names)), np.nan), 0
    for row, i in enumerate(good):
        for column, name in enumerate(names):
            here = slice(4 * at, 4 * at + 4)
            same = (points.lam[here] > 0) == (solutions.lam[i] > 0)[None]
            difference = sum(w * v for (_, w), v in zip(STENCIL, value[here], strict=True)) / H
            g = gradient[name][i]
            if np.all(same) and np.all(codes[here] == CONVERGED):
                scale = np.linalg.norm(g) + 1e-3
                errors[row, column] = abs(difference - np.sum(g * directions[at])) / scale
            at += 1
    return good, errors


def random_qp(name: str, seed: int):
    """A QP and what is wrong with it, if anything."""
    n, p, m = SHAPES[name]
    rng = np.random.default_rng([seed, n])
    kind = ("regular",) * 4 + ("semidefinite", "linear", "redundant", "infeasible", "weak", "flat")
    kind = kind[seed % 10]
    B = rng.normal(size=(n, {"semidefinite": n - 2, "linear": 0, "flat": n - 3}.get(kind, n)))
    x = rng.normal(size=n)
    A, G = rng.normal(size=(p, n)), rng.normal(size=(m, n))
    if kind == "linear" and m:  # bounded: the cost is a combination of the rows
        G = np.concatenate([G[: m - n], np.eye(n) * np.where(rng.random(n) < 0.5, 1, -1)])[-m:]
    Q, b, h = B @ B.T, A @ x, G @ x + rng.uniform(0.1, 1, size=m)
    q = 2 * rng.normal(size=n)
    if kind in ("linear", "weak") or (kind == "semidefinite" and m):
        tight = rng.permutation(m)[: min(m, n - p if kind == "linear" else 2)]
        h[tight] = G[tight] @ x
        push = rng.uniform(0.5, 2, size=tight.size)
        if kind == "weak" and m:
            push[0] = 0
        q = -Q @ x - G[tight].T @ push - A.T @ rng.normal(size=p)
    if kind == "redundant":
        if p:
            A[-1], b[-1] = 2 * A[0], 2 * b[0]
        else:
            G[-1], h[-1] = 2 * G[0], 2 * h[0]
            q = -Q @ x - G[0] * 5  # on x: the pair is active
            h[0], h[-1] = G[0] @ x, 2 * G[0] @ x
    if kind == "infeasible":
        if m:
            G[-1], h[-1] = -G[0], -h[0] - 1
        else:
            A[-1], b[-1] = A[0], b[0] + 1
    if kind == "flat":  # a direction that neither cost nor constraints see
        v = rng.normal(size=n)
        P = np.eye(n) - np.outer(v, v) / (v @ v)
        Q, q, A, G = P @ Q @ P, P @ q, A @ P, G @ P
        Q = (Q + Q.T) / 2
        b, h = A @ x, G @ x + rng.uniform(0.1, 1, size=m)
    arrays = {"Q": Q, "q": q}
    if p:
        arrays |= {"A": A, "b": b}
    if m:
        arrays |= {"G": G, "h": h}
    return kind, arrays


def violation(arrays, point) -> float:
    """Of the KKT conditions, sufficient as Q is positive semi-definite; in long double."""
    exact = {k: np.asarray(v, np.longdouble) for k, v in arrays.items()}
    x, nu, lam = (np.asarray(a, np.longdouble) for a in point)
    slope = exact["Q"] @ x + exact["q"]
    size = 1 + np.max(np.abs(x)) + np.max(np.abs(slope))
    found = [np.zeros(1)]
    if "A" in exact:
        slope = slope + exact["A"].T @ nu
        found.append(np.abs(exact["A"] @ x - exact["b"]))
    if "G" in exact:
        g = exact["G"] @ x - exact["h"]
        slope = slope + exact["G"].T @ lam
        found += [np.maximum(g, 0), np.maximum(-lam, 0), np.abs(lam * g)]
    return float(max(np.max(f) for f in [*found, np.abs(slope)]) / size)


def feasible(arrays) -> bool:
    pairs = [arrays.get(k) for k in ("G", "h", "A", "b")]
    return linprog(0 * arrays["q"], *pairs, bounds=(None, None)).status == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_quadratic_programs_have_the_right_gradient_or_a_result_that_says_why_not(shape):
    kinds, cases = zip(*(random_qp(shape, seed) for seed in range(SEEDS)), strict=True)
    found = study_qp(list(cases))
    good, errors = gradient_errors(study_qp, cases, found, list(cases[0]))
    points, results = found[2], [int(code) for code in found[3]]
    print(Counter(zip(kinds, results, strict=True)), np.nanmax(errors), np.mean(np.isnan(errors)))
    for i, (kind, arrays) in enumerate(zip(kinds, cases, strict=True)):
        assert (results[i] == INFEASIBLE) == (not feasible(arrays)), (i, kind)
        if results[i] in (CONVERGED, DEGENERATE):
            point = tuple(np.asarray(a[i]) for a in points)
            assert violation(arrays, point) < 1e-12, (i, kind)
        if kind == "regular":
            assert results[i] == CONVERGED, i
        if kind in ("redundant", "flat") or (kind == "weak" and "G" in arrays):
            assert results[i] != CONVERGED, (i, kind)
    assert np.nanmax(errors) < 1e-8, (good[int(np.nanargmax(np.nanmax(errors, 1)))], errors)
    assert np.mean(np.isnan(errors)) < 0.02


DRAWS = 5


def make_nonlinear(families, arrays):
    """Several families as one problem: `which` picks one. Parameters reach it in `args` and, half
    of each, through a closure."""
    which = arrays["which"].astype(int)
    half = arrays["a"] / 2

    def part(k):
        branches = [FAMILIES[name][k] for name in families]
        return lambda x, args: lax.switch(which, branches, x, half + args)

    return Constrained(
        part(0), arrays["start"], half, lambda x, args: part(1)(x, args)[None], part(2)
    )


EACH_RESULT = (
    "rosenbrock in a disc", "product in a sphere", "infeasible", "unbounded", "weakly active",
    "no interior", "flat",
)  # fmt: skip


@pytest.mark.parametrize(
    "families",
    [
        pytest.param(EACH_RESULT, id="one of each result"),
        pytest.param(tuple(FAMILIES), id="all", marks=pytest.mark.slow),
    ],
)
def test_nonlinear_programs_have_the_right_gradient_or_a_result_that_says_why_not(families):
    study_nonlinear = study(partial(make_nonlinear, families))
    rng = np.random.default_rng(0)
    names, cases = [], []
    for which, name in enumerate(families):
        family = FAMILIES[name]
        for _ in range(DRAWS):
            a = np.asarray(family[4]) + 0.1 * rng.normal(size=4)
            names.append(name)
            cases.append({"which": np.float64(which), "a": a, "start": np.asarray(family[3])})
    found = study_nonlinear(cases)
    results = [int(code) for code in found[3]]
    print(Counter(zip(names, results, strict=True)))
    good, errors = gradient_errors(study_nonlinear, cases, found, ["a"])
    print(np.nanmax(errors), np.mean(np.isnan(errors)))
    for name, result in zip(names, results, strict=True):
        assert result in FAMILIES[name][5], (name, SENTENCES[result])
    worst = int(np.nanargmax(errors))
    assert np.nanmax(errors) < 1e-8, (names[good[worst]], errors)
    assert not np.any(np.isnan(errors)), [names[good[i]] for i in np.flatnonzero(np.isnan(errors))]


ARRAYS = {k: jnp.asarray(v) for k, v in random_qp("both", 0)[1].items()}


def solved(q, G, solver: AbstractSolver = SOLVER):
    return argmin(make_qp({**ARRAYS, "q": q, "G": G}), solver=solver).value


def test_forward_and_reverse_first_and_second_derivatives_agree():
    at = ARRAYS["q"], ARRAYS["G"]

    def score(q, G):
        return jnp.sum(jnp.sin(seen(solved(q, G))))

    @jax.jit
    def derivatives(q, G, dq, dG):
        gradient, second = jax.jvp(jax.grad(score, (0, 1)), (q, G), (dq, dG))
        return gradient, second, jax.jvp(score, (q, G), (dq, dG))[1]

    rng = np.random.default_rng(3)
    u, v = (tuple(jnp.asarray(rng.normal(size=a.shape)) for a in at) for _ in range(2))

    def dot(a, b):
        return float(sum(jnp.sum(x * y) for x, y in zip(a, b, strict=True)))

    gradient, along_u, forward = derivatives(*at, *u)
    np.testing.assert_allclose(float(forward), dot(gradient, u), rtol=1e-12)
    _, along_v, _ = derivatives(*at, *v)
    np.testing.assert_allclose(dot(along_u, v), dot(along_v, u), rtol=1e-9)
    difference = (
        sum(
            w * dot(derivatives(*(x + step * H * d for x, d in zip(at, u, strict=True)), *v)[0], v)
            for step, w in STENCIL
        )
        / H
    )
    np.testing.assert_allclose(dot(along_u, v), difference, rtol=1e-8)


@pytest.mark.slow
def test_vmap_is_the_loop_and_a_warm_start_gives_the_cold_answer():
    cases = [random_qp("both", seed)[1] for seed in range(SEEDS)]
    _, _, values, results = study_qp(cases)

    @jax.jit
    @jax.vmap
    def solve(arrays, warm):
        return argmin(make_qp(arrays), warm, solver=SOLVER, throw=False)

    def agree(solution, other_values, other_results):
        np.testing.assert_array_equal(solution.result[good], other_results[:10][good])
        for a, b in zip(*map(jax.tree.leaves, (solution.value, other_values)), strict=True):
            np.testing.assert_allclose(a[good], b[:10][good], atol=1e-11)

    stacked, good = stack(cases[:10]), results[:10] == CONVERGED
    assert good.sum() == 6
    none = jax.tree.map(lambda a: jnp.stack([a] * 10), SOLVER.cold(make_qp(ARRAYS)))
    first = solve(stacked, none)
    agree(first, values, results)
    still = solve(stacked, first.warm)
    agree(still, values, results)
    assert not np.any(still.stats["steps"][good])
    moved = {**stacked, "q": stacked["q"] + 0.3}
    cold = solve(moved, none)
    agree(solve(moved, first.warm), cold.value, cold.result)
