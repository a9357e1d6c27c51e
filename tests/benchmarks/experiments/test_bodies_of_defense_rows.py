"""Defenses of tables: what is timed, trained and judged in their rows, and with which settings."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from given import Recorder
from roles import OneSplit, drawn
from saying import put, said

from attacks import XY
from benchmarks.experiments.defenses import (
    _arena_attacks,
    _arena_cells,
    _ridge_behind_trim,
    _trim_on_table,
    arena,
    defense_speed,
)
from benchmarks.experiments.defenses._ridge_behind_trim import Outcome
from bilevel import Data

pytestmark = pytest.mark.stand_ins
LABELLED, TARGETS = drawn(), drawn(targets=True)


def words(*parts: Any) -> float:
    """The number of these rows, whatever holds them."""
    return said([(np.asarray(part.x), np.asarray(part.y)) for part in parts])


def test_a_loop_trains_on_the_rows_that_fit_best_until_they_stay() -> None:
    x, y = np.arange(6.0), np.array([0.1, 1.0, 0.0, 5.0, 3.0, 0.5])
    seen = []

    def train(x: Any, y: Any) -> Any:
        seen.append(x.tolist())
        level = {6: 1.0, 3: 0.25}[len(x)]
        return lambda at: np.where(at < 6, level, np.nan)

    keep = defense_speed.loop(train, x, y, 3)
    assert keep.tolist() == [True, False, True, False, False, True]
    assert seen == [[0, 1, 2, 3, 4, 5], [0, 1, 5], [0, 2, 5]]


def test_ridge_by_hand_leaves_the_intercept_free() -> None:
    train = TARGETS.train
    full = np.c_[train.x, np.ones(train.rows(np.arange(25)).y.size)]
    w = np.linalg.solve(full.T @ full + np.diag([0.5, 0.5, 0.5, 0]), full.T @ train.y)
    at = TARGETS.test.x
    found = defense_speed.by_numpy(0.5)(train.x, train.y)(at)
    np.testing.assert_allclose(found, np.c_[at, np.ones(len(at))] @ w, atol=1e-12)


def test_the_best_of_several_turns_is_without_the_first(monkeypatch) -> None:
    now = [0.0]
    took = {"a": [0.001, 0.5, 0.25, 0.75], "b": [0.001, 0.0625, 2.0, 4.0]}
    order = []

    def spends(name: str) -> Any:
        def call() -> float:
            order.append(name)
            now[0] += took[name][order.count(name) - 1]
            return 0.0

        return call

    put(monkeypatch, defense_speed, time=SimpleNamespace(process_time=lambda: now[0]))
    found = defense_speed.best({name: spends(name) for name in took}, 3)
    assert found == {"a": 250.0, "b": 62.5}
    assert order == ["a", "b"] * 4


class Trimmed:
    """TRIM that says what it was made of, and keeps the rows of least targets."""

    def __init__(self, learner: Any, rate: float, restarts: int = 0):
        self.of = learner, rate, restarts

    def fit(self, data: Data, throw: bool = True) -> Any:
        assert not throw
        return SimpleNamespace(model=Fitted(self, data))

    def inspect(self, data: Data) -> Any:
        y = np.asarray(data.y)
        return SimpleNamespace(kept=y <= np.sort(y)[24], trainings=jnp.asarray(4))


class Fitted:
    """What was trained on, and a decision of its first feature and the strength."""

    def __init__(self, trim: Trimmed, data: Data):
        self.trim, self.data = trim, data

    def decision(self, x: Any) -> Any:
        return x[:, 0] + self.trim.of[0] + self.trim.of[2]


@pytest.mark.parametrize("wrong", [(), ("numpy",), ("sklearn", "numpy")])
def test_each_time_of_trim_is_of_what_it_says(wrong, monkeypatch) -> None:
    options = defense_speed.Options(train=25, rate=0.2, restarts=7, repeats=3)
    rng = np.random.default_rng(0)
    chosen = rng.choice(25, 6)
    x = np.concatenate([TARGETS.train.x, TARGETS.train.x[chosen]])
    y = np.concatenate([TARGETS.train.y, 2 - TARGETS.train.y[chosen]])
    order = rng.permutation(31)
    x, y = x[order], y[order]
    kept = y <= np.sort(y)[24]
    given: dict[str, Any] = {}

    class Ridge(Recorder):
        def __init__(self, alpha: float, solver: str):
            self.C = alpha
            assert solver == "cholesky"

        def fit(self, x: Any, y: Any, sample_weight: Any = None) -> Any:
            return SimpleNamespace(predict=("sklearn", self.C, x, y))

    def loop(train: Any, at: Any, of: Any, count: int) -> Any:
        assert (said(at, of), count) == (said(x, y), 25)
        made: Any = train("xx", "yy") if callable(train) else train
        name, *settings = made
        assert settings == ([10.0, "xx", "yy"] if name == "sklearn" else [10.0])
        return ~kept if name in wrong else kept

    def best(functions: Any, repeats: int) -> dict[str, float]:
        given.update(functions)
        assert repeats == 3
        return {"fit": 2.0, "sklearn": 8.0, "numpy": 5.0, "gradient": 7.0, "restarts": 12.0}

    limits = []
    same = SimpleNamespace(jit=lambda f: f, value_and_grad=lambda f: f)
    put(
        monkeypatch, defense_speed, TABLES={"house": lambda: OneSplit(TARGETS)}, jax=same,
        b_flip=lambda y: 2 - y, Ridge=lambda strength: strength, Trim=Trimmed, loop=loop, best=best,
        by_numpy=lambda alpha: ("numpy", alpha), linear_model=SimpleNamespace(Ridge=Ridge),
    )  # fmt: skip
    real = defense_speed.threadpool_limits
    put(monkeypatch, defense_speed, threadpool_limits=lambda n: limits.append(n) or real(n))
    found = defense_speed.make_rows(options, "house", 10.0)
    assert limits == [1]
    assert found["rows"] == [{
        "set": "house", "alpha": 10.0, "features": 3, "trainings": 5, "fit_ms": 2.0,
        "sklearn_ms": 8.0, "numpy_ms": 5.0, "of_sklearn": 0.25, "of_numpy": 0.4,
        "gradient_of_fit": 2.5, "restarts_ms": 12.0, "restarts_of_looped": 12 / (2 * 8),
    }]  # fmt: skip
    assert found["notes"] == ["house, alpha 10: a loop ended with other rows"] * len(wrong)
    for name, restarts in (("fit", 0), ("restarts", 7)):
        model = given[name]()
        assert model.trim.of == (10.0 / 25, 0.2, restarts)
        assert words(model.data) == said([(x, y)])
    assert given["gradient"]() == pytest.approx(np.mean((x[:, 0] + 0.4 - y) ** 2))
    for name in ("sklearn", "numpy"):
        np.testing.assert_array_equal(given[name](), ~kept if name in wrong else kept)


def test_peers_train_on_poison_and_err_on_test_rows(monkeypatch) -> None:
    """Huber's loss at the best of its deltas."""
    test, poison = TARGETS.test, XY(jnp.full((4, 3), 0.5), jnp.full(4, 0.25))
    order = np.random.default_rng(0).permutation(29)
    x = np.concatenate([TARGETS.train.x, poison.x])[order]
    y = np.concatenate([TARGETS.train.y, poison.y])[order]
    offs = {0.01: 0.5, 0.02: 0.375, 0.05: -0.25, 0.1: 0.3125, 0.2: 0.75}
    given: list[Any] = []

    class Peer:
        def __init__(self, *settings: Any, off: float = 0.0, **named: Any):
            self.settings, self.off = (*settings, *sorted(named.items())), off

        def fit(self, at: Any, of: Any) -> Any:
            assert said(at, of) == said(x, y)
            given.append(self.settings)
            return self

        def predict(self, at: Any) -> Any:
            assert said(at) == said(test.x)
            return test.y + self.off

    def huber(strength: float, delta: float) -> Any:
        given.append(strength)
        peer = Peer(off=offs[delta])
        return SimpleNamespace(fit=lambda data: SimpleNamespace(
            model=SimpleNamespace(decision=peer.fit(data.x, data.y).predict)))  # fmt: skip

    twin = SimpleNamespace(theirs=lambda strengths: ("ridge", strengths.alpha))
    put(monkeypatch, _trim_on_table, Huber=huber, REGRESSIONS={"ridge": twin},
        linear_model=SimpleNamespace(
            RANSACRegressor=lambda *given, **settings: Peer(*given, off=0.125, **settings),
            TheilSenRegressor=lambda **settings: Peer(off=-1.5, **settings)))  # fmt: skip
    found = _trim_on_table.peers(5.8, TARGETS, poison)
    assert found == pytest.approx({
        "huber_test_mse": 0.0625, "ransac_test_mse": 0.015625, "theil_sen_test_mse": 2.25,
    })  # fmt: skip
    assert given[:10:2] == pytest.approx([0.2] * 5)
    assert given[10] == (("ridge", 5.8), ("min_samples", 0.5), ("random_state", 0))
    assert given[11] == (("max_subpopulation", 50), ("random_state", 0))


