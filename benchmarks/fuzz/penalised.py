"""Penalised problems of the core, made of tables: two solvers, six penalties."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from bilevel import AbstractSolver, penalties
from bilevel.problems import Composite, PenalisedLeastSquares
from bilevel.solvers import FISTA, WorkingSet

from .exact import penalised
from .exact.arithmetic import Reference, mean_square
from .exact.penalised import Face
from .kind import Kind, Program, solved
from .tables import POISON, Table

L1, GROUPS = 0.03, 2


def _posed(penalty: Callable[..., Any], solver: AbstractSolver, loss: Any, box: bool) -> Any:
    """The last rows and the strengths of the penalty move."""

    def pose(table: Table):
        share = table.weight / np.sum(table.weight)
        x_0 = share @ table.x
        spread = (table.x - x_0)[:, 0] / max(np.std(table.x[:, 0]), 1e-300)
        y = table.y if loss is _logistic else table.y + spread**2
        strengths = (0.1 * table.strength, L1 * table.strength)
        if box:
            w = np.linalg.lstsq(np.sqrt(share)[:, None] * (table.x - x_0), np.sqrt(share) * y)[0]
            strengths = (-0.3 * np.abs(w), 0.5 * np.max(np.abs(w)) * np.ones_like(w))
        fixed = {"x": table.x[:-POISON], "y": y, "share": share, "x_0": x_0,
                 "x_val": table.x_val, "y_val": table.y_val}  # fmt: skip
        fixed = {name: jnp.asarray(leaf) for name, leaf in fixed.items()}
        z = (table.x[-POISON:], *strengths)
        return Program(fixed, inner, _outer, solver), tuple(map(jnp.asarray, z))

    def inner(fixed, z):
        rows, *strengths = z
        x = jnp.concatenate([fixed["x"], rows]) - fixed["x_0"][None]
        made = penalty(x.shape[1], *strengths)
        if isinstance(solver, WorkingSet):
            return PenalisedLeastSquares(x, fixed["y"], made, fixed["share"])
        args = (x, fixed["y"], fixed["share"])
        return Composite(loss, made, jnp.zeros_like(x[0]), args)

    return pose


def _outer(fixed, w):
    return 0.5 * jnp.mean(((fixed["x_val"] - fixed["x_0"][None]) @ w - fixed["y_val"]) ** 2)


def _squares(w, args):
    x, y, share = args
    return 0.5 * share @ (x @ w - y) ** 2


def _logistic(w, args):
    x, y, share = args
    return share @ jnp.logaddexp(0, -y * (x @ w))


def _of_group(d: int) -> np.ndarray:
    return np.arange(d) // GROUPS


def _exact(face_of: Callable[..., tuple[Face, Callable]], logistic: bool) -> Any:
    """`face_of(w, strengths)`: the face of our solution, and its slack from (w, slope of the
    loss, where that is zero it is small beside `steep`).
    """

    def exactly(objective: Program, found):
        f = {name: np.asarray(leaf) for name, leaf in objective.fixed.items()}
        start = np.asarray(found[0])

        def at(z):
            rows, *strengths = z
            x = np.concatenate([f["x"], rows]) - f["x_0"]
            face, slack = face_of(start, *strengths)
            w, slope, cond = penalised.minimiser(x, f["y"], f["share"], face, start, logistic)
            top = np.max(np.abs(w), initial=0)
            inside, outside = slack(np.real(w), slope)
            steep = np.sqrt((f["share"] @ np.real(x) ** 2) * (f["share"] @ f["y"] ** 2))
            apart = np.where(face.free, inside / (top if top > 0 else 1), outside / steep)
            value = mean_square((f["x_val"] - f["x_0"]) @ w, f["y_val"])
            return Reference(value, float(np.min(apart)), cond)

        return at

    return exactly


def _signs(with_l2: bool, one_sided: bool):
    """Faces of l1 norms, of elastic nets, and of non-negative weights."""

    def face_of(w, l2, l1):
        sign, zero = np.sign(w), np.zeros(w.size)
        bend = l2 * with_l2 + zero

        def slack(w, slope):
            pull = slope if one_sided else -np.abs(slope)
            return sign * w, np.real(l1) + pull

        return Face(sign != 0, zero, l1 * sign, bend), slack

    return face_of


def _boxed(w, lower, upper):
    low, high = w <= np.real(lower), w >= np.real(upper)
    zero = np.zeros(w.size)

    def slack(w, slope):
        inside = np.minimum(w - np.real(lower), np.real(upper) - w)
        return inside, np.where(high, -slope, slope)

    fixed = np.where(low, lower, np.where(high, upper, 0))
    return Face(~(low | high), fixed, zero, zero), slack


def _grouped(w, l2, l1):
    group, zero = _of_group(w.size), np.zeros(w.size)

    def lengths(a):
        return np.sqrt((group[:, None] == group[None]) @ (a * a))

    def slack(w, slope):
        return lengths(w), np.real(l1) - lengths(slope)

    strength = np.ones(group.max() + 1) * l1
    return Face(lengths(w) > 0, zero, zero, zero, group, strength), slack


def _lasso(d, l2, l1):
    return penalties.L1(l1)


def _elastic(d, l2, l1):
    return penalties.ElasticNet(l1, l2)


def _non_negative(d, l2, l1):
    return penalties.NonNegative(l1)


def _box(d, lower, upper):
    return penalties.Box(lower, upper)


def _groups(d, l2, l1):
    return penalties.GroupL1(l1, tuple(_of_group(d)))


def _kind(
    penalty, face_of, solver: AbstractSolver = FISTA(), loss: Any = _squares, box=False
) -> Kind:
    pose = _posed(penalty, solver, loss, box)
    return Kind(pose, solved, _exact(face_of, loss is _logistic))


PENALISED = {
    "lasso-fista": _kind(_lasso, _signs(False, False)),
    "elastic-net-fista": _kind(_elastic, _signs(True, False)),
    "non-negative-fista": _kind(_non_negative, _signs(False, True)),
    "box-fista": _kind(_box, _boxed, box=True),
    "group-lasso-fista": _kind(_groups, _grouped),
    "l1-logistic-fista": _kind(_lasso, _signs(False, False), loss=_logistic),
    "group-logistic-fista": _kind(_groups, _grouped, loss=_logistic),
    "lasso-working-set": _kind(_lasso, _signs(False, False), WorkingSet()),
    "elastic-net-working-set": _kind(_elastic, _signs(True, False), WorkingSet()),
    "non-negative-working-set": _kind(_non_negative, _signs(False, True), WorkingSet()),
}
