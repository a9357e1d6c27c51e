"""RONI against attack mails: which mails, filters and settings its rows are of."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from roles import OneSplit, drawn
from saying import put, said

from benchmarks.data import Parts, Table
from benchmarks.experiments.defenses import roni_spam
from benchmarks.experiments.defenses._token_filter import TokenFilter
from bilevel import Data

pytestmark = pytest.mark.stand_ins
LABELLED = drawn()


def test_mails_of_spambase_say_which_words_they_have(monkeypatch) -> None:
    x = np.tile([0.0, 0.25, 0.5], (4, 20))[:, :57]
    table = Table(x, np.ones(4), tuple(f"name {i}" for i in range(57)))
    put(monkeypatch, roni_spam, spambase=lambda: table, enron=lambda words: ("enron", words))
    found = roni_spam.mails(roni_spam.Options())
    np.testing.assert_array_equal(found.x, np.tile([0.0, 1.0, 1.0], (4, 18)))
    np.testing.assert_array_equal(found.y, table.y)
    assert found.names == table.names[:54]
    assert roni_spam.mails(roni_spam.Options(data="enron", words=17)) == ("enron", 17)


def test_filters_are_as_strong_as_on_all_training_mails(monkeypatch) -> None:
    twin = SimpleNamespace(ours=lambda strengths, rows: (strengths.C, rows))
    monkeypatch.setattr(roni_spam, "CLASSIFIERS", {"logistic": twin})
    options = roni_spam.Options(C=0.25, train=40)
    assert roni_spam.filter_of("logistic", options) == (0.25, 40)
    assert isinstance(roni_spam.filter_of("tokens", options), TokenFilter)


def test_a_filter_loses_ham_of_the_test_mails() -> None:
    """Of mails in doubt, none is right."""
    x = np.array([3.0, 1, 2, 4, 0])[:, None] / 4
    test = Table(x, np.array([1.0, 1, -1, -1, -1]), ("a",))

    def fit(data: Any) -> Any:
        assert data == "mails"
        return SimpleNamespace(model=SimpleNamespace(decision=lambda x: x[:, 0] - 0.5))

    found = roni_spam.lost(SimpleNamespace(fit=fit), "mails", test)  # pyright: ignore
    assert found == (2 / 3, 3 / 5)


def test_attack_mails_are_all_words_or_the_attacker_s_ham_or_it_moved(monkeypatch) -> None:
    ham = LABELLED.validation.x[LABELLED.validation.y < 0][:3]
    given: list[Any] = []

    def attack(clean: Data, start: Any, labels: Any, held: Data, *others: Any, **settings: Any):
        given.append([clean.x, clean.y, start, labels, held.x, held.y, *others])
        given.append(settings)
        return SimpleNamespace(climb=lambda: SimpleNamespace(z=start + 0.375))

    monkeypatch.setattr(roni_spam, "poison_classifier", attack)

    def made(kind: str) -> np.ndarray:
        return roni_spam.poison(kind, 3, LABELLED, "filter", 7)  # pyright: ignore

    assert made("dictionary").tolist() == [[1, 1, 1]] * 3
    np.testing.assert_array_equal(made("not-moved"), ham)
    assert not given
    np.testing.assert_array_equal(made("optimised"), np.round(ham + 0.375))
    train, held, _ = LABELLED
    expected = [train.x, train.y, ham, np.ones(3), held.x, held.y, "filter"]
    assert said(given[0]) == said(expected)
    assert given[1] == {"steps": 7, "ascent": roni_spam.ASCENT}


class Trial:
    """RONI that says what it was made of."""

    train, validation = 6, 5

    def __init__(self, learner: Any, draws: int, tolerance: Any = None):
        self.learner, self.draws = learner, draws
        self.tolerance = tolerance

    def inspect(self, data: Any) -> Any:
        return {"kept": 2 * data.x, "score": data.y}


def test_what_roni_makes_of_mails_is_compiled_as_it_is() -> None:
    trial: Any = Trial("filter", 3)
    found: Any = roni_spam.inspected(trial, Data(np.ones((2, 1)), np.array([3.0, 4.0])))
    assert said(sorted(found)) == said(["kept", "score"])
    assert said(found["kept"], found["score"]) == said([[2.0], [2.0]], [3.0, 4.0])


def test_the_tolerance_is_of_mails_that_nobody_trains_on(monkeypatch) -> None:
    options = roni_spam.Options(shares=(0.1,), optimised=0.2, keep=0.75, draws=4)
    own = LABELLED.validation

    def inspected(trial: Any, data: Any) -> Any:
        assert (trial.learner, trial.draws, trial.tolerance) == ("filter of logistic", 4, None)
        assert said(data.x, data.y) == said(own.x, own.y)
        return SimpleNamespace(score=jnp.arange(5.0) ** 2)

    put(
        monkeypatch, roni_spam, mails=lambda of: ("mails", of), Roni=Trial, inspected=inspected,
        dealt=lambda table, of, split: (("parts", table, of, split), own),
        filter_of=lambda kind, of: f"filter of {kind}",
        _attacked=lambda attack, share, parts, defended, of, split: {
            "found": (parts, defended.learner, defended.draws, float(defended.tolerance), split)
        },
    )  # fmt: skip
    found = roni_spam.make_rows(options, "logistic", 2)
    of = ("parts", ("mails", options), options, 2), "filter of logistic", 4, 9.0, 2
    assert found == {"rows": [
        {"learner": "logistic", "attack": attack, "share": share, "split": 2, "found": of}
        for attack, share in (
            ("dictionary", 0.0), ("dictionary", 0.1), ("optimised", 0.2), ("not-moved", 0.2),
        )
    ]}  # fmt: skip


def test_cells_of_an_attack_are_of_clean_mails_that_it_leaves(monkeypatch) -> None:
    """With RONI and without, in this order; shuffled with their labels."""
    options = roni_spam.Options(train=25, steps=6)
    kept = Data(np.full((3, 3), 0.5), np.ones(3))
    given: list[Any] = []

    def inspected(defended: Any, data: Data) -> Any:
        given.append(data)
        return SimpleNamespace(kept=np.arange(25) > 0, data=kept)

    def poison(kind: str, many: int, parts: Parts, *others: Any) -> np.ndarray:
        assert (kind, many, others) == ("optimised", 5, ("filter", 6))
        assert said(parts.train.x, parts.train.y) == said(
            LABELLED.train.x[:20], LABELLED.train.y[:20]
        )
        return np.full((5, 3), 7.0)

    def lost(of: Any, data: Data, test: Table) -> tuple[float, float]:
        assert (of, test is LABELLED.test) == ("filter", True)
        return (0.1, 0.2) if data is given[0] else (0.3, 0.4) if data is kept else (0, 0)

    put(
        monkeypatch, roni_spam, poison=poison, inspected=inspected, lost=lost,
        timed=lambda call: (call(), 5.0, 0.75),
    )  # fmt: skip
    defended = Trial("filter", 4, 0.125)
    cells = roni_spam._attacked("optimised", 0.2, LABELLED, defended, options, 3)  # pyright: ignore
    order = np.random.default_rng([1, 3]).permutation(25)
    x = np.concatenate([LABELLED.train.x[:20], np.full((5, 3), 7.0)])[order]
    y = np.concatenate([LABELLED.train.y[:20], np.ones(5)])[order]
    assert said(given[0].x, given[0].y) == said(x, y)
    told = ("ham_lost_err", "test_err", "ham_lost_roni_err", "test_roni_err")
    assert [cells[name] for name in told] == [0.1, 0.2, 0.3, 0.4]
    assert (cells["cpu_seconds"], cells["tolerance"]) == (0.75, 0.125)


def test_roni_is_timed_beside_as_many_trainings_of_scikit_learn(monkeypatch) -> None:
    """Of both classes, with the mail and without, judged on mails that are neither."""
    options = roni_spam.Options(train=25, draws=2, C=0.5)
    now, fitted, made = [0.0], [], []
    x, y = LABELLED.train.x, LABELLED.train.y

    class Model:
        def __init__(self, C: float):
            made.append(C)

        def fit(self, x: Any, y: Any) -> "Model":
            now[0] += 0.5
            fitted.append((len(y), set(y), x))
            return self

        def predict(self, at: Any) -> None:
            now[0] += 0.25
            seen = np.concatenate([fitted[-1][2], at])
            fitted[-1] = (*fitted[-1][:2], len(at), set(map(tuple, seen)) <= set(map(tuple, x)))

    seconds = iter((90.0, 8.0, 4.0, 6.0))

    def timed(call: Any) -> Any:
        call()
        return None, 1.0, next(seconds)

    def inspected(defended: Any, data: Any) -> None:
        assert (defended.learner, defended.draws) == ("filter of logistic", 2)
        assert said(data.x, data.y) == said(x, y)

    put(
        monkeypatch, roni_spam, Roni=Trial, timed=timed, inspected=inspected,
        LogisticRegression=Model, filter_of=lambda kind, of: f"filter of {kind}",
        time=SimpleNamespace(process_time=lambda: now[0]), TIMED=10,
    )  # fmt: skip
    told = roni_spam._speed(OneSplit(LABELLED), options)  # pyright: ignore
    assert made == [pytest.approx(0.5 * 25 / 6)]
    assert fitted == [(6, {-1.0, 1.0}, 5, True), (7, {-1.0, 1.0}, 5, True)] * 20
    theirs = 0.75 * 40 * 25 / 10
    assert told == (
        "RONI on 25 mails, 100 trainings of the logistic filter: 4 CPU s, "
        f"{theirs / 4:.0f} times faster than scikit-learn in a loop ({theirs:.3g} s, from 10 mails)"
    )
