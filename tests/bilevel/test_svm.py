"""The SVM learner against libsvm, its derivatives against central differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from central import moved
from sklearn.svm import SVC

from bilevel import Data, append
from bilevel.learners import SVM, kernels
from bilevel.results import CONVERGED

ROWS, FEATURES, VALIDATION = 24, 4, 10


def custom(a, b):
    """The Cauchy kernel."""
    squares = jnp.sum((a[:, None, :] - b[None, :, :]) ** 2, axis=2)
    return 1 / (1 + 0.3 * squares)


KERNELS = {
    "linear": kernels.Linear(),
    "rbf": kernels.RBF(0.4),
    "polynomial": kernels.Polynomial(3, 0.5, 1.0),
    "custom": kernels.Custom(custom),
}
ORACLES = {
    "linear": {"kernel": "linear"},
    "rbf": {"kernel": "rbf", "gamma": 0.4},
    "polynomial": {"kernel": "poly", "degree": 3, "gamma": 0.5, "coef0": 1.0},
    "custom": {"kernel": lambda a, b: np.asarray(custom(jnp.asarray(a), jnp.asarray(b)))},
}


def rows(count, seed):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(count) % 2, 1.0, -1.0)
    return rng.normal(size=(count, FEATURES)) + 0.5 * y[:, None], y


X, Y = rows(ROWS, 0)
X_VAL, Y_VAL = (jnp.asarray(a) for a in rows(VALIDATION, 1))
WEIGHT = np.random.default_rng(2).uniform(0.3, 2, size=ROWS)


@eqx.filter_jit
def decide(learner, data, at):
    model = learner.fit(data, throw=False).model
    return model.decision(at), model.bias


@pytest.mark.parametrize("name", KERNELS)
def test_agrees_with_libsvm(name):
    for C, weight in ((0.1, None), (1.0, WEIGHT), (30.0, None)):
        ones = np.ones(ROWS) if weight is None else weight
        decision, bias = decide(SVM(C, KERNELS[name]), Data(X, Y, ones), X_VAL)
        oracle = SVC(C=C, tol=1e-10, **ORACLES[name]).fit(X, Y, sample_weight=ones)
        np.testing.assert_allclose(decision, oracle.decision_function(X_VAL), atol=1e-5)
        np.testing.assert_allclose(bias, oracle.intercept_[0], atol=1e-5)


def categories(seed, count=150, columns=3, levels=3):
    """Equal columns of indicators: most rows have the features of others, and of both labels."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(levels, size=(columns, count))
    x = np.concatenate([np.eye(levels)[code] for code in codes], axis=1)
    side = x @ rng.normal(size=columns * levels) + 0.7 * rng.normal(size=count)
    return x, np.where(side > 0, 1.0, -1.0)


def test_tables_of_categories_are_solved():
    """So many rows lie on the margin that a face has no room for all of them."""
    x, y = (jnp.asarray(np.stack(parts)) for parts in zip(*map(categories, range(20)), strict=True))
    learner = SVM(1.0)
    fitted = eqx.filter_jit(lambda x, y: learner.fit(Data(x, y), throw=False))
    found = [fitted(*table) for table in zip(x, y, strict=True)]
    assert max(int(one.result) for one in found) == CONVERGED
    for one, rows_of, labels in zip(found, x, y, strict=True):
        oracle = SVC(kernel="linear", tol=1e-10).fit(rows_of, labels)
        np.testing.assert_allclose(
            one.model.decision(rows_of[:20]) - one.model.bias,
            oracle.decision_function(rows_of[:20]) - oracle.intercept_, atol=1e-5,
        )  # fmt: skip


def test_a_row_of_weight_zero_is_not_there():
    weight = np.ones(ROWS)
    weight[3] = 0
    kept = np.arange(ROWS) != 3
    decision, _ = decide(SVM(), Data(X, Y, weight), X_VAL)
    np.testing.assert_allclose(
        decision, SVM().fit(Data(X[kept], Y[kept])).model.decision(X_VAL), 1e-12
    )


class Parameters(eqx.Module):
    x: jax.Array
    weight: jax.Array
    C: jax.Array
    kernel: kernels.AbstractKernel


def loss_and_sets(p: Parameters):
    """A smooth validation loss, so that the only kinks are the active set's."""
    data = Data(p.x, Y, p.weight)
    learner = eqx.tree_at(lambda s: s.C, SVM(1.0, p.kernel), p.C)
    solution = learner.fit(data, throw=False)
    loss = jnp.mean(jnp.logaddexp(0, -Y_VAL * solution.model.decision(X_VAL)))
    return loss, solution.warm