def test_cells_of_trim_are_of_what_it_was_told(monkeypatch) -> None:
    poison = XY(jnp.full((5, 3), 0.5), jnp.full(5, 0.25))
    mixed = Data(
        np.concatenate([TARGETS.train.x, poison.x]), np.concatenate([TARGETS.train.y, poison.y])
    )
    roles = {words(part): name for name, part in (
        ("mixed", mixed), ("train", TARGETS.train), ("held", TARGETS.validation),
        ("test", TARGETS.test),
    )}  # fmt: skip

    def outcome(learner: Any, trim: Any, data: Data, clean: int, held: Data, test: Data) -> Any:
        assert (clean, roles[words(held)], roles[words(test)]) == (25, "held", "test")
        of, share, restarts = trim.of
        key = round(learner, 9), round(of, 9), round(share, 9), restarts, roles[words(data)]
        return SimpleNamespace(**{name: said(name, key) for name in Outcome._fields})

    put(
        monkeypatch, _trim_on_table, outcome=outcome, Trim=Trimmed, Ridge=float,
        peers=lambda alpha, parts, bad: {"peers": said(alpha, words(*parts), words(bad))},
    )  # fmt: skip
    options = _trim_on_table.Options(restarts=9)
    found = _trim_on_table.verdicts(options, TARGETS, poison, 0.75)
    share, strength, bare = 1 / 6, round(0.75 / 30, 9), round(0.75 / 25, 9)

    def of(name: str, times: float = 1, restarts: int = 0) -> float:
        return said(name, (strength, strength, round(times * share, 9), restarts, "mixed"))

    clean = bare, bare, round(share, 9), 0, "train"
    assert found == {
        "alpha": 0.75, "clean_test_mse": said("plain", clean),
        "trim_clean_test_mse": said("trimmed", clean), "test_mse": of("plain"),
        "trim_test_mse": of("trimmed"), "restarts_test_mse": of("trimmed", restarts=9),
        "poison_removed": of("removed"), "clean_lost": of("lost"),
        "trim_low_test_mse": of("trimmed", 0.5), "trim_high_test_mse": of("trimmed", 1.5),
        "peers": said(0.75, words(*TARGETS), words(poison)),
    }  # fmt: skip


