"""Edges of learners: what is refused, which key goes where, and what stands in for nothing."""

from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bilevel import Data, losses
from bilevel.derivatives import Implicit
from bilevel.learners import (
    SVM,
    AbstractLearner,
    ElasticNet,
    FairLogistic,
    Fitted,
    Huber,
    LinearModel,
    Logistic,
    Network,
    OnFeatures,
    Softmax,
    Trained,
    Training,
    _linear_fit,
    ensemble,
)
from bilevel.learners._checks import (
    require_classes,
    require_table,
    require_weights,
    strength,
    validity,
)
from bilevel.learners._units import units
from bilevel.learners.kernels import RBF, Linear, Polynomial, power
from bilevel.learners.network import _mean_of_batch
from bilevel.learners.softmax import SoftmaxNewton
from bilevel.learners.svm import _support
from bilevel.networks import MLP, ConvNet, Functions, ResNet
from bilevel.networks._architecture import Outputs
from bilevel.results import CONVERGED, INVALID, MAX_STEPS, sentence
from bilevel.solvers import Descent, Newton, NewtonCG
from bilevel.solvers.smooth._smooth import AbstractSmoothSolver

RNG = np.random.default_rng(3)
KEY = jax.random.key(5)
ZERO = LinearModel(jnp.zeros(2), jnp.zeros(()))
SIGNS = np.array([1.0, -1.0, 1.0])
ROWS = Data(RNG.normal(size=(3, 2)), SIGNS)


def as_numbers(key) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


@pytest.mark.parametrize("value", [np.inf, np.nan, -np.inf, [1.0], np.ones((1, 1))])
@pytest.mark.parametrize("zero", [True, False])
def test_a_strength_is_one_finite_number(value, zero) -> None:
    with pytest.raises(ValueError, match=r"^C: got .*, expected a finite number >=? 0"):
        strength("C", value, zero=zero)
    assert strength("C", 0.0, zero=True) == 0


@pytest.mark.parametrize(
    ("y", "weight", "strengths", "positive", "valid"),
    [
        ([0.5, -0.5, 1.0], [1, 1, 0], [1.0, 0.0], 1, True),
        ([2.0, -1.0, 1.0], [1, 1, 1], [1.0], 1, False),  # no soft label
        ([1.0, -1.0, 1.0], [0, 1, 0], [1.0], 1, False),  # a class without weight
        ([1.0, -1.0, 1.0], [1, 0, 1], [1.0], 1, False),
        ([1.0, -1.0, 1.0], [1, 1, 1], [np.inf], 1, False),
        ([1.0, -1.0, 1.0], [1, 1, 1], [1.0, np.inf], 1, False),
        ([1.0, -1.0, 1.0], [1, 1, 1], [1.0, 0.0], 2, False),
        ([1.0, -1.0, 1.0], [1, 1, 1], [1.0, -1.0], 1, False),
    ],
)
def test_what_is_traced_is_checked_as_what_is_not(y, weight, strengths, positive, valid) -> None:
    data = Data(np.eye(3), y, weight)
    found = validity(data, *map(jnp.asarray, strengths), positive=positive, signs=True)
    assert int(found) == (CONVERGED if valid else INVALID)


def test_refusals_have_the_numbers_of_what_is_refused() -> None:
    x = np.eye(3)
    for check, data, words in (
        (require_weights, Data(x, SIGNS, [1, -2, 3]), "weight: got -2.0, expected"),
        (require_weights, Data(x, SIGNS, [0, 0, 0]), "weight: got 3 weights, all zero"),
        (require_weights, Data(x[:0], SIGNS[:0]), "x: got no rows"),
        (require_classes, Data(x, SIGNS, [1, 0, 1]), "weight > 0 has the label 1, expected"),
        (require_classes, Data(x, SIGNS, [0, 1, 0]), "weight > 0 has the label -1, expected"),
        (require_table, Data(x[None], SIGNS[:1]), r"x: got shape \(1, 3, 3\), expected a table"),
    ):
        with pytest.raises(ValueError, match=words):
            check(data)
    network = Network(MLP((2,), 4))
    with pytest.raises(ValueError, match=r"has a class of \[1 3\], and the network has 4"):
        network.check(Data(x, [0, 2, 3], [1, 1, 0]))
    network.check(Data(RNG.normal(size=(5, 2)), [0, 1, 2, 3, 9], [1, 1, 1, 1, 0]))
    with pytest.raises(ValueError, match="x: got images of 5 x 9 pixels, too few for 1 conv"):
        ConvNet((2,), 6).init(KEY, jax.ShapeDtypeStruct((5, 9, 1), jnp.float64))
    with pytest.raises(ValueError, match="groups: got 4, expected a divisor"):
        ResNet((4, 6), 1, 4)


