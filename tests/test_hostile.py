# pyright: reportArgumentType=false, reportCallIssue=false
"""Calls that are wrong end in a sentence of ours: eagerly an error, under jit a failed result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from attacks import Box, Insert, compose, indiscriminate
from bilevel import Data, SolveError, append, argmin, losses, maximize, penalties
from bilevel.learners import SVM, ElasticNet, Huber, Lasso, Logistic, Ridge, Softmax
from bilevel.problems import BoxQP, Smooth
from bilevel.results import CONVERGED, CURVATURE, INVALID
from bilevel.solvers import ActiveSet, Newton, NewtonCG
from defenses import Relabel, Trim

RNG = np.random.default_rng(0)
X, X_VAL = RNG.normal(size=(24, 3)), RNG.normal(size=(10, 3))
Y, Y_VAL = np.where(X[:, 0] > 0, 1.0, -1.0), np.where(X_VAL[:, 0] > 0, 1.0, -1.0)
Z = jnp.zeros((2, 3))


def goal(y_val, loss, learner=SVM(1.0), y=Y):
    labels = np.ones(2, y.dtype)
    attack = compose(
        learner, Insert(labels, Box(-3.0, 3.0)), indiscriminate(X_VAL, y_val, loss), Data(X, y)
    )
    return attack(Z)


def box(Q, q=(-1.0, -1.0)):
    return BoxQP(Q, np.asarray(q), np.zeros(2), np.ones(2))


CALLS = {
    "hinge, labels 0/1": (lambda: goal(Y_VAL > 0, losses.Hinge()), "^y_val: got labels"),
    "hinge, three classes": (lambda: goal(np.arange(10) % 3, losses.Hinge()), "^y_val: got labels"),
    "logistic, labels 0/1": (lambda: goal(1.0 * (Y_VAL > 0), losses.Logistic()), "^y_val: got"),
    "cross-entropy, labels -1/+1": (
        lambda: goal(Y_VAL, losses.CrossEntropy(), Softmax(2, 0.1), (Y > 0).astype(int)),
        "^y_val: got labels",
    ),
    "loss (n, 1)": (lambda: goal(Y_VAL, lambda y, f: (y - f)[:, None] ** 2), r"^loss: .*\(10, 1\)"),
    "loss ()": (lambda: goal(Y_VAL, lambda y, f: jnp.mean(y - f)), r"^loss: .*\(\)"),
    "loss (n, n)": (lambda: goal(Y_VAL, lambda y, f: y[:, None] - f[None]), r"^loss: .*\(10, 10\)"),
    "loss of bools": (lambda: goal(Y_VAL, lambda y, f: y * f < 0), "^loss: returned bool"),
    "sparse": (lambda: Data(scipy.sparse.csr_array(X), Y), r"^x: got a sparse .* x.toarray\(\)"),
    "masked": (lambda: Data(np.ma.masked_array(X, X > 1), Y), "^x: got a masked"),
    "ragged": (lambda: Data([[1.0, 2.0], [1.0]], [1, 2]), "^x: got list"),
    "None": (lambda: Data(None, Y), "^x: got NoneType"),
    "words": (lambda: Data(np.full((24, 3), "a", object), Y), "^x: got ndarray"),
    "no features": (lambda: SVM().fit(Data(X[:, :0], Y)), "^x: got no features"),
    "appended rows": (lambda: append(Data(X, Y), X[:, :2], Y), r"^x: got rows of shape \(2,\), e"),
    "float16": (lambda: Ridge().fit(Data(X.astype(np.float16), Y)), "^x: got float16"),
    "asymmetric Q": (lambda: box(np.array([[2.0, 1], [0, 2]])), "^Q: .* differs from its"),
    "no variables": (lambda: BoxQP(np.eye(0), [], [], []), "^q: got no variables"),
    "negative l1": (lambda: penalties.L1(-1.0), "^strength: got -1"),
    "negative l2": (lambda: penalties.ElasticNet(0.1, -2.0), "^l2: got -2"),
    "crossed bounds": (lambda: penalties.Box(1.0, 0.0), "^lower: got 1.0 with upper 0.0"),
    "solver of others": (
        lambda: argmin(box(np.eye(2)), solver=Newton()),
        "^solver: Newton got a BoxQP, expected a Smooth",
    ),
    "learner's solver": (lambda: SVM(1.0, solver=Newton()).fit(Data(X, Y)), "^solver: Newton got"),
    "vector objective": (lambda: maximize(lambda z: z, Z), "^objective: returned shape"),
    "no objective": (lambda: maximize(lambda z: None, Z), "^objective: returned None"),
    "tol": (lambda: maximize(jnp.sum, Z, tol=float("nan")), "^tol: got nan"),
    "shrink": (lambda: maximize(jnp.sum, Z, shrink=2.0), "^shrink: got 2.0"),
    "floor": (lambda: maximize(jnp.sum, Z, floor=0.0), "^floor: got 0.0"),
    "contamination None": (lambda: Trim(Ridge(), None), "^contamination: got None"),
    "contaminations": (lambda: Trim(Ridge(), np.array([0.1, 0.2])), "^contamination: got"),
    "vote on numbers": (lambda: Relabel(Ridge()).fit(Data(X, X[:, 0])), "^y: got labels"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_says_what_is_wrong(name):
    call, sentence = CALLS[name]
    with pytest.raises(ValueError, match=sentence):
        call()


def test_numbers_of_other_types_are_converted():
    integers = argmin(box(np.eye(2, dtype=int), [-1, -2]), solver=ActiveSet()).value[0]
    np.testing.assert_array_equal(integers, [1.0, 1.0])
    plain = SVM().fit(Data(X, Y)).model.bias
    for same in (X.astype(">f8"), X.astype(object)):
        np.testing.assert_array_equal(SVM().fit(Data(same, Y)).model.bias, plain)


@pytest.mark.stand_ins
def test_appended_rows_have_the_types_of_the_others():
    data = append(Data(X.astype(np.float32), Y.astype(np.int32)), [[1, 2.5, 3]], [1.0], [0.5])
    assert [a.dtype for a in (data.x, data.y, data.weight)] == ["float32", "int32", "float32"]
    np.testing.assert_array_equal(data.x[-1], [1, 2.5, 3])


LEARNERS = {
    "SVM": SVM, "Ridge": Ridge, "Lasso": Lasso, "Logistic": Logistic, "Huber": Huber,
    "ElasticNet": lambda s: ElasticNet(0.1, s), "Softmax": lambda s: Softmax(2, s),
}  # fmt: skip


@pytest.mark.parametrize("name", LEARNERS)
def test_under_jit_and_vmap_each_lane_fails_alone(name):
    """Lanes: right; a negative strength; a negative weight; no weight; wrong labels; one class, of
    a softmax one too many.
    """
    good = jnp.asarray((Y > 0) * 1.0 if name == "Softmax" else Y)
    ones = jnp.ones(len(Y))
    last = jnp.full_like(good, 2 if name == "Softmax" else 1)
    y = jnp.stack([good] * 4 + [good * 0.5 + 0.5, last])
    weight = jnp.stack([ones, ones, ones.at[0].set(-1.0), 0 * ones, ones, ones])
    strength = jnp.array([0.1, -0.1, 0.1, 0.1, 0.1, 0.1])

    @jax.jit
    def results(strength, y, weight):
        def one(lane):
            s, y, weight = lane
            return LEARNERS[name](s).fit(Data(X, y, weight), throw=False).result

        return jax.lax.map(one, (strength, y, weight))

    found = np.asarray(results(strength, y, weight))
    assert found[0] == CONVERGED
    assert np.all(found[1:4] == INVALID)
    if name in ("SVM", "Logistic", "Softmax"):
        assert np.all(found[4:] == INVALID)


SMOOTH = {
    "flat start": (lambda w, t: jnp.sum(w**4 / 4 - t * w), 1.0),
    "maximum at the start": (lambda w, t: jnp.sum(w**4 - t * w**2), 0.5**0.5),
    "saddle at the start": (lambda w, t: (w[0] ** 2 - t) ** 2 + w[1] ** 2, 1.0),
    "Cauchy": (lambda w, t: jnp.sum(jnp.log1p((w - 3 * t) ** 2)), 3.0),
}


@pytest.mark.parametrize("solver", [Newton(), NewtonCG()], ids=["newton", "cg"])
@pytest.mark.parametrize("name", SMOOTH)
def test_no_stationary_point_but_a_minimum_is_an_answer(name, solver):
    objective, minimum = SMOOTH[name]
    value = argmin(Smooth(objective, jnp.zeros(2), jnp.asarray(1.0)), solver=solver).value
    expected = [minimum, 0.0] if name == "saddle at the start" else [minimum, minimum]
    np.testing.assert_allclose(np.abs(value), expected, atol=1e-8)


@pytest.mark.parametrize("solver", [Newton(), NewtonCG()], ids=["newton", "cg"])
def test_what_has_no_minimum_has_no_answer(solver):
    for objective in (lambda w, _: jnp.sum(w), lambda w, _: w[0] ** 2 - w[1] ** 2):
        with pytest.raises(SolveError):
            argmin(Smooth(objective, jnp.zeros(2)), solver=solver)
    flat = argmin(Smooth(lambda w, _: 0 * w[0], jnp.zeros(2)), solver=solver, throw=False)
    assert int(flat.result) == CURVATURE
