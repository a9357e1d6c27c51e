"""Three inner problems with known hypergradients, in NumPy and float64: the yardstick of the peers.

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


class Lasso(NamedTuple):
    """Half the mean square error on held-out rows, of a LASSO.

    w = argmin 1/(2n) |rows w - targets|^2 + lam |w|_1. Hyper-parameters: lam, and the first row.
    """

    rows: Float[NDArray, "n d"]
    targets: Float[NDArray, " n"]
    held_rows: Float[NDArray, "m d"]
    held_targets: Float[NDArray, " m"]
    lam: float


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


def lasso(n: int = 200, d: int = 1000, held: int = 100, seed: int = 0, share: float = 0.1) -> Lasso:
    """Features that correlate with their neighbours by .5, twenty of which matter (fewer if there
    are fewer); lam is a share of the one at which all coefficients vanish.
    """
    random = np.random.RandomState(seed)

    def draw(k: int) -> NDArray:
        rows = random.standard_normal((k, d))
        for j in range(1, d):
            rows[:, j] = rows[:, j - 1] / 2 + np.sqrt(3 / 4) * rows[:, j]
        return rows

    rows, held_rows = draw(n), draw(held)
    matter = min(20, d)
    sizes = random.standard_normal(matter) + np.sign(random.standard_normal(matter))
    truth = np.zeros(d)
    truth[random.permutation(d)[:matter]] = sizes
    targets, held_targets = (
        x @ truth + random.standard_normal(len(x)) / 2 for x in (rows, held_rows)
    )
    lam = share * float(np.abs(rows.T @ targets).max()) / n
    return Lasso(rows, targets, held_rows, held_targets, lam)


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


def lasso_reference(problem: Lasso) -> Reference:
    """The path of solutions from no feature at all (LARS with drops, Efron et al. 2004), whose
    last piece is exact on its support; there one system serves solution and adjoint.
    """
    X, y, held, held_y, lam = problem
    n = len(y)
    support, signs = _lasso_path(X, y, lam)
    A = X[:, support]
    gram = A.T @ A / n
    w = np.zeros(X.shape[1])
    w[support] = np.linalg.solve(gram, A.T @ y / n - lam * signs)
    correlations = X.T @ (y - X @ w) / n
    outside = np.setdiff1d(np.arange(len(w)), support)
    if (w[support] * signs <= 0).any() or (np.abs(correlations[outside]) >= lam).any():
        raise RuntimeError("the path of the LASSO lost its support: draw another seed")

    errors = held @ w - held_y
    adjoint = np.zeros_like(w)
    adjoint[support] = np.linalg.solve(gram, held[:, support].T @ errors / len(held_y))
    residual = X[0] @ w - y[0]
    gradients = {
        "lam": np.asarray(-adjoint[support] @ signs),
        "row": -(adjoint * residual + (X[0] @ adjoint) * w) / n,
    }
    return Reference(float(errors @ errors) / (2 * len(held_y)), gradients)


def _lasso_path(X: NDArray, y: NDArray, lam: float) -> tuple[NDArray, NDArray]:
    """Support and signs at `lam`. Along the path all correlations on the support are equal in
    size; a piece of it ends where another one reaches that size, or a coefficient zero.
    """
    n, d = X.shape
    correlations = X.T @ y / n
    first = int(np.argmax(np.abs(correlations)))
    support, signs = [first], [float(np.sign(correlations[first]))]
    at, came, left = float(np.abs(correlations[first])), first, -1
    for _ in range(50 * min(n, d)):
        A, sign = X[:, support], np.asarray(signs)
        gram = A.T @ A / n
        # on this piece w = base - t * tilt at a strength of t
        base, tilt = np.linalg.solve(gram, np.stack([A.T @ y / n, sign], axis=1)).T
        constant, rate = X.T @ (y - A @ base) / n, X.T @ (A @ tilt) / n
        with np.errstate(divide="ignore", invalid="ignore"):
            # constant + t * rate = +-t; where a feature came in or went out, it meets that now
            entries = np.stack([constant / (1 - rate), -constant / (1 + rate)])
            exits = base / tilt
        entries[:, support] = -np.inf
        if left >= 0:
            entries[np.argmax(entries[:, left]), left] = -np.inf
        exits[[i for i, j in enumerate(support) if j == came]] = -np.inf
        entries[~(entries < at)] = -np.inf
        exits[~(exits < at)] = -np.inf
        enter, drop = entries.max(), exits.max()
        if max(enter, drop) <= lam:
            return np.asarray(support), sign
        at, came, left = float(max(enter, drop)), -1, -1
        if enter > drop:
            side, came = np.unravel_index(np.argmax(entries), entries.shape)
            came = int(came)
            support.append(came)
            signs.append(1.0 if side == 0 else -1.0)
        else:
            gone = int(np.argmax(exits))
            left = support.pop(gone)
            signs.pop(gone)
    raise RuntimeError("the path of the LASSO did not end: use a larger lam, or another seed")


def _sigmoid(z: NDArray) -> NDArray:
    return (1 + np.tanh(z / 2)) / 2


def relative_error(gradients: Gradients, reference: Gradients) -> float:
    """Largest over the arguments of |gradient - reference| / |reference|.

    A reference that is exactly zero (a row that is no support vector) gives no scale; then the
    norm over all arguments does; where that is zero too, the error is absolute.
    """
    sizes = {name: np.linalg.norm(exact) for name, exact in reference.items()}
    total = np.sqrt(sum(size**2 for size in sizes.values()))
    wrong = {
        name: np.linalg.norm(np.asarray(gradients[name]) - reference[name]) for name in reference
    }
    return float(max(wrong[name] / (sizes[name] or total or 1) for name in reference))