def test_kernels_refuse_what_is_no_kernel() -> None:
    refused: Any = ((Polynomial, 1.5), (Polynomial, 0), (Polynomial, 2, -1.0), (RBF, np.inf))
    for kernel, *settings in refused:
        with pytest.raises(ValueError, match=r"^(degree|gamma): got .*, expected a"):
            kernel(*settings)
    # Next to a whole degree, where differences are taken, the sign is that of the whole one.
    np.testing.assert_allclose(power(jnp.array([-2.0]), jnp.array([3.01])), -(2.0**3.01))
    np.testing.assert_array_equal(Linear().origin(jnp.ones((3, 2)), jnp.zeros(3)), [0, 0])


def test_distances_far_from_the_origin_are_those_next_to_it() -> None:
    """Each feature has its own place, and a row is at no distance from itself."""
    b = np.array([[0.0, 0.5], [1, -0.5], [2, 0.75]])
    a = b[:2] + np.array([[0, 0], [0.25, -0.5]])
    far = np.array([2.0**40, -7])
    apart = np.sum((a[:, None] - b[None]) ** 2, axis=2)
    gram = jax.jit(lambda a: RBF(0.5).gram(a, jnp.asarray(b + far)))
    np.testing.assert_allclose(gram(a + far), np.exp(-0.5 * apart), rtol=1e-9)
    slopes = jax.jit(jax.jacrev(gram))(a + far)
    np.testing.assert_allclose(slopes[0, 0], 0, atol=1e-12)
    expected = np.exp(-0.5 * apart[1, 2]) * (b[2] - a[1])
    np.testing.assert_allclose(slopes[1, 2], [[0, 0], expected], rtol=1e-9, atol=1e-12)


def test_an_svm_knows_its_rows_by_their_weights() -> None:
    data = Data(RNG.normal(size=(3, 2)), SIGNS, [1, 0, 2])
    assert SVM().prepare(Data(np.ones((4, 2)), np.resize(SIGNS, 4))).known is None  # low rank
    known: Any = SVM().prepare(data).known
    np.testing.assert_allclose(known.origin, data.weight @ data.x / 3)
    np.testing.assert_allclose(known.x, np.asarray(data.x) - np.asarray(known.origin))
    curved = SVM(kernel=RBF(1.0))
    assert curved.surrogate(data) is curved
    assert isinstance(SVM().surrogate(data), Logistic)
    np.testing.assert_array_equal(_support((jnp.array([0.0, 0.5]), jnp.zeros(()))), [False, True])


def test_few_unknowns_of_a_softmax_are_five_hundred() -> None:
    assert isinstance(SoftmaxNewton()._by_size([np.zeros(499), np.zeros(1)]), Newton)
    assert isinstance(SoftmaxNewton()._by_size([np.zeros(500), np.zeros(1)]), NewtonCG)


@pytest.mark.parametrize("y", [[0, 1, 0.5], [0, 1, -1], [0, 1, 2]])
def test_a_label_that_is_no_class_is_invalid(y) -> None:
    assert int(Softmax(2).training(Data(np.eye(3), np.array(y))).result) == INVALID


@pytest.mark.parametrize(
    ("learner", "name", "value", "valid"),
    [(ElasticNet(), "l2", 0.0, False), (Logistic(), "l2_bias", -1.0, False),
     (Logistic(), "l2_bias", 0.0, True), (Huber(), "l2_bias", -1.0, False)],
)  # fmt: skip
def test_a_traced_strength_is_in_its_own_range(learner, name, value, valid) -> None:
    moved = eqx.tree_at(lambda each: getattr(each, name), learner, jnp.asarray(value))
    assert int(moved.validity(ROWS)) == (CONVERGED if valid else INVALID)


def test_a_wide_training_that_stops_early_tells_its_steps_and_its_slope() -> None:
    x, share = RNG.normal(size=(3, 5)), np.array([0.2, 0.5, 0.3])
    learner = Logistic(0.1, solver=_linear_fit.LinearNewton(max_steps=1))
    fitted = learner.fit(Data(x, SIGNS, share), throw=False)
    assert (int(fitted.result), int(fitted.stats["steps"])) == (MAX_STEPS, 1)
    slope = -0.5 * share * SIGNS  # at the start
    rows = x - share @ x
    size = np.hypot(np.linalg.norm(slope @ rows), np.sum(slope))
    np.testing.assert_allclose(fitted.stats["residual"], size, rtol=1e-9)


