"""Programs with constraints, made of tables: rows are data, and constraints."""

import jax.numpy as jnp
import numpy as np

from bilevel.problems import QP, BoxQP, Constrained
from bilevel.solvers import ActiveSet, PrimalDual

from .exact import programs
from .exact.arithmetic import Reference, mean_square
from .kind import Kind, Program, solved
from .tables import Table

LIMITS, BOXED = 6, 8
"""Rows that are inequalities; variables of the box."""


def drawn(table: Table) -> np.random.Generator:
    """Random numbers that are a function of the table."""
    return np.random.default_rng(np.frombuffer(table.x.tobytes(), np.uint32))


def _centred(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Rows less their mean, and shares of the weights."""
    share = table.weight / np.sum(table.weight)
    return table.x - share @ table.x, share


def _validation(fixed, x):
    return 0.5 * jnp.mean((fixed["x_val"] @ x - fixed["y_val"]) ** 2)


def _constraints(table: Table, H: np.ndarray, minimiser: np.ndarray):
    """(A, b, G, h) of rows of the table, and a point near the minimiser that meets them."""
    rng, n = drawn(table), len(minimiser)
    root = np.linalg.cholesky(np.linalg.inv(H + 1e-12 * np.trace(H) * np.eye(n)))
    size = np.sqrt(minimiser @ H @ minimiser) / np.sqrt(n)
    feasible = minimiser + 0.5 * size * (root @ rng.normal(size=n))
    A, G = table.x[LIMITS : LIMITS + 1], table.x[:LIMITS] * rng.choice([-1, 1], (LIMITS, 1))
    room = size * np.linalg.norm(G @ root, axis=1) * 10 ** rng.uniform(-2, 1, LIMITS)
    return A, A @ feasible, G, G @ feasible + room, feasible


def _pose_qp(table: Table):
    x, share = _centred(table)
    Q0 = x.T @ (share[:, None] * x)
    strength, q = 0.1 * table.strength, -x.T @ (share * table.y)
    H = Q0 + strength * np.eye(len(q))
    A, b, G, h, _ = _constraints(table, H, -np.linalg.lstsq(H, q)[0])
    x_val = table.x_val - share @ table.x
    fixed = {"Q0": Q0, "A": A, "x_val": x_val, "y_val": table.y_val}
    fixed = {name: jnp.asarray(leaf) for name, leaf in fixed.items()}
    z = tuple(map(jnp.asarray, (q, b, G, h, strength)))
    return Program(fixed, _qp, _outer_qp, PrimalDual()), z


def _qp(fixed, z):
    q, b, G, h, strength = z
    return QP(fixed["Q0"] + strength * jnp.eye(q.size), q, fixed["A"], b, G, h)


def _outer_qp(fixed, value):
    return _validation(fixed, value.x) + 0.1 * (jnp.sum(value.nu) + jnp.sum(value.lam))


def _exact_qp(objective: Program, face):
    fixed = {name: np.asarray(leaf) for name, leaf in objective.fixed.items()}
    active = np.asarray(face[0].lam) > 0

    def at(z):
        q, b, G, h, strength = z
        Q = fixed["Q0"] + strength * np.eye(len(q))
        found = programs.qp(Q, q, fixed["A"], b, G, h, active)
        value = mean_square(fixed["x_val"] @ found.x, fixed["y_val"])
        value = value + 0.1 * (np.sum(found.equal) + np.sum(found.unequal))
        return Reference(value, found.slack, found.condition)

    return at


def _box_posed(solver):
    def pose(table: Table):
        rng, n = drawn(table), BOXED
        x, share = _centred(table)
        Z = table.y[:n, None] * x[:n]
        Q0 = Z @ Z.T
        unit = 1 / np.mean(np.diag(Q0)) if Q0.any() else 1.0
        lower = -unit * 10 ** rng.uniform(-2, 1, n)
        upper = unit * 10 ** rng.uniform(-2, 1, n)
        lower[0] = upper[0]  # pinned
        upper[1], lower[2] = np.inf, -np.inf
        inside = np.where(np.isfinite(lower), lower, upper - unit)
        inside = inside + rng.random(n) * (np.where(np.isfinite(upper), upper, unit) - inside)
        inside[0] = lower[0]
        x_val = (table.x_val - share @ table.x) @ Z.T * unit
        fixed = {"Q0": Q0, "e": table.y[:n], "x_val": x_val, "y_val": table.y_val}
        fixed = {name: jnp.asarray(leaf) for name, leaf in fixed.items()}
        strength = 1e-2 * table.strength / unit
        q = -np.ones(n) * (1 + 0.1 * rng.normal(size=n))
        z = (q, lower, upper, table.y[:n] @ inside, strength)
        return Program(fixed, _box, _outer_box, solver), tuple(map(jnp.asarray, z))

    return pose


def _box(fixed, z):
    q, lower, upper, b, strength = z
    return BoxQP(fixed["Q0"] + strength * jnp.eye(q.size), q, lower, upper, fixed["e"], b)


def _outer_box(fixed, value):
    return _validation(fixed, value[0])


def _exact_box(objective: Program, face):
    fixed = {name: np.asarray(leaf) for name, leaf in objective.fixed.items()}

    def at(z):
        q, lower, upper, b, strength = z
        Q = fixed["Q0"] + strength * np.eye(len(q))
        found = programs.box_qp(Q, q, lower, upper, fixed["e"], b, *face)
        value = mean_square(fixed["x_val"] @ found.x, fixed["y_val"])
        return Reference(value, found.slack, found.condition)

    return at


def _sets(objective: Program, z):
    _, warm = solved(objective, z)
    return warm.lower, warm.upper


def _active(objective: Program, z):
    _, warm = solved(objective, z)
    return tuple(warm.active.reshape(2, -1))


def _pose_ball(table: Table):
    x, share = _centred(table)
    strength = 0.1 * table.strength
    rng, n = drawn(table), x.shape[1]
    H = x.T @ (share[:, None] * x) / 4 + strength * np.eye(n)
    w = np.linalg.lstsq(H, x.T @ (share * table.y) / 2)[0]
    A, b, G, h, feasible = _constraints(table, H, w)
    radius = np.linalg.norm(feasible) * 10 ** rng.uniform(0.01, 0.7)
    x_val = table.x_val - share @ table.x
    q = 0.01 * np.sqrt(np.diag(H)) * rng.normal(size=n)
    fixed = {"x": x, "y": table.y, "share": share, "a": A[0], "G": G, "x_val": x_val,
             "y_val": table.y_val}  # fmt: skip
    fixed = {name: jnp.asarray(leaf) for name, leaf in fixed.items()}
    z = (q, b[0], h, radius, strength)
    return Program(fixed, _ball, _outer_qp, PrimalDual()), tuple(map(jnp.asarray, z))


def _ball(fixed, z):
    q = z[0]
    args = (fixed["x"], fixed["y"], fixed["share"], fixed["a"], fixed["G"], z)
    return Constrained(_cost, jnp.zeros_like(q), args, _plane, _limits)


def _cost(w, args):
    x, y, share, _, _, (q, _, _, _, strength) = args
    return share @ jnp.logaddexp(0, -y * (x @ w)) + strength / 2 * w @ w + q @ w


def _plane(w, args):
    _, _, _, a, _, (_, b, _, _, _) = args
    return (a @ w - b)[None]


def _limits(w, args):
    *_, G, (_, _, h, radius, _) = args
    return jnp.append(G @ w - h, w @ w - radius**2)


def _exact_ball(objective: Program, face):
    f = {name: np.asarray(leaf) for name, leaf in objective.fixed.items()}
    start = tuple(np.asarray(part) for part in face[0])
    active = start[2] > 0

    def at(z):
        q, b, h, radius, strength = z
        found = programs.logistic_in_a_ball(
            f["x"], f["y"], f["share"], strength, q, f["a"], b, f["G"], h, radius, start, active
        )
        value = mean_square(f["x_val"] @ found.x, f["y_val"])
        value = value + 0.1 * (np.sum(found.equal) + np.sum(found.unequal))
        return Reference(value, found.slack, found.condition)

    return at


PROGRAMS = {
    "qp": Kind(_pose_qp, solved, _exact_qp),
    "box-qp": Kind(_box_posed(ActiveSet()), _sets, _exact_box),
    "box-qp-interior": Kind(_box_posed(PrimalDual()), _active, _exact_box),
    "constrained": Kind(_pose_ball, solved, _exact_ball),
}
