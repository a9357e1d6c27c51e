"""Slopes of retrained SVMs: by differences, by the printed formula, and where poison is placed."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saying import put, said
from sklearn.svm import SVC

from benchmarks.data import Rows, Split
from benchmarks.experiments.svm import _finite_differences, svm_gradient
from benchmarks.experiments.svm._finite_differences import STEPS, differentiate
from bilevel import Data
from bilevel.results import ACTIVE_SET, CONVERGED

pytestmark = pytest.mark.stand_ins


def mapped(call: Any, places: Any) -> Any:
    """In place of `lax.map`."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *[call(place) for place in places])


def objective(value: Any, piece: Any) -> Any:
    """In place of `look`: these of each place, whose middle is the first one."""

    def look(attack: str, places: Any) -> Any:
        assert attack == "prepared"
        return SimpleNamespace(
            value=np.array([value(z) for z in places]), piece=np.array([piece(z) for z in places])
        )

    return look


Z = np.array([[0.5, -0.25]])
ATTACK: Any = SimpleNamespace(prepared=lambda: "prepared")
ALONG = [np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])]


def test_slopes_of_a_smooth_objective_are_of_steps_on_its_piece(monkeypatch) -> None:
    """Longer steps end elsewhere, and training fails at some."""

    def value(z: Any) -> float:
        away = np.linalg.norm(z - Z)
        if 4e-4 < away < 5e-4:
            return np.nan
        return 3 * z[0, 0] ** 2 - z[0, 1] + (5.0 if away > 9e-4 else 0.0)

    put(monkeypatch, _finite_differences,
        look=objective(value, lambda z: [np.linalg.norm(z - Z) > 9e-4, True]))  # fmt: skip
    found = differentiate(ATTACK, Z, ALONG)
    slopes = [3.0, 0.6 * 3.0 - 0.8]
    np.testing.assert_allclose(found.ahead, slopes, atol=1e-9)
    np.testing.assert_array_equal(found.behind, found.ahead)
    np.testing.assert_array_equal(found.directions, ALONG)
    failed = int(np.sum((STEPS > 4e-4) & (STEPS < 5e-4)))
    assert (found.one_sided, found.failures) == (False, 4 * failed)
    assert failed == 1
    assert 0 <= found.noise < 1e-6
    assert found.jump == 0


def test_slopes_at_a_kink_are_those_of_its_sides(monkeypatch) -> None:
    """Of the piece that is next to the kink on each side; ahead is along the direction."""

    def value(z: Any) -> float:
        far = 1.0 if np.linalg.norm(z - Z) > 1e-3 else 0.0
        rise = z[0, 0] - Z[0, 0]
        return (2.0 if rise > 0 else -5.0) * rise + 7 * rise**2 + far

    put(monkeypatch, _finite_differences, look=objective(
        value, lambda z: [np.sign(z[0, 0] - Z[0, 0]), np.linalg.norm(z - Z) > 1e-3]
    ))  # fmt: skip
    found = differentiate(ATTACK, Z, ALONG)
    np.testing.assert_allclose(found.ahead, [2.0, 1.2], atol=1e-8)
    np.testing.assert_allclose(found.behind, [-5.0, -3.0], atol=1e-8)
    assert found.one_sided
    np.testing.assert_allclose(found.jump, 7 / 5, rtol=1e-6)
    between, beyond = (np.array([[slope, 0.0]]) for slope in (1.0, 2.5))
    assert found.error(between) == pytest.approx(0, abs=1e-8)
    off = np.linalg.norm([0.5, 0.3]) / np.linalg.norm([5.0, 3.0])
    assert found.error(beyond) == pytest.approx(off, rel=1e-6)
    assert np.all(found.doubt >= 0)