def test_units_are_powers_of_two_in_which_curvature_is_about_one() -> None:
    share, size = np.array([0.5, 0.2, 0.3]), 10.0 ** np.arange(-4, 8)
    x, l2 = size * np.random.default_rng(1).normal(size=(3, 12)) + size, 1e-6
    found = units(x, share, jnp.asarray(l2), jnp.zeros(()), True)
    np.testing.assert_allclose(found.origin, share @ x, rtol=1e-14)
    np.testing.assert_array_equal(np.frexp(found.factor)[0], 0.5)
    curvature = (share @ (x - share @ x) ** 2 + l2) * np.asarray(found.factor) ** 2
    assert np.all((curvature > 0.44) & (curvature < 1.78))
    factor = np.asarray(found.factor)
    np.testing.assert_allclose(found.rows(x), (x - share @ x) * factor, atol=1e-14)
    w = jnp.arange(12.0)
    model = LinearModel(*found.model(w, jnp.ones(())))
    np.testing.assert_allclose(model.decision(x), found.rows(x) @ w + 1, rtol=1e-9)


def test_a_path_is_walked_in_the_user_s_units() -> None:
    path = Descent(optax.sgd(0.1), 1)
    rows = Data(3 + RNG.normal(size=(3, 2)), SIGNS)
    for learner, units_of in (
        (Softmax(2, solver=path), lambda args: args[-1]),
        (Logistic(solver=path), lambda fit: fit.units),
    ):
        found = units_of(learner.training(rows).problem.args)
        np.testing.assert_array_equal([found.origin, found.factor], [[0, 0], [1, 1]])
        assert learner.cold(rows) is None


@pytest.mark.stand_ins
@pytest.mark.parametrize(
    ("rows", "reuse", "used"), [(9, 0.5, 0.5), (2**15, 0.5, 0.05), (2**15, 0.01, 0.01)]
)
def test_newton_has_the_settings_of_the_solver_of_linear_learners(
    rows, reuse, used, monkeypatch
) -> None:
    stub = lambda *settings: SimpleNamespace(run=lambda *_: settings)  # noqa: E731
    monkeypatch.setattr(_linear_fit, "Newton", stub)
    problem: Any = SimpleNamespace(args=SimpleNamespace(gram=None, x=np.zeros((rows, 1))))
    assert _linear_fit.LinearNewton(1e-3, 7, reuse).run(problem, None) == (1e-3, 7, used)


def test_parts_of_a_training_draw_apart(monkeypatch) -> None:
    order, seen = Network._order, []

    def watched(self, key, rows):
        seen.append(as_numbers(key))
        return order(self, key, rows)

    monkeypatch.setattr(Network, "_order", watched)
    own = Functions(lambda key: jax.random.key_data(key).astype(float), lambda w, x: x @ w)
    network = Network(own, losses.Squares(), batch=50, solver=Descent(optax.sgd(0.1), 4))
    problem = network.training(ROWS, key=KEY).problem
    assert problem.series.shape == (4, 3)  # no more rows than there are
    assert network.steps_for(3, 5) == 5
    start = tuple(int(number) for number in problem.start)
    assert len({*seen, start, as_numbers(problem.key), as_numbers(KEY)}) == 4


@pytest.mark.stand_ins
def test_a_step_draws_its_rows_its_masks_and_its_activity_apart() -> None:
    seen = [as_numbers(KEY)]

    def noted(key):
        seen.append(as_numbers(key))

    def apply(parameters, x, key):
        noted(key)
        return Outputs(x @ parameters)

    def augment(key, x):
        noted(key)
        return 2 * x

    def activity(key, outputs):
        noted(key)
        return 100 * jnp.sum(outputs.logits)

    x, w, weight = jnp.asarray(RNG.normal(size=(4, 2))), jnp.ones(2), jnp.arange(4.0)
    rows, architecture = jnp.array([3, 1]), SimpleNamespace(apply=apply)
    args = (x, jnp.zeros(4), weight, jnp.asarray(0.5)), rows
    found = _mean_of_batch(architecture, losses.Squares(), augment, activity, w, args, KEY)  # pyright: ignore
    f = 2 * x[rows] @ w
    expected = jnp.mean(weight[rows] * 0.5 * f**2) + 0.5 * 0.5 * 2 + 100 * jnp.sum(f)
    np.testing.assert_allclose(found, expected)
    assert len(set(seen)) == 4


