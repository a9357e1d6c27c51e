"""SVM poisoning on scikit-learn's digits: its hypergradient against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from attacks import Box, Insert, Reseed, compose, indiscriminate, poison_svm
from bilevel import Data, argmin, certify, maximize
from bilevel.learners import SVM, SVMModel, kernels

TRAIN, VALIDATION = 30, 40
C = 0.05
KERNELS = {
    "linear": kernels.Linear(),
    "rbf": kernels.RBF(0.05),
    "polynomial": kernels.Polynomial(2, 0.1, 1.0),
}


def digits(positive: int, negative: int, seed: int):
    x, digit = load_digits(return_X_y=True)
    keep = np.isin(digit, (positive, negative))
    x, y = x[keep] / 16, np.where(digit[keep] == positive, 1.0, -1.0)
    order = np.random.default_rng(seed).permutation(len(y))[: TRAIN + VALIDATION]
    x, y = x[order], y[order]
    return Data(x[:TRAIN], y[:TRAIN]), Data(x[TRAIN:], y[TRAIN:])


DATA, HELD_OUT = digits(9, 8, 0)


def attack_on(kernel: str, points: int, C=C):
    labels = np.where(np.arange(points) % 2, 1.0, -1.0)
    goal = indiscriminate(HELD_OUT.x, HELD_OUT.y)
    return compose(SVM(C, KERNELS[kernel]), Insert(labels, Box(0.0, 1.0)), goal, DATA)


def start(points: int, seed: int, flip: float):
    """Mixtures of a row of the other class (flip 1: an error vector) and of the label's own."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(points):
        label = 1.0 if i % 2 else -1.0
        own, other = (np.flatnonzero(np.asarray(DATA.y) == s * label) for s in (1, -1))
        a, b = (np.asarray(DATA.x)[rng.choice(k)] for k in (own, other))
        rows.append((1 - flip) * a + flip * b)
    return jnp.asarray(np.stack(rows))


certified = eqx.filter_jit(certify)


@eqx.filter_jit
def look(attack, z):
    """Value, active set and signs of the kinks."""
    posed = attack.pose(z)
    solution = argmin(posed.problem, solver=attack.solver, throw=False)
    score, kinks = posed.outcome(solution.value).score, posed.kinks(solution.value)
    return score, solution.warm, jnp.sign(kinks)


def difference(attack, z, unit, reach):
    """Best of several central differences, all well within reach, each of order four."""
    tries = []
    here = look(attack, z)[1:]
    for share in (0.1, 0.03, 0.01, 3e-3, 1e-3):
        h = min(share * reach, share * 0.3)
        values = {}
        for k in (-2, -1, 1, 2):
            values[k], *there = look(attack, z + k * h * unit)
            same = jax.tree.map(lambda a, b: bool(jnp.all(a == b)), here, tuple(there))
            assert all(jax.tree.leaves(same)), "a change within the certificate's reach"
        slope = 8 * (values[1] - values[-1]) - (values[2] - values[-2])
        tries.append(float(slope) / (12 * h))
    gaps = np.abs(np.diff(tries))
    return tries[int(np.argmin(gaps))]


@pytest.mark.parametrize(
    ("kernel", "points"),
    [
        ("linear", 5),
        ("rbf", 1),
        *(
            pytest.param(kernel, points, marks=pytest.mark.slow)
            for kernel, points in (("linear", 1), ("rbf", 5), ("polynomial", 1), ("polynomial", 5))
        ),
    ],
)
def test_hypergradient_is_that_of_finite_differences(kernel, points):
    kinds = set()
    for seed in range(5):
        for flip, C in ((1.0, 0.05), (0.6, 1.0), (0.4, 10.0)):
            attack = attack_on(kernel, points, C)
            z = start(points, seed, flip)
            certificate, warm = certified(attack, z), look(attack, z)[1]
            length = float(jnp.linalg.norm(certificate.gradient))
            if length < 1e-5 or float(certificate.reach) < 1e-5:
                continue
            unit = certificate.gradient / length
            expected = difference(attack, z, unit, float(certificate.reach))
            np.testing.assert_allclose(length, expected, rtol=1e-8)
            assert not bool(certificate.degenerate)
            assert float(certificate.error_bound) < 1e-8 * length
            poison = [s[TRAIN:] for s in (warm.lower, warm.upper)]
            kinds |= {"reserve" if low else "error" if up else "margin"
                      for low, up in zip(*poison, strict=True)}  # fmt: skip
    assert {"error", "margin"} <= kinds


