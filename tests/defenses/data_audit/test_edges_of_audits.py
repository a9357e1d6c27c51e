"""Edges of an audit: strengths of each pair of learners, first lines, rows shown, text escaped."""

import csv
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Lasso, LogisticRegression, Ridge, RidgeClassifier
from sklearn.svm import LinearSVC

from bilevel.losses import CrossEntropy, Hinge, Logistic, Squares
from defenses.data_audit import page as page_module
from defenses.data_audit.influence import other_labels
from defenses.data_audit.ingest import ingest
from defenses.data_audit.judge import Poison, Rows
from defenses.data_audit.match import FEW_UNKNOWNS, KERNEL_ROWS, match
from defenses.data_audit.reading import TableError, _require_even
from defenses.data_audit.shown import SHOWN, worst_rows

SHAPE = 100, 4


@pytest.mark.parametrize(
    ("learner", "classes", "field", "strength", "loss"),
    [
        (LogisticRegression(C=4.0), 2, "l2", 1 / 200, Logistic),
        (LogisticRegression(C=4.0), 5, "l2", 1 / 200, CrossEntropy),
        ("logistic", 3, "l2", 1 / 50, CrossEntropy),
        (Ridge(0.5), 0, "l2", 0.01, Squares),
        (RidgeClassifier(0.5), 2, "l2", 0.01, Logistic),
        (LinearSVC(C=3.0), 2, "C", 3.0, Hinge),
        (Lasso(0.5), 0, "l1", 0.25, Squares),
        ("lasso", 0, "l1", 1e-3, Squares),
        ("ridge", 0, "l2", 1 / 50, Squares),
    ],
)
def test_ours_is_as_strong_as_the_twin_on_rows_of_a_total_weight(
    learner, classes, field, strength, loss
) -> None:
    """scikit-learn adds up losses: of 50 rows a penalty is 1 / 50 of its own, or 1 / (50 C)."""
    task: Any = "classes" if classes else "numbers"
    found = match(learner, task, classes, SHAPE, spread=2.0)
    ours: Any = found.ours(50.0)
    np.testing.assert_allclose(np.asarray(getattr(ours, field)), strength)
    assert getattr(ours, "classes", classes) == classes
    assert type(found.loss) is loss
    assert type(found.twin()) is type(found.judge) or not isinstance(learner, str)


def test_a_dense_hessian_is_for_few_unknowns_and_twice_as_many_rows() -> None:
    def solver(classes: int, rows: int, features: int) -> str:
        twin: Any = match("logistic", "classes", classes, (rows, features)).twin()
        return twin.solver

    dense, other = "newton-cholesky", "newton-cg"
    assert [solver(2, rows, 4) for rows in (9, 8)] == [dense, other]
    assert [solver(5, rows, 4) for rows in (41, 40)] == [dense, other]
    assert [solver(2, 10**6, FEW_UNKNOWNS + k) for k in (0, 1)] == [dense, other]
    names = [type(match("svm", "classes", 2, (KERNEL_ROWS + k, 4)).twin()) for k in (0, 1)]
    assert [name.__name__ for name in names] == ["SVC", "LinearSVC"]


def test_columns_without_a_name_are_no_twins() -> None:
    def read(text: str, separator: str = ",") -> None:
        lines = text.splitlines()
        _require_even(csv.reader(lines, delimiter=separator), separator)

    for whole in (",,a,y\n1,2,3,x\n", ",\n1,2\n\n3,4\n", "a\n1\n", "a;b\ty\n1\t2\n"):
        read(whole, "\t" if "\t" in whole else ",")
    for twice, name in ((",a,,a,y\n", "a"), ("b,a,b,a\n", "b"), ("y,a,y\n1,2,3\n", "y")):
        with pytest.raises(TableError, match=f"two columns are named '{name}' in the first line"):
            read(twice)
    with pytest.raises(TableError, match=r"parted by '\|', expected ','"):
        read("a|b\n1|2\n")
    with pytest.raises(csv.Error, match="expected 2 values as in the first line, got 3 in line 4"):
        read(",a\n1,2\n\n1,2,3\n")
    with pytest.raises(pd.errors.EmptyDataError):
        read("\n,\n\n")


def test_the_worst_rows_have_numbers_of_the_users_table() -> None:
    """The first rows have no label, and are not used."""
    n, out = 40, 5
    labels = np.where(np.arange(n) % 2, "yes", "no").astype(object)
    labels[:out] = None
    frame = pd.DataFrame({"a": np.arange(n) * 3.0, "kind": ["p", "q", "p", "p"] * 10, "y": labels})
    table = ingest(frame, "y")
    like = np.array([7, 3, 20, 0, 34, 9, 11, 2, 30, 5, 6, 8])
    x = table.encoding.x[like].copy()
    x[:, np.any(x % 1 != 0, axis=0)] = 0.5
    added = Rows(x, -table.encoding.y[like], np.ones(12), like)
    found = worst_rows(table, Poison("sought", added))
    assert len(found) == SHOWN < 12
    for row, place in zip(found, like, strict=False):
        number = place + out
        assert row.number == number
        assert row.why == f"row {number} with another label, moved"
        assert row.value == pytest.approx(abs(place / (n - out - 1) - 0.5))
        assert row.cells["kind"] == frame["kind"][number]
        assert row.cells["a"] == pytest.approx(1.5 * (out + n - 1))
        assert row.cells["y"] == ("no" if number % 2 else "yes")
    assert worst_rows(table, None) == ()
    changed = np.array([1]), np.array([1.0])
    assert worst_rows(table, Poison("flips", changed=changed)) == ()


def test_the_other_label_is_the_other_class_the_least_likely_one_or_the_farther_end() -> None:
    decisions = np.array([[0.1, 3.0, -2.0], [-0.5, 0.2, 0.3], [5.0, 4.0, 4.5]])

    def fit(x: np.ndarray, y: np.ndarray) -> Any:
        asked.append((x, y))
        return SimpleNamespace(decision_function=lambda x: decisions, classes_=np.array([0, 1, 7]))

    asked: list[Any] = []
    matched: Any = SimpleNamespace(twin=lambda: SimpleNamespace(fit=fit))
    x = np.zeros((3, 1))
    for classes, y, other in (
        (0, [0.2, 0.75, 1.0], [1, 0, 0]), (2, [1, -1, 1], [-1, 1, -1]), (3, [0, 1, 7], [7, 0, 1]),
    ):  # fmt: skip
        rows = Rows(x, np.array(y), np.ones(3), np.arange(3))
        np.testing.assert_array_equal(other_labels(matched, rows, classes), other)
        assert len(asked) == (classes == 3)
    assert asked[0][0] is x


def test_notes_are_escaped_and_two_hundred_at_most() -> None:
    def shown(*notes: str) -> str:
        report: Any = SimpleNamespace(notes=notes)
        return page_module._notes(report)

    assert shown() == ""
    text = shown("Column '<b>&' is a copy.", "Another.")
    assert text.endswith(
        "<ul><li>Column &#x27;&lt;b&gt;&amp;&#x27; is a copy.</li><li>Another.</li></ul>"
    )
    assert shown(*(f"{i}." for i in range(300))).count("<li>") == 200