both = eqx.filter_jit(eqx.filter_value_and_grad(loss_and_sets, has_aux=True))


def central(p: Parameters, direction: Parameters) -> float:
    """Central differences extrapolated, of the best step on one face."""
    sets = both(p)[0][1]
    values, tries = {}, []
    for h in (3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5):
        for t in (h, -h, 2 * h, -2 * h):
            values[t], other = both(moved(p, direction, t))[0]
            if not all(bool(jnp.all(a == b)) for a, b in zip(jax.tree.leaves(sets), jax.tree.leaves(other), strict=True)):  # fmt: skip # noqa: E501
                break
        else:
            near = (values[h] - values[-h]) / (2 * h)
            far = (values[2 * h] - values[-2 * h]) / (4 * h)
            tries.append(float((4 * near - far) / 3))
    assert len(tries) >= 2, "the active set changes too soon: choose another point"
    gaps = np.abs(np.diff(tries))
    return tries[int(np.argmin(gaps)) + 1]


@pytest.mark.parametrize("name", ["linear", "rbf", "polynomial"])
def test_gradients_are_those_of_central_differences(name):
    C = 0.02 if name == "linear" else 0.7  # beyond it, a vertex: neither C nor weights matter
    p = Parameters(jnp.asarray(X), jnp.asarray(WEIGHT), jnp.float64(C), KERNELS[name])
    gradient = both(p)[1]
    rng = np.random.default_rng(3)
    leaves = ["x", "weight", "C"] + (["kernel"] if name != "linear" else [])
    for leaf in leaves:
        direction = jax.tree.map(np.zeros_like, p)
        unit = jax.tree.map(lambda a: np.asarray(rng.normal(size=a.shape)), getattr(p, leaf))
        size = np.sqrt(sum(np.sum(np.square(u)) for u in jax.tree.leaves(unit)))
        unit = jax.tree.map(lambda u, size=size: u / size, unit)
        direction = eqx.tree_at(lambda p, leaf=leaf: getattr(p, leaf), direction, unit)
        ours = sum(
            float(np.sum(np.asarray(g) * d))
            for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        expected = central(p, direction)
        assert abs(expected) > 1e-6
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-12, err_msg=leaf)


@pytest.mark.parametrize("name", KERNELS)
def test_prepared_is_unprepared(name):
    extra, labels = rows(2, 4)
    known = Data(X, Y, WEIGHT)
    learner = SVM(0.7, KERNELS[name])

    @eqx.filter_jit
    def both(learner, known, z):
        def loss(z, prepared):
            used = learner.prepare(known) if prepared else learner
            at = used.prepare_rows(X_VAL) if prepared else X_VAL
            model = used.fit(append(known, z, jnp.asarray(labels)), throw=False).model
            return jnp.sum(jnp.sin(model.decision(at)))

        return [jax.value_and_grad(loss)(z, prepared) for prepared in (False, True)]

    (value, gradient), (again, same) = both(learner, known, jnp.asarray(extra))
    assert float(jnp.max(jnp.abs(gradient))) > 1e-4
    np.testing.assert_allclose(again, value, rtol=1e-12)
    np.testing.assert_allclose(same, gradient, rtol=1e-9, atol=1e-12)


def test_vmap_over_C_is_a_loop():
    Cs = jnp.asarray([0.05, 0.3, 1.0, 20.0])

    @jax.jit
    @jax.vmap
    def losses(C):
        p = Parameters(jnp.asarray(X), jnp.asarray(WEIGHT), C, KERNELS["rbf"])
        return jax.value_and_grad(lambda C: loss_and_sets(eqx.tree_at(lambda p: p.C, p, C))[0])(C)

    for C, value, slope in zip(Cs, *losses(Cs), strict=True):
        p = Parameters(jnp.asarray(X), jnp.asarray(WEIGHT), C, KERNELS["rbf"])
        (expected, _), gradient = both(p)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(slope, gradient.C, rtol=1e-8, atol=1e-12)