def test_grad_jvp_and_certificate_agree():
    attack = attack_on("linear", 5)
    z = start(5, 0, 0.7)
    value, gradient = jax.jit(jax.value_and_grad(attack))(z)
    certificate = certified(attack, z)
    t = jnp.asarray(np.random.default_rng(0).normal(size=z.shape))
    slope = jax.jit(lambda z, t: jax.jvp(attack, (z,), (t,))[1])(z, t)
    np.testing.assert_allclose(certificate.value, value, rtol=1e-12)
    np.testing.assert_allclose(certificate.gradient, gradient, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(slope, jnp.sum(gradient * t), rtol=1e-10)


def reserve(points: int):
    """Rows of the labels' own classes, moved away from the other class: no support vectors."""
    x, y = np.asarray(DATA.x), np.asarray(DATA.y)
    mean = {sign: x[y == sign].mean(0) for sign in (-1, 1)}
    rows = [mean[s] + 3 * (mean[s] - mean[-s]) for s in np.where(np.arange(points) % 2, 1, -1)]
    return jnp.asarray(np.clip(rows, 0, 1))


def test_reserve_points_have_exactly_no_hypergradient_and_are_reported():
    attack, z = attack_on("linear", 5), reserve(5)
    certificate, warm = certified(attack, z), look(attack, z)[1]
    assert np.all(warm.lower[TRAIN:])
    assert bool(certificate.zero)
    assert "ZERO" in str(certificate)
    np.testing.assert_array_equal(certificate.gradient, np.zeros((5, 64)))
    result = maximize(attack, z, steps=5)
    assert "none is a support vector" in result.message
    moved = maximize(attack, z, steps=5, reseed=Reseed(start(5, 0, 1.0)), project=Box(0, 1).project)
    assert float(moved.value) > float(result.value) + 1e-3


def test_a_duplicate_of_a_free_row_is_degenerate():
    attack = attack_on("linear", 5, C=1.0)
    model = attack.learner.fit(DATA).model
    assert isinstance(model, SVMModel)
    coef = np.asarray(model.terms[0][1])
    free = np.flatnonzero((coef < -1e-6) & (coef > -1 + 1e-6))  # labels -1, that of the poison
    assert free.size
    for row in free[:3]:
        certificate = certified(attack, reserve(5).at[0].set(DATA.x[row]))
        assert bool(certificate.degenerate)
        assert float(certificate.error_bound) == np.inf


def test_poison_stays_in_its_box_and_raises_the_validation_hinge():
    z0, labels = start(5, 1, 1.0), np.where(np.arange(5) % 2, 1.0, -1.0)
    result = poison_svm(DATA, z0, jnp.asarray(labels), HELD_OUT, SVM(C), steps=40).climb(
        record=lambda step: (step.value, step.z)
    )
    values, trace = (np.asarray(h)[: int(result.steps)] for h in result.history)
    assert np.all((trace >= 0) & (trace <= 1))
    np.testing.assert_array_equal(trace[0], z0)
    assert float(result.value) > 1.2 * values[0]
    # libsvm retrained on the poisoned rows says the same
    x, y = np.concatenate([DATA.x, result.z]), np.concatenate([DATA.y, labels])
    oracle = SVC(C=C, kernel="linear", tol=1e-10).fit(x, y)
    hinge = np.maximum(0, 1 - np.asarray(HELD_OUT.y) * oracle.decision_function(HELD_OUT.x))
    np.testing.assert_allclose(result.value, hinge.mean(), rtol=1e-5)


def test_clean_rows_are_untouched_and_poison_comes_last():
    reach = Insert(np.array([1.0, -1.0]), Box(0.0, 1.0))
    z = start(2, 0, 0.3)
    poisoned = reach.inject(z, DATA)
    np.testing.assert_array_equal(poisoned.x[:TRAIN], DATA.x)
    np.testing.assert_array_equal(poisoned.y[:TRAIN], DATA.y)
    np.testing.assert_array_equal(poisoned.x[TRAIN:], z)
    np.testing.assert_array_equal(poisoned.y[TRAIN:], [1.0, -1.0])
    np.testing.assert_array_equal(poisoned.weight, np.ones(TRAIN + 2))


def attempt(train, start, labels, validation, **options):
    poison_svm(train, jnp.asarray(start), jnp.asarray(labels), validation, **options)


ONE = np.array([-1.0])
MIDDLE = np.full((1, 64), 0.5)
GOAL = indiscriminate(HELD_OUT.x, HELD_OUT.y)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Insert(np.zeros(0), Box(0, 1)), r"^labels: got shape \(0,\)"),
        (lambda: Insert(np.ones((2, 1)), Box(0, 1)), r"^labels: got shape \(2, 1\)"),
        (lambda: Insert(np.array([np.nan]), Box(0, 1)), r"^labels: 1 of 1 values"),
        (lambda: Box(1.0, 0.0), r"^lower: exceeds upper"),
        (lambda: Box(np.nan, 1.0), r"^lower: "),
        (lambda: attempt(DATA, MIDDLE + 1, ONE, HELD_OUT), r"^z0: lies outside the domain"),
        (lambda: attempt(DATA, MIDDLE * np.nan, ONE, HELD_OUT), r"^z0: 64 of 64 values"),
        (lambda: attempt(DATA, MIDDLE[0], ONE, HELD_OUT), r"^(z0?|start): got shape \(64,\)"),
        (lambda: attempt(DATA, MIDDLE[:, 1:], ONE, HELD_OUT), r"^(z0?|start): got shape"),
        (lambda: attempt(DATA, MIDDLE, np.array([-1.0, 1.0]), HELD_OUT), r"^(z0?|start|labels)"),
        (lambda: attempt(DATA, MIDDLE, np.array([2.0]), HELD_OUT), r"^(y|labels): got labels"),
        (lambda: attempt(DATA, MIDDLE, ONE, Data(np.zeros((0, 64)), np.zeros(0))),
         r"^x_val: got no rows"),
        (lambda: compose(SVM(), Insert(ONE, Box(0, 1)),
                         indiscriminate(HELD_OUT.x[:, :5], HELD_OUT.y), DATA),
         r"^x_val: got 5 features, expected 64"),
        (lambda: compose(SVM(), Insert(ONE, Box(np.zeros(3), 1)), GOAL, DATA),
         r"^domain.lower: got shape \(3,\)"),
        (lambda: attempt(Data(DATA.x[DATA.y > 0], DATA.y[DATA.y > 0]), MIDDLE, -ONE, HELD_OUT),
         r"^y: every row with weight > 0 has the label"),
        (lambda: compose(SVM(), Insert(ONE, Box(0, 1)), GOAL, DATA)(jnp.zeros((2, 64))),
         r"^z: got shape \(2, 64\), expected \(1, 64\)"),
        (lambda: attempt(DATA, MIDDLE, ONE, HELD_OUT, steps=0), r"^steps: got 0"),
    ],
)  # fmt: skip
def test_bad_input_is_a_sentence_naming_the_argument(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.usefixtures("standard_promotion")
def test_float32_rows_are_a_sentence_too():
    with pytest.raises(ValueError, match=r"^x: got float32, expected float64"):
        compose(SVM(), Insert(ONE, Box(0, 1)), GOAL, Data(DATA.x.astype(np.float32), DATA.y))
