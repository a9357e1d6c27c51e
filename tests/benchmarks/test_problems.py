import numpy as np
import pytest

from benchmarks import problems


@pytest.fixture(scope="module")
def dual():
    return problems.dual_svm(n=30, d=3, seed=3)


@pytest.fixture(scope="module")
def logistic():
    return problems.logistic(n=80, d=5, held=40)


@pytest.fixture(scope="module")
def lasso():
    return problems.lasso(n=30, d=60, held=20, share=0.05)


def slope(value, step):
    """Derivative at 0 by central differences of fourth order."""
    near, far = value(step) - value(-step), value(2 * step) - value(-2 * step)
    return (8 * near - far) / (12 * step)


def moved(array, change):
    array = array.copy()
    array[: len(change)] += change
    return array


def test_the_dual_has_free_upper_and_lower_variables_and_a_moving_free_row(dual):
    _, free, top, _ = problems._solve_dual(*as_qp(dual))
    assert free[0]
    assert top.any()
    assert (~free & ~top).any()


def test_the_dual_solution_meets_the_optimality_conditions(dual):
    Q, y, C = as_qp(dual)
    a, free, top, _ = problems._solve_dual(Q, y, C)
    slopes = (Q @ a - 1) * y
    level = slopes[free].mean()
    assert y @ a == pytest.approx(0, abs=1e-13)
    assert ((a >= 0) & (a <= C)).all()
    np.testing.assert_allclose(slopes[free], level, atol=1e-13)
    assert ((slopes - level)[top] * y[top] < 0).all()
    assert ((slopes - level)[~free & ~top] * y[~free & ~top] > 0).all()


def as_qp(p):
    gaps = p.rows[:, None] - p.rows
    kernel = np.exp(-p.gamma * (gaps**2).sum(axis=-1))
    return np.outer(p.labels, p.labels) * kernel + p.ridge * np.eye(len(p.labels)), p.labels, p.C


def test_the_dual_gradient_in_the_row_is_that_of_central_differences(dual):
    direction = np.array([[0.6, -0.48, 0.64]])

    def value(step):
        return problems.dual_reference(dual._replace(rows=moved(dual.rows, step * direction))).value

    exact = problems.dual_reference(dual).gradients["row"]
    assert slope(value, 1e-4) == pytest.approx(exact @ direction[0], rel=1e-8)


def test_the_dual_gradient_in_c_is_that_of_central_differences(dual):
    def value(step):
        return problems.dual_reference(dual._replace(C=dual.C + step)).value

    exact = problems.dual_reference(dual).gradients["C"]
    assert slope(value, 1e-4) == pytest.approx(exact, rel=1e-8)


@pytest.mark.parametrize("name", ["log_lam", "weights", "rows"])
def test_logistic_gradients_are_those_of_central_differences(logistic, name):
    exact = problems.logistic_reference(logistic).gradients[name]
    direction = np.random.default_rng(0).standard_normal(exact.shape)

    def value(step):
        p, change = logistic, step * direction
        match name:
            case "log_lam":
                p = p._replace(lam=p.lam * np.exp(change))
            case "weights":
                p = p._replace(weights=p.weights + change)
            case "rows":
                p = p._replace(rows=moved(p.rows, change))
        return problems.logistic_reference(p).value

    assert slope(value, 1e-3) == pytest.approx(np.sum(exact * direction), rel=1e-8)


def ends(rows, targets, lam) -> np.ndarray:
    """The support at the end of the path, once it meets the optimality conditions."""
    support, signs = problems._lasso_path(rows, targets, lam)
    A, n = rows[:, support], len(rows)
    w = np.linalg.solve(A.T @ A, A.T @ targets - n * lam * signs)
    correlations = rows.T @ (targets - A @ w) / n
    assert (w * signs > 0).all()
    np.testing.assert_allclose(correlations[support], lam * signs, rtol=1e-8)
    assert np.abs(correlations).max() <= lam * (1 + 1e-8)
    return support


def test_the_path_of_the_lasso_ends_at_its_minimiser(lasso):
    """Through entries and exits, over many problems, to the optimality conditions."""
    for seed in range(20):
        p = problems.lasso(n=30, d=60, seed=seed, share=0.01)
        ends(p.rows, p.targets, p.lam)


def test_any_feature_may_leave_the_path_of_the_lasso():
    """The first one, too: of few features that are much alike each leaves in some problem."""
    left = np.zeros(4, bool)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(8, 4)) @ (np.eye(4) + rng.normal(size=(4, 4)))
        targets = rng.normal(size=8)
        most = np.max(np.abs(rows.T @ targets / 8))
        there = [np.isin(np.arange(4), ends(rows, targets, lam * most)) for lam in (0.3, 0.1, 0.01)]
        left |= (there[0] & ~there[1]) | (there[1] & ~there[2])
    assert left.all()


@pytest.mark.parametrize("name", ["lam", "row"])
def test_lasso_gradients_are_those_of_central_differences(lasso, name):
    exact = problems.lasso_reference(lasso).gradients[name]
    direction = np.random.default_rng(0).standard_normal(exact.shape)

    def value(step):
        change = step * direction
        if name == "lam":
            return problems.lasso_reference(lasso._replace(lam=lasso.lam + change)).value
        rows = moved(lasso.rows, change[None])
        return problems.lasso_reference(lasso._replace(rows=rows)).value

    assert slope(value, 1e-5) == pytest.approx(np.sum(exact * direction), rel=1e-8)


def test_the_streams_of_random_numbers_never_change():
    assert problems.dual_svm().goal[-1] == pytest.approx(0.663258089679174, rel=1e-12)
    assert problems.logistic().rows.sum() == pytest.approx(187.89015027138817, rel=1e-9)
    assert problems.lasso().lam == pytest.approx(0.27286090585098366, rel=1e-12)


def test_the_relative_error_is_the_worst_over_the_arguments():
    exact = {"a": np.array([3.0, 4.0]), "b": np.array(2.0)}
    assert problems.relative_error({"a": exact["a"], "b": np.array(2.2)}, exact) == pytest.approx(
        0.1
    )


def test_an_exactly_zero_gradient_is_measured_by_the_norm_of_all_arguments():
    exact = {"row": np.zeros(2), "C": np.array(5.0)}
    found = {"row": np.array([0.3, 0.4]), "C": np.array(5.0)}
    assert problems.relative_error(found, exact) == pytest.approx(0.1)