def posed(problem: Any = None) -> Any:
    """An attack whose multipliers and score are told from where the poison is."""

    def pose(z: Any) -> Any:
        lower, upper = jnp.zeros(3), jnp.full(3, 2.0)
        return SimpleNamespace(
            problem=SimpleNamespace(lower=lower, upper=upper, z=z),
            kinks=lambda value: value[0][:2] - 0.5,
            outcome=lambda value: SimpleNamespace(score=value[0].sum() + value[1]),
        )

    return SimpleNamespace(pose=pose, solver="solver")


def solved(problem: Any, solver: str, throw: bool = True) -> Any:
    """Alphas at, inside, and above their bounds; it fails left of zero."""
    assert solver == "solver"
    assert not throw
    alpha = jnp.asarray([0.0, 1.0, 2.0]) + problem.z[0, 0]
    result = jnp.where(problem.z[0, 0] < 0, ACTIVE_SET, CONVERGED)
    return SimpleNamespace(value=(alpha, jnp.asarray(0.25)), result=result)


def test_a_look_is_at_the_score_and_the_sets_of_a_retrained_model(monkeypatch) -> None:
    put(monkeypatch, _finite_differences, argmin=solved, lax=SimpleNamespace(map=mapped))
    places = jnp.asarray([[[0.0]], [[0.25]], [[-0.5]]])
    seen: Any = _finite_differences.look.__wrapped__(posed(), places)  # pyright: ignore
    np.testing.assert_allclose(seen.value, [3.25, 4.0, np.nan])
    lower = [[True, False, False], [False] * 3, [True, False, False]]
    upper = [[False, False, True], [False, False, True], [False] * 3]
    kinks = [[False, True], [False, True], [False, False]]
    np.testing.assert_array_equal(seen.piece, np.concatenate([lower, upper, kinks], axis=1))


def test_multipliers_are_those_of_the_poison_points(monkeypatch) -> None:
    put(monkeypatch, svm_gradient, argmin=solved, lax=SimpleNamespace(map=mapped))
    places = jnp.asarray([[[0.0], [9.0]], [[0.25], [9.0]]])
    alpha = svm_gradient.multipliers.__wrapped__(posed(), places)  # pyright: ignore
    np.testing.assert_allclose(alpha, [[1.0, 2.0], [1.25, 2.25]])


SPLIT: Any = SimpleNamespace(
    train=Rows(
        np.array([[0.0, 0.5], [1.0, 0.25], [0.5, 1.0], [0.25, 0.75], [0.75, 0.0], [0.125, 0.5]]),
        np.array([1.0, -1, 1, -1, 1, 1]),
    ),
    validation=Rows(np.array([[0.5, 0.5], [0.25, 1.0]]), np.array([1.0, -1])),
    start=np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]),
)  # fmt: skip


def test_poison_of_a_kind_is_a_copy_or_inside_or_on_the_way_to_the_margin(monkeypatch) -> None:
    """Farthest from both bounds, all points of the margin that are placed at once."""
    told: list[Any] = []

    def multipliers(attack: str, candidates: Any) -> Any:
        assert attack == "attack"
        told.append(np.asarray(candidates))
        share = np.linspace(0, 1, 64)
        return np.stack([0.5 * share, 9 + share, 0.5 * (1 - share) ** 2 + 0.01], axis=1)

    put(monkeypatch, svm_gradient, multipliers=multipliers)
    kinds = ("margin", "reserve", "margin")
    found = svm_gradient.place("attack", SPLIT, kinds, 0.5)  # pyright: ignore
    attackers = SPLIT.train.x[[0, 2, 4, 5]]
    inside = (attackers[:3] + attackers.mean(axis=0)) / 2
    share = np.linspace(0, 1, 64)
    inner, other = (0.25 - np.abs(a - 0.25) for a in (share / 2, (1 - share) ** 2 / 2 + 0.01))
    first, second = (share[np.argmax(depth)] for depth in (inner, np.minimum(inner, other)))
    expected = np.stack([
        SPLIT.start[0] + first * (inside[0] - SPLIT.start[0]), inside[1],
        SPLIT.start[2] + second * (inside[2] - SPLIT.start[2]),
    ])  # fmt: skip
    np.testing.assert_allclose(found, expected)
    assert [candidates.shape for candidates in told] == [(64, 3, 2)] * 2
    np.testing.assert_allclose(told[1][:, :2], np.broadcast_to(expected[:2], (64, 2, 2)))
    np.testing.assert_allclose(
        svm_gradient.place("attack", SPLIT, ("error", "reserve"), 0.5),  # pyright: ignore
        [SPLIT.start[0], (attackers[1] + attackers.mean(axis=0)) / 2],
    )