class Stub(AbstractLearner):
    """Notes its data and keys, and trains nothing."""

    seen: list = eqx.field(static=True)
    solver: AbstractSmoothSolver = Newton()
    derivative: Implicit = Implicit()

    @property
    def loss(self):
        return losses.Logistic()

    def training(self, data, *, key=None):
        self.seen.append((data.x.shape, key))
        made = eqx.Partial(lambda _: Trained(ZERO, jnp.int32(MAX_STEPS), "repaired"))
        return Training(data, None, made)

    def surrogate(self, data):
        self.seen.append(data.x.shape)
        return self

    def prepare_rows(self, x):
        return {"prepared": x}

    def pinned(self, training):
        self.seen.append(training)
        return self

    def cold(self, data, *, key=None):
        self.seen.append((data.x.shape, key))


class Flat(LinearModel):
    """Its decision is its key, if it has one."""

    def decision(self, x, *, key=None):
        return jnp.zeros(len(x)) if key is None else jax.random.normal(key, (len(x),))


class Body(LinearModel):
    """Its features are twice the rows."""

    def features(self, x):
        return 2 * x.reshape(len(x), -1)


def test_a_wrapper_hands_on_features_keys_and_records() -> None:
    seen = []
    wrapper = OnFeatures(Body(ZERO.w, ZERO.bias), Stub(seen))
    images = Data(RNG.normal(size=(3, 2, 2)), SIGNS)
    training = wrapper.training(images, key=KEY)
    wrapper.cold(images, key=KEY)
    wrapper.surrogate(images)
    wrapper.pinned(training)
    assert seen == [((3, 4), KEY), ((3, 4), KEY), (3, 4), training.inner]
    assert wrapper.pinned(Training(images, None, lambda _: ZERO)) is wrapper
    trained = training.trained(None)
    assert (int(trained.result), trained.report) == (MAX_STEPS, "repaired")
    twice = 2 * np.asarray(images.x).reshape(3, 4)
    np.testing.assert_array_equal(wrapper.prepare_rows(images.x).features["prepared"], twice)
    np.testing.assert_array_equal(trained.model.features(images.x), twice)
    head = Flat(jnp.zeros(2), jnp.zeros(()))
    model = eqx.tree_at(lambda made: made.head, trained.model, head)
    drawn = jax.random.normal(KEY, (3,))
    np.testing.assert_array_equal(model.decision(images.x, key=KEY), drawn)
    np.testing.assert_array_equal(head.predict(images.x, key=KEY), np.sign(drawn))
    np.testing.assert_array_equal(head.predict(images.x), [-1, -1, -1])  # a tie


def test_what_a_training_does_not_say_is_everything_or_nothing() -> None:
    training = Training(Data(np.eye(2, dtype=np.float32), [0, 1]), None, lambda _: ZERO)
    np.testing.assert_array_equal(training.support(None), [True, True])
    assert (training.kinks(None).shape, training.kinks(None).dtype) == ((0,), np.float32)
    assert Fitted(ZERO, None, jnp.array([0, 1]), {}, None).message == sentence(1)
    members = ensemble(Stub([]), ROWS, jax.random.split(KEY, 2))  # fails, and does not raise
    np.testing.assert_array_equal(members.result, [MAX_STEPS, MAX_STEPS])


@pytest.mark.stand_ins
def test_protected_features_are_indices() -> None:
    assert FairLogistic(np.int64(1)).protected == (1,)  # pyright: ignore[reportArgumentType]
    for wrong in (2, -1):
        with pytest.raises(ValueError, match=f"the feature {wrong}, expected 0 to 1"):
            FairLogistic(wrong).check(ROWS)
    for wrong in ((), (1, 1)):
        with pytest.raises(ValueError, match="expected different indices"):
            FairLogistic(wrong)


def test_prepared_rows_have_the_features_that_are_not_empty_and_zeros_behind() -> None:
    rows: Any = np.zeros((3, 150))
    used = np.array([0, 3, *range(70, 138)])  # 70, hence a width of 128
    rows[:, used] = RNG.normal(size=(3, 70))
    prepared: Any = Linear().prepare(rows, rows)
    np.testing.assert_array_equal(prepared.x[:, :70], rows[:, used])
    np.testing.assert_array_equal(prepared.x[:, 70:], np.zeros((3, 58)))
    model = LinearModel(jnp.asarray(RNG.normal(size=150)), jnp.asarray(0.5))
    np.testing.assert_allclose(model.decision(prepared), model.decision(rows), rtol=1e-12)
    full: Any = RNG.normal(size=(3, 64))
    assert Linear().prepare(full, full) is full
