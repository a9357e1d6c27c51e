"""Two inner problems with known hypergradients, in NumPy and float64: the yardstick of the peers.

Each generator draws from `numpy.random.RandomState(seed)`, whose stream never changes, so that
figures from different machines and years are about the same numbers. Each reference solves to
rounding error by a method that shares no code with `bilevel`, and differentiates by hand.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.svm import SVC

Gradients = dict[str, NDArray]


class Reference(NamedTuple):
    """Outer value and its exact derivative in each hyper-parameter."""

    value: float
    gradients: Gradients


class DualSVM(NamedTuple):
    """Outer value goal'a, linear in the solution a of the dual of an SVM.

    a = argmin 1/2 a'Qa - 1'a with 0 <= a <= C and labels'a = 0, where
    Q_ij = labels_i labels_j exp(-gamma |rows_i - rows_j|^2) + ridge [i = j].
    Hyper-parameters: the first row, and C.
    """

    rows: Float[NDArray, "n d"]
    labels: Float[NDArray, " n"]
    goal: Float[NDArray, " n"]
    C: float
    gamma: float
    ridge: float


class Logistic(NamedTuple):
    """Mean logistic loss on held-out rows, of a weighted and regularised logistic regression.

    w = argmin mean_i weights_i log(1 + exp(-labels_i rows_i'w)) + lam/2 |w|^2.
    Hyper-parameters: log lam, the weights, and the first `moving` rows.
    """

    rows: Float[NDArray, "n d"]
    labels: Float[NDArray, " n"]
    held_rows: Float[NDArray, "m d"]
    held_labels: Float[NDArray, " m"]
    weights: Float[NDArray, " n"]
    lam: float
    moving: int


def dual_svm(n: int = 100, d: int = 10, seed: int = 0, C: float = 1.0) -> DualSVM:
    """Two Gaussian clouds in d dimensions, .9 apart in each, with alternating labels."""
    random = np.random.RandomState(seed)
    labels = np.resize([1.0, -1.0], n)
    rows = random.standard_normal((n, d)) + 0.45 * labels[:, None]
    goal = random.standard_normal(n)
    return DualSVM(rows, labels, goal, C, gamma=1 / d, ridge=1e-6)


def logistic(n: int = 2000, d: int = 200, held: int = 500, seed: int = 0) -> Logistic:
    """Correlated Gaussian features whose scales fall from 1 to .1, with noisy linear labels."""
    random = np.random.RandomState(seed)
    scales = 10 ** np.linspace(0, -1, d)
    mix = np.eye(d) + random.standard_normal((d, d)) / (2 * np.sqrt(d))
    rows, held_rows = (random.standard_normal((k, d)) @ mix * scales for k in (n, held))
    truth = 3 * random.standard_normal(d) / np.sqrt(d * scales)
    labels, held_labels = (
        np.sign(x @ truth + random.standard_normal(len(x)) / 2) for x in (rows, held_rows)
    )
    return Logistic(rows, labels, held_rows, held_labels, np.ones(n), lam=1e-3, moving=10)


def dual_reference(problem: DualSVM) -> Reference:
    """Exact on the face of the solution: one bordered system serves solution and adjoint."""
    rows, y, goal, C, gamma, ridge = problem
    distances = np.square(rows[:, None] - rows[None]).sum(-1)
    kernel = np.outer(y, y) * np.exp(-gamma * distances)
    Q = kernel + ridge * np.eye(len(y))
    a, free, top, system = _solve_dual(Q, y, C)

    *v, multiplier = np.linalg.solve(system, np.append(goal[free], 0))
    adjoint = np.zeros_like(a)
    adjoint[free] = v
    # -v'(dQ)a, where only the first row and column of Q move
    pull = (adjoint[0] * a + adjoint * a[0]) * kernel[0]
    d_row = 2 * gamma * pull @ (rows[0] - rows)
    d_C = goal[top].sum() - adjoint @ Q[:, top].sum(1) - multiplier * y[top].sum()
    return Reference(float(goal @ a), {"row": d_row, "C": np.asarray(d_C)})


def _solve_dual(Q: NDArray, y: NDArray, C: float) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Solution, free and upper variables, and the KKT matrix of the free ones.

    libsvm proposes the face; exact solves on it exchange what violates the optimality conditions
    until nothing does.
    """
    fitted = SVC(C=C, kernel="precomputed", tol=1e-9).fit((Q * y[:, None]) * y, y)
    a = np.zeros(len(y))
    a[fitted.support_] = np.abs(fitted.dual_coef_[0])
    free, top = (a > 0) & (a < C), a >= C
    for _ in range(50):
        if not free.any():
            raise RuntimeError("no free variable in the SVM dual: use a larger C, or another seed")
        border = y[free, None]
        system = np.block([[Q[np.ix_(free, free)], border], [border.T, np.zeros((1, 1))]])
        a = np.where(top, C, 0.0)
        solved = np.linalg.solve(system, np.append((1 - Q @ a)[free], -y @ a))
        a[free] = solved[:-1]
        slope = Q @ a - 1 + solved[-1] * y
        inside = (a >= 0) & (a <= C)
        leaves = free & ~inside
        enters = ~free & np.where(top, slope > 0, slope < 0)
        if not (leaves | enters).any():
            return a, free, top, system
        free, top = (free & inside) | enters, (leaves & (a > C)) | (top & ~enters)
    raise RuntimeError("the active set of the SVM dual did not settle: draw another seed")


def logistic_reference(problem: Logistic) -> Reference:
    """Newton's method to rounding error, then one solve with the same Hessian."""
    X, y, held, held_y, weights, lam, moving = problem
    n, d = X.shape
    w = np.zeros(d)
    for _ in range(50):
        margins = y * (X @ w)
        curvature = weights * _sigmoid(margins) * _sigmoid(-margins) / n
        hessian = (X.T * curvature) @ X + lam * np.eye(d)
        slope = lam * w - X.T @ (weights * y * _sigmoid(-margins)) / n
        step = np.linalg.solve(hessian, slope)
        if np.linalg.norm(step) <= 1e-14 * np.linalg.norm(w):
            break
        w = w - step
    else:
        raise RuntimeError("Newton's method did not converge: regularise the problem more")

    held_margins = held_y * (held @ w)
    outer_slope = -held.T @ (held_y * _sigmoid(-held_margins)) / len(held_y)
    adjoint = np.linalg.solve(hessian, outer_slope)
    errors, along = y * _sigmoid(-margins) / n, X @ adjoint
    some = slice(moving)
    gradients = {
        "log_lam": np.asarray(-lam * adjoint @ w),
        "weights": errors * along,
        "rows": np.outer((weights * errors)[some], adjoint)
        - np.outer((curvature * along)[some], w),
    }
    return Reference(float(np.logaddexp(0, -held_margins).mean()), gradients)


def _sigmoid(z: NDArray) -> NDArray:
    return (1 + np.tanh(z / 2)) / 2


def relative_error(found: Gradients, reference: Gradients) -> float:
    """Largest over the arguments of |found - reference| / |reference|.

    A reference that is exactly zero (a row that is no support vector) lends no scale; then the
    norm over all arguments does; where that is zero too, the error is absolute.
    """
    sizes = {name: np.linalg.norm(exact) for name, exact in reference.items()}
    total = np.sqrt(sum(size**2 for size in sizes.values()))
    wrong = {name: np.linalg.norm(np.asarray(found[name]) - reference[name]) for name in reference}
    return float(max(wrong[name] / (sizes[name] or total or 1) for name in reference))