def spoiled(array, value):
    array = np.array(array)
    array.flat[1] = value
    return array


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Data(spoiled(X, np.nan), Y), r"^x: 1 of 96 values are NaN or infinite"),
        (lambda: Data(X, spoiled(Y, np.inf)), r"^y: 1 of 24 values"),
        (lambda: Data(X, Y, spoiled(WEIGHT, np.nan)), r"^weight: 1 of 24 values"),
        (lambda: Data(X, Y[:-1]), r"^y: got shape \(23,\), expected \(24,\)"),
        (lambda: Data(X, Y, WEIGHT[:-1]), r"^weight: got shape"),
        (lambda: Data(X[0], Y), r"^x: got shape \(4,\), expected \(rows, features\)"),
        (lambda: SVM(0.0), r"^C: got 0.0, expected a finite number > 0"),
        (lambda: SVM(-1.0), r"^C: "),
        (lambda: SVM(np.nan), r"^C: "),
        (lambda: SVM(np.inf), r"^C: "),
        (lambda: SVM(np.ones(2)), r"^C: "),  # pyright: ignore[reportArgumentType]
        (lambda: SVM().fit(Data(X, np.where(Y > 0, 1, 0))), r"^y: got labels \[0 1\]"),
        (
            lambda: SVM().fit(Data(X, np.ones(ROWS))),
            r"^y: every row with weight > 0 has the label 1",
        ),
        (
            lambda: SVM().fit(Data(X, Y, np.where(Y > 0, 1, 0))),
            r"^y: every row with weight > 0 has the label 1",
        ),
        (lambda: SVM().fit(Data(X, Y, -WEIGHT)), r"^weight: got -.*, expected weights >= 0"),
        (lambda: SVM().fit(Data(np.zeros((0, 4)), np.zeros(0))), r"^(x|y): "),
        (lambda: SVM().fit(Data(X.astype(np.float32), Y)), r"^x: got float32, expected float64"),
        (lambda: kernels.Polynomial(0), r"^degree: got 0"),
        (lambda: kernels.Polynomial(2.5), r"^degree: got 2.5"),  # pyright: ignore[reportArgumentType]
        (lambda: kernels.RBF(-1.0), r"^gamma: "),
        (lambda: kernels.RBF(np.nan), r"^gamma: "),
    ],
)
def test_bad_input_is_a_sentence_naming_the_argument(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_kernel_has_its_derivative_where_its_base_is_zero(degree):
    """Rows without a common feature, as sparse ones often are, and no constant."""
    a = np.array([[1.0, 0.0, 2.0, 0.0], [0.0, -3.0, 0.0, 0.5]])
    b = np.array([[0.0, 2.0, 0.0, 1.0], [1.5, 0.0, -0.5, 0.0], [0.3, 0.7, -1.0, 2.0]])
    mix = np.arange(1.0, 7.0).reshape(2, 3)

    def total(p, a):
        kernel = kernels.Polynomial(p["degree"], p["gamma"], p["coef0"])
        return jnp.sum(mix * kernel.gram(a, jnp.asarray(b)))

    p = {"gamma": jnp.asarray(0.5), "coef0": jnp.asarray(0.0), "degree": jnp.asarray(1.0 * degree)}
    slopes, in_rows = jax.jit(jax.grad(total, argnums=(0, 1)))(p, a)
    base = 0.5 * a @ b.T
    assert np.sum(base == 0) == 2
    outer = mix * degree * base ** (degree - 1)
    np.testing.assert_allclose(in_rows, 0.5 * outer @ b, rtol=1e-13)
    np.testing.assert_allclose(slopes["gamma"], np.sum(outer * (a @ b.T)), rtol=1e-13)
    np.testing.assert_allclose(slopes["coef0"], np.sum(outer), rtol=1e-13)
    some = base != 0
    in_degree = np.sum((mix * base**degree)[some] * np.log(np.abs(base[some])))
    np.testing.assert_allclose(slopes["degree"], in_degree, rtol=1e-13)
    along = jax.jit(lambda p, a: jax.jvp(lambda a: total(p, a), (a,), (jnp.ones_like(a),))[1])
    forward = along(p, a)
    np.testing.assert_allclose(forward, np.sum(in_rows), rtol=1e-13)


def test_the_kernel_values_of_one_row_copy_no_other_rows():
    """XLA on a CPU fuses `row @ x.T` with a transposed copy of x, and sums entry by entry: the
    derivative in a row took forty times as long as a product of a matrix with a vector.
    """

    def value(row, x, sign):
        return jnp.sum(jnp.sin(kernels.Linear().gram(row - 1, x) * jnp.outer(sign[40:], sign[:40])))

    shapes = [jax.ShapeDtypeStruct(shape, float) for shape in ((1, 200), (40, 200), (41,))]
    program = jax.jit(jax.grad(value)).lower(*shapes).compile().as_text() or ""
    assert "f64[200,40]" not in program, "the rows are transposed"
