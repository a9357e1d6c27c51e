"""Fixed points of maps, made of tables."""

import jax.numpy as jnp
import numpy as np

from bilevel.problems import FixedPoint
from bilevel.solvers import Anderson

from .exact import fixed_point
from .exact.arithmetic import Reference, mean_square
from .kind import Kind, Program, solved
from .programs import drawn
from .tables import Table


def _normal(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments of centred rows and their products with the labels, in units of their size."""
    share = table.weight / np.sum(table.weight)
    x = table.x - share @ table.x
    A, b = x.T @ (share[:, None] * x), x.T @ (share * table.y)
    size = np.linalg.norm(A, 2)
    x_val = (table.x_val - share @ table.x) / np.sqrt(size)
    return A / size, b / np.sqrt(size), x_val


def _pose_descent(table: Table):
    """A step of gradient descent on ridge regression: slow where the strength is small."""
    A, b, x_val = _normal(table)
    return _program(_descent, x_val, table), tuple(map(jnp.asarray, (A, b, 0.1 * table.strength)))


def _descent_map(w, args):
    A, b, strength = args
    return w - (A @ w + strength * w - b) / (1 + strength)


def _pose_network(table: Table):
    """A recurrent layer, w = tanh(Mw + c), whose M is not symmetric."""
    A, b, x_val = _normal(table)
    rng, n = drawn(table), len(b)
    M = A @ rng.normal(size=(n, n)) + 0.1 * rng.normal(size=(n, n))
    M = M / np.linalg.norm(M, 2) * (1 - 10 ** rng.uniform(-3, -0.2))
    return _program(_network, x_val, table, M=M[1:]), (jnp.asarray(M[0]), jnp.asarray(b))


def _network_map(w, args):
    M, c = args
    return jnp.tanh(M @ w + c)


def _descent(fixed, z):
    return FixedPoint(_descent_map, jnp.zeros_like(z[1]), z)


def _network(fixed, z):
    row, c = z
    return FixedPoint(_network_map, jnp.zeros_like(c), (jnp.vstack([row, fixed["M"]]), c))


def _program(inner, x_val, table: Table, **more) -> Program:
    fixed = {"x_val": x_val, "y_val": table.y_val, **more}
    fixed = {name: jnp.asarray(leaf) for name, leaf in fixed.items()}
    return Program(fixed, inner, _outer, Anderson())


def _outer(fixed, w):
    return 0.5 * jnp.mean((fixed["x_val"] @ w - fixed["y_val"]) ** 2)


def _exact(find):
    def exactly(objective: Program, face):
        f = {name: np.asarray(leaf) for name, leaf in objective.fixed.items()}

        def at(z):
            w, condition = find(f, z, np.asarray(face[0]))
            return Reference(mean_square(f["x_val"] @ w, f["y_val"]), np.inf, condition)

        return at

    return exactly


def _ridge(f, z, start):
    return fixed_point.ridge(*z)


def _layer(f, z, start):
    row, c = z
    return fixed_point.network(np.vstack([row, f["M"]]), c, start)


FIXED_POINTS = {
    "descent-fixed-point": Kind(_pose_descent, solved, _exact(_ridge)),
    "network-fixed-point": Kind(_pose_network, solved, _exact(_layer)),
}