@pytest.mark.parametrize(("strength", "alpha"), [("paper", 12.5), ("cross-validated", 0.25)])
def test_filed_poison_meets_the_split_that_it_was_made_for(strength, alpha, monkeypatch) -> None:
    theirs = XY(jnp.full((5, 3), 0.5), jnp.full(5, 0.125))
    path = Path("folder") / "poison_house_ridge_3_more.npz"
    parts = {Path("folder") / "house_3.npz": TARGETS}
    put(
        monkeypatch, _trim_on_table, filed_poison=lambda of: {path: theirs}[of],
        filed_parts=lambda of: parts[of], PAPER=12.5,
        cross_validated=lambda given: 0.25 if given is TARGETS else None,
        verdicts=lambda *given: {"found": (given[1] is TARGETS, words(given[2]), given[3])},
    )  # fmt: skip
    found = _trim_on_table.make_filed(_trim_on_table.Options(), path, strength)
    assert found == {"rows": [{
        "attacker": "filed", "file": path.stem, "strength": strength, "rate": 0.17,
        "found": (True, words(theirs), alpha),
    }]}  # fmt: skip


def test_an_attack_climbs_on_validation_rows_against_its_victim(monkeypatch) -> None:
    put(
        monkeypatch, _ridge_behind_trim,
        indiscriminate=lambda x, y, loss: ("goal", words(Data(x, y)), loss),
        Squares=lambda: "squares", compose=lambda *given: given,
        Recipe=lambda *given: SimpleNamespace(climb=lambda: SimpleNamespace(z=given)),
    )  # fmt: skip
    train, held = (Data(part.x, part.y) for part in (TARGETS.train, TARGETS.validation))
    found: Any = _ridge_behind_trim.attack("victim", "reach", train, held, "start", 8)  # pyright: ignore
    (victim, reach, goal, rows), *others = found
    assert (victim, reach, rows is train) == ("victim", "reach", True)
    assert goal == ("goal", words(held), "squares")
    assert others == ["start", _ridge_behind_trim.ASCENT, 8]