def test_copies_are_of_the_rows_deepest_on_the_margin(monkeypatch) -> None:
    alpha = jnp.asarray([0.0, 0.3, 0.5, 0.1, 0.25, 0.42])

    def svm(C: float) -> Any:
        assert C == 0.5
        return SimpleNamespace(training=lambda data: SimpleNamespace(problem=data), solver="of it")

    def argmin(data: Data, solver: str) -> Any:
        assert (said(data.x, data.y), solver) == (said(*SPLIT.train), "of it")
        return SimpleNamespace(value=(alpha, "bias"))

    put(monkeypatch, svm_gradient, SVM=svm, argmin=argmin)
    x, y = svm_gradient.duplicates(SPLIT, 3, 0.5)
    np.testing.assert_array_equal(x, SPLIT.train.x[[4, 1, 3]])
    np.testing.assert_array_equal(y, SPLIT.train.y[[4, 1, 3]])


@pytest.mark.parametrize("seed", [49, 34])
def test_the_printed_formula_lets_the_margin_respond_but_not_move(seed, monkeypatch) -> None:
    """Beside differences of what it describes: alphas of the margin solve its conditions at the old
    places of the margin's points, while the poison moves in the kernel and in w.
    """
    C, many = 0.5, 3
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(24) % 2, 1.0, -1.0)
    x = 0.5 + rng.normal(size=(24, 7)) + 0.7 * y[:, None]
    y[-many:] = 1
    held_y = np.where(np.arange(31) % 3, 1.0, -1.0)
    held = Rows(0.5 + rng.normal(size=(31, 7)) + 0.7 * held_y[:, None], held_y)
    svm = SVC(C=C, kernel="linear", tol=1e-12).fit(x, y)
    beta = np.zeros(24)
    beta[svm.support_] = svm.dual_coef_[0]
    margin = (np.abs(beta) > 0) & (np.abs(beta) < C)
    assert margin[-many:].any()
    assert not margin[-many:].all()

    def loss(z: np.ndarray) -> float:
        moved = np.concatenate([x[:-many], z])
        s = x[margin]
        system = np.block([[s @ moved[margin].T, np.ones((len(s), 1))], [np.ones(len(s)), 0]])
        rest = s @ (beta * ~margin @ moved)
        solution = np.linalg.solve(system, np.append(y[margin] - rest, -np.sum(beta * ~margin)))
        every = beta.copy()
        every[margin] = solution[:-1]
        decision = held.x @ (every @ moved) + solution[-1]
        return np.mean(np.maximum(0, 1 - held.y * decision))

    z = x[-many:]
    expected = np.zeros(z.shape)
    for place in np.ndindex(z.shape):
        move = np.zeros(z.shape)
        move[place] = 1e-6
        expected[place] = (loss(z + move) - loss(z - move)) / 2e-6

    def inject(at: Any, data: str) -> Any:
        assert (said(at), data) == (said(z), "data")
        return SimpleNamespace(x=x, y=y)

    put(monkeypatch, svm_gradient, argmin=lambda problem, solver: SimpleNamespace(
        value={("problem", "solver"): (np.abs(beta), None)}[problem, solver]
    ))  # fmt: skip
    attack: Any = SimpleNamespace(
        reach=SimpleNamespace(inject=inject), data="data", solver="solver",
        pose=lambda at: {said(z): SimpleNamespace(problem="problem")}[said(at)],
    )  # fmt: skip
    found = svm_gradient.printed_formula(attack, held, z, C)
    assert np.linalg.norm(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("zero", [False, True])
def test_slopes_are_compared_where_ours_and_the_printed_ones_disagree(zero, monkeypatch) -> None:
    z = np.array([[0.5, 0.25]])
    ours = np.zeros((1, 2)) if zero else np.array([[3.0, 4.0]])
    printed = np.array([[3.0, 2.0]])
    certificate = SimpleNamespace(
        gradient=jnp.asarray(ours), error_bound=0.125, margin=0.375, kink_margin=0.625,
        result=CONVERGED, degenerate=False, zero=zero,
    )  # fmt: skip
    drawn = np.random.default_rng(4).normal(size=(2, 1, 2))
    away = printed - ours
    expected = [d / np.linalg.norm(d) for d in (ours, -away, *drawn) if np.linalg.norm(d)]

    def differentiate(attack: str, at: Any, directions: Any) -> Any:
        assert (attack, said(at)) == ("attack", said(z))
        np.testing.assert_allclose(directions, expected)
        return SimpleNamespace(
            noise=0.1, error=lambda g: said(g), one_sided="sides", jump=0.2, failures=6
        )

    put(
        monkeypatch, svm_gradient, differentiate=differentiate,
        certify=lambda attack, at: {("attack", said(z)): certificate}[attack, said(at)],
    )  # fmt: skip
    found = svm_gradient.examine("attack", z, printed, np.random.default_rng(4))  # pyright: ignore
    assert found == {
        "gradient": 0.0 if zero else 5.0, "difference_noise": 0.1, "ours_error": said(ours),
        "certified_error": 0.125 if zero else 0.025, "printed_error": said(printed),
        "printed_cosine": None if zero else pytest.approx(17 / (5 * np.sqrt(13))),
        "certificate": "exactly zero" if zero else "regular", "set_margin": 0.375,
        "kink_margin": 0.625, "one_sided": "sides", "jump": 0.2, "unsolved": 6,
    }  # fmt: skip


def test_a_certificate_is_told_by_the_first_thing_that_is_wrong() -> None:
    for result, degenerate, zero, told in (
        (ACTIVE_SET, True, True, "not solved"), (CONVERGED, True, True, "degenerate"),
        (CONVERGED, False, True, "exactly zero"), (CONVERGED, False, False, "regular"),
    ):  # fmt: skip
        of: Any = SimpleNamespace(result=result, degenerate=degenerate, zero=zero)
        assert svm_gradient._verdict(of) == told


def test_cases_attack_validation_rows_with_the_labels_of_their_kind(monkeypatch) -> None:
    """Copies keep their labels."""
    put(
        monkeypatch, svm_gradient, SVM=lambda C: ("svm", C), Box=lambda *ends: ("box", *ends),
        Insert=lambda labels, box: ("insert", said(labels), box), compose=lambda *given: given,
        indiscriminate=lambda x, y: ("goal", said(x, y)), Data=lambda x, y: ("rows", said(x, y)),
        duplicates=lambda split, count, C: ((split is SPLIT, count, C), np.array([1.0, -1.0])),
        place=lambda attack, split, kinds, C: (attack, split is SPLIT, kinds, C),
    )  # fmt: skip

    def attack(labels: Any) -> Any:
        return (
            ("svm", 0.5), ("insert", said(labels), ("box", 0.0, 1.0)),
            ("goal", said(*SPLIT.validation)), ("rows", said(*SPLIT.train)),
        )  # fmt: skip

    split: Split = SPLIT
    copies = svm_gradient._case(split, 2, "duplicate", 0.5)
    assert copies == (attack([1.0, -1.0]), (True, 2, 0.5))
    for kind, kinds in (
        ("margin", ("margin",) * 4), ("mixed", ("error", "margin", "reserve", "error")),
    ):  # fmt: skip
        plain = attack(np.ones(4))
        assert svm_gradient._case(split, 4, kind, 0.5) == (plain, (plain, True, kinds, 0.5))