@pytest.mark.parametrize("attack", ["insert", "not-moved", "random-flips", "flips"])
def test_attacks_of_the_arena_are_called_by_name(attack, monkeypatch) -> None:
    put(
        monkeypatch, _arena_attacks, inserted=lambda *given: ("insert", *given),
        not_moved=lambda *given: ("not-moved", *given),
        flipped=lambda *given, chance: ("random-flips" if chance else "flips", *given),
    )  # fmt: skip
    given = ("field", "victim", "plain")
    kept = {"insert": 2, "not-moved": 1}.get(attack, 3)
    assert _arena_attacks.made(attack, *given) == (attack, *given[:kept])  # pyright: ignore


def test_the_arena_s_baseline_is_an_undefended_learner_of_its_field(monkeypatch) -> None:
    options = arena.Options(data="breast-cancer", train=30, validation=8, test=9, seeds=2,
                            attacks=("insert", "not-moved"))  # fmt: skip
    twin = SimpleNamespace(ours=lambda strengths, rows: ("plain", strengths, rows))
    put(monkeypatch, _arena_cells, CLASSIFIERS={"svm": twin}, DEFAULT="default",
        made=lambda name, field, *learners: (name, field.clean, *learners),
        judge=lambda field, victim: lambda rows: ("judged", victim, rows))  # fmt: skip
    plain = ("plain", "default", 30)
    found = _arena_cells.baseline(SimpleNamespace(options=options, clean="clean"), "svm")  # pyright: ignore
    made = {name: (name, "clean", plain, plain) for name in options.attacks}
    assert found == (
        plain, ("judged", plain, "clean"), made,
        {name: ("judged", plain, rows) for name, rows in made.items()},
    )  # fmt: skip
    for name in ("spambase", "breast_cancer"):
        monkeypatch.setattr(
            arena, name,
            lambda name=name: SimpleNamespace(split=lambda *given: (name, *given)),
        )  # fmt: skip
    put(monkeypatch, arena, Field=lambda of, parts: (of, parts), baseline=lambda *given: given,
        meet=lambda *given: list(given))  # fmt: skip
    for data, table in (("breast-cancer", "breast_cancer"), ("spam", "spambase")):
        of = arena.Options(data=data, train=30, validation=8, test=9, seeds=2)  # pyright: ignore
        field = of, [(table, 30, 8, 9, seed) for seed in (0, 1)]
        found = arena.make_rows(of, "svm", "trim")
        assert found == {"rows": [field, "svm", "trim", (field, "svm")]}
