"""Tables as people have them: made ready, and told how, or refused in a sentence."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defenses.data_audit import ingest as ingest_module
from defenses.data_audit.audit import _groups
from defenses.data_audit.columns import column_of
from defenses.data_audit.ingest import MOST_FEATURES, ingest, strata_of
from defenses.data_audit.reading import TableError, read, stratified
from defenses.data_audit.shown import _whole

N = 60
RNG = np.random.default_rng(6)


def table(**columns) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    usual = {"size": rng.normal(size=N), "kind": rng.choice(["a", "b", "c"], N)}
    return pd.DataFrame({**usual, "y": np.where(rng.random(N) < 0.5, "yes", "no"), **columns})


def notes(**columns) -> str:
    return " ".join(ingest(table(**columns), "y").notes)


HOSTILE = {
    "no rows": (table().iloc[:0], "y", "0 rows"),
    "no columns": (pd.DataFrame(index=range(9)), "y", "0 columns"),
    "one row": (table().iloc[:1], "y", "got 1 usable row, expected at least 20"),
    "small classes": (table(y=[f"c{i // 3}" for i in range(N)]), "y", "no class of 'y' has 5 rows"),
    "few rows": (table().iloc[:19], "y", "19 usable rows"),
    "one class": (table(y="yes"), "y", "holds 'yes'"),
    "constant target": (table(y=3.5), "y", "holds '3.5'"),
    "all missing": (table(y=np.nan), "y", "every value of 'y' is missing"),
    "nothing but missing": (table(size=np.nan, kind=None), "y", "no column that varies"),
    "target absent": (table(), "z", "no column 'z'; the columns are 'size', 'kind', 'y'"),
    "only a target": (table()[["y"]], "y", "no column besides 'y'"),
    "target of dates": (table(y=pd.Timestamp("2020")), "y", "dtype datetime64"),
    "target of names": (table(y=[f"id{i}" for i in range(N)]), "y", "60 classes"),
    "infinite target": (table(y=np.full(N, np.inf)), "y", "missing or infinite"),
    "columns of one name": (
        pd.concat([table(), table()[["size"]]], axis=1), "y", "two columns are named 'size'",
    ),
    "no table": ([1, 2], "y", "got a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_audited_is_one_sentence(name: str) -> None:
    source, target, sentence = HOSTILE[name]
    with pytest.raises(TableError, match=sentence) as caught:
        ingest(read(source), target)
    assert "\n" not in str(caught.value)


FILES = {
    "a bad line": ("a,b,y\n1,2,x\n1,2,3,4,5\n", "t.csv", "broken line .*line 3"),
    "a comma at each end": ("y,a,b\nx,1,2,\nz,3,4,\n", "t.csv", "3 values .*4 in line 2"),
    "a value too many in each line": ("y,a\nx,1,2\nz,3,4\n", "t.csv", "2 values .*3 in line 2"),
    "a short line": ("a,b,y\n1,2,x\n\n1,2\n", "t.csv", "3 values .*2 in line 4"),
    "another separator": ("a;b;y\n1,5;2;x\n", "t.csv", "by ';', expected ','"),
    "no archive": ("a,y\n1,2\n", "t.csv.gz", r"Not a gzipped file"),
    "columns of one name": ("a,a,y\n1,2,x\n", "t.csv", "two columns are named 'a'"),
    "an empty file": ("", "t.csv", "is empty"),
    "an odd ending": ("a,y\n1,2\n", "t.xlsx", "is not one of"),
    "no Parquet": ("a,y\n1,2\n", "t.parquet", "Parquet"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_one_sentence(name: str, tmp_path: Path) -> None:
    text, file, sentence = FILES[name]
    (tmp_path / file).write_text(text)
    with pytest.raises(TableError, match=sentence):
        read(tmp_path / file)
    with pytest.raises(TableError, match="there is no file"):
        read(tmp_path / "other.csv")
    with pytest.raises(TableError, match="is a folder"):
        read(tmp_path)


def test_a_file_that_is_not_utf_8_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a,y\nä,1\n".encode("latin-1"))
    with pytest.raises(TableError, match=r"not UTF-8 .*0xe4"):
        read(tmp_path / "t.csv")


def test_a_packed_file_with_a_mark_quotes_and_gaps_is_read(tmp_path: Path) -> None:
    text = '\ufeffa, b,y\n1,"2,\n3",x\n\n,,z\n'
    with gzip.open(tmp_path / "t.csv.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    frame = read(tmp_path / "t.csv.gz")
    assert list(frame) == ["a", "b", "y"]
    assert frame["b"].tolist()[0] == "2,\n3"
    assert frame["y"].tolist() == ["x", "z"]


def test_odd_columns_are_mended_or_dropped_and_told() -> None:
    rng = np.random.default_rng(1)
    gaps = np.where(np.arange(N) < 4, np.nan, rng.integers(0, 9, N).astype(float))
    assert "4 missing values were set to the median" in notes(gaps=gaps)
    assert "'empty' holds no value: dropped" in notes(empty=np.nan)
    assert "'same' has a single value: dropped" in notes(same=1)
    assert "'number' numbers the rows (an id): dropped" in notes(number=np.arange(N))
    assert "an id" in notes(number=np.random.default_rng(0).permutation(N) + 90_000)
    assert "an id" not in notes(number=np.arange(N) ** 2)  # no row's number
    assert "60 different texts" in notes(name=[f"n{i}" for i in range(N)])
    assert "2 infinite values" in notes(far=[np.inf, -np.inf, *rng.normal(size=N - 2)])
    assert "mixed types: 2 values that are no number ('?', 'x')" in notes(
        odd=["?", "x", *range(N - 2)]
    )
    size = [f"{v:.3f}" for v in rng.normal(size=N)]
    few = notes(odd=[*["?", "low"] * 6, *size[12:]])
    assert "12 values that are no number ('?', 'low'), taken as missing" in few
    assert "dropped" not in few
    many = notes(odd=[*[f"{v} m" for v in range(12)], *size[12:]])
    assert "mostly numbers, 12 of 60 values are not ('0 m', '1 m', '2 m', ...)" in many
    assert "60 different texts" in many
    commas = notes(odd=["1,234.5", "1,5", *size[2:20], *(s.replace(".", ",") for s in size[20:])])
    assert "numbers written with commas ('1,234.5', '1,5'," in commas
    assert "median, 2020-01-0" in notes(day=[None, *pd.date_range("2020", periods=9), None] * 5
                                        + [None] * 5)  # fmt: skip
    assert "of mixed types (bool, str)" in notes(odd=[True, "x"] * (N // 2))
    assert "is time" in notes(day=pd.date_range("2020", periods=N))
    assert "dropped" not in notes(day=pd.date_range("2020", periods=N))
    assert "is time" in notes(day=[f"2020-01-{i % 28 + 1:02d}" for i in range(N)])
    assert "looks like time" in notes(year=rng.integers(1990, 2000, N))
    assert "repeats 'size'" in notes(copy=table()["size"])
    assert "missing values count as a category" in notes(kind=["a", "b", None] * (N // 3))


def test_integers_stay_integers_and_poison_is_given_back_in_the_users_units() -> None:
    frame = table(
        many=[3, None, *([5] * 29), *([9] * 29)],
        day=pd.date_range("2020", periods=N),
        kind=["a", None, "ü"] * (N // 3),
    )
    ready = ingest(frame, "y")
    x, like = ready.encoding.x, np.arange(N)
    back, labels = ready.decoded(x, ready.encoding.y, like)
    assert list(labels) == list(frame["y"])
    assert back["many"].dtype == frame["many"].dtype
    assert back["many"][0] == 3
    assert back["many"].dropna().mod(1).eq(0).all()
    assert (back["day"] == frame["day"]).all()
    assert back["kind"].isna().equals(frame["kind"].isna())
    assert list(back["kind"].dropna()) == list(frame["kind"].dropna())


def test_ten_thousand_categories_become_few_and_poison_writes_one_that_exists() -> None:
    n = 30_000
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"word": [f"w{i}" for i in rng.integers(0, 10_000, n)],
                          "y": rng.integers(0, 2, n)})  # fmt: skip
    ready = ingest(frame, "y")
    assert ready.encoding.x.shape == (n, 30)
    assert "rarest count as one" in " ".join(ready.notes)
    back, _ = ready.decoded(ready.encoding.x[:50], ready.encoding.y[:50], np.arange(50))
    assert set(back["word"]) <= set(frame["word"])


def test_rare_categories_are_one_that_the_commonest_of_them_stands_for() -> None:
    """Of 34 categories 29 stay; of two that are as common the one of the earlier name does."""
    counts = {f"c{i:02d}": 9 for i in range(28)} | {"b": 4, "e": 3, "d": 3, "z": 2, "a": 1, "y": 1}
    words = np.repeat([*counts], [*counts.values()])
    column = column_of(pd.Series(words, name="word"))
    assert column.values is not None
    assert column.back is not None
    kept = {name for name, count in counts.items() if count > 3}
    assert set(column.values) == kept | {"(other)"}
    assert (column.values == "(other)").sum() == 10
    back = column.back(pd.Series(["(other)", "b", "c03"]))
    assert back.tolist() == ["d", "b", "c03"]
    assert any(note.startswith("has 34 categories: the 5 rarest") for note in column.notes)


def test_texts_of_the_user_are_not_the_names_of_what_is_missing_or_rare() -> None:
    words = [*["(other)", "(missing)", None] * 10, *[f"w{i}" for i in range(30)]]
    ready = ingest(table(word=words), "y")
    back, _ = ready.decoded(ready.encoding.x, ready.encoding.y, np.arange(N))
    assert list(back["word"][:2]) == ["(other)", "(missing)"]
    assert back["word"].isna().sum() == 10
    assert (back["word"] == "(missing)").sum() == 10
    named = _groups(pd.Series(["(missing)", None, "(missing)'", "a"]))
    assert list(named) == ["(missing)", "(missing)''", "(missing)'", "a"]


@pytest.mark.parametrize(("present", "most"), [(40, 20), (50, 25), (60, 30), (30, 20)])
def test_texts_are_an_id_from_half_of_the_rows_that_have_one_and_more_than_twenty(
    present, most
) -> None:
    """Missing values are no rows with a text."""
    for different in (most, most + 1):
        text = [*(f"t{i % different}" for i in range(present)), *[None] * (N - present)]
        column = column_of(pd.Series(text, name="word"))
        dropped = f"has {different} different texts in {present} rows (an id, or free text)"
        assert (f"{dropped}: dropped" in column.notes) == (different > most)
        assert (column.values is None) == (different > most)


def test_strata_are_classes_or_fifths_whose_ends_are_in_the_lower_one() -> None:
    np.testing.assert_array_equal(strata_of(np.array([5.0, -1, 2, 5]), "classes"), [2, 0, 1, 2])
    y = np.arange(11.0)[::-1]
    fifths = [0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    np.testing.assert_array_equal(strata_of(y, "numbers"), fifths[::-1])
    np.testing.assert_array_equal(np.bincount(strata_of(RNG.random(100), "numbers")), [20] * 5)


def test_the_target_decides_the_task() -> None:
    rng = np.random.default_rng(3)
    assert ingest(table(y=rng.integers(0, 3, N)), "y").classes == ("0", "1", "2")
    assert ingest(table(y=rng.random(N) < 0.5), "y").classes == ("False", "True")
    assert ingest(table(y=rng.normal(size=N)), "y").task == "numbers"
    assert ingest(table(y=[str(v) for v in rng.normal(size=N)]), "y").task == "numbers"


def test_rows_without_target_weight_or_company_are_left_out_and_told() -> None:
    y = ["yes", "no"] * (N // 2)
    ready = ingest(table(y=["rare", None, *y[2:]], w=[1, 1, 0, *([2] * (N - 3))]), "y", "w")
    assert ready.number.size == N - 3
    assert "Left out: 2 rows without a finite target, or of weight zero" in " ".join(ready.notes)
    assert "Left out: 1 row of classes with fewer than 5 rows (rare)" in " ".join(ready.notes)
    assert ready.weight.mean() == pytest.approx(1)
    with pytest.raises(TableError, match="no weights"):
        ingest(table(w=-1), "y", "w")


@pytest.mark.parametrize("left_out", ["missing", "infinite", "weightless"])
def test_rows_that_are_left_out_do_not_count_towards_the_fewest(left_out: str) -> None:
    """Twenty of sixty rows are enough, nineteen are not, of whatever classes."""
    for usable in (19, 20):
        out = np.arange(N) >= usable
        y = np.where(out & (left_out != "weightless"), {"missing": np.nan}.get(left_out, np.inf),
                     np.arange(N) % 2 if usable == 20 else np.arange(N) // 4)  # fmt: skip
        frame = table(y=y, w=np.where(out & (left_out == "weightless"), 0.0, 1.0))
        if usable == 20:
            assert ingest(frame, "y", "w").number.tolist() == list(range(20))
            continue
        with pytest.raises(TableError, match="got 19 usable rows, expected at least 20"):
            ingest(frame, "y", "w")


@pytest.mark.parametrize("weight", [None, "w"])
def test_neither_target_nor_weights_are_features(weight) -> None:
    w = np.where(np.arange(N) % 7 == 3, 0.0, np.arange(N) + 1.0)
    ready = ingest(table(w=w), "y", weight)
    own = ["size", "kind"] if weight else ["size", "kind", "w"]
    assert list(ready.raw) == list(ready.back) == own
    assert ready.encoding.x.shape[1] == 4 + (weight is None)
    kept = w[w > 0] if weight else np.ones(N)
    np.testing.assert_allclose(ready.weight, kept / kept.mean())
    np.testing.assert_array_equal(ready.number, np.flatnonzero(w > 0) if weight else np.arange(N))


def test_a_wide_sparse_table_keeps_the_columns_that_vary() -> None:
    rng = np.random.default_rng(4)
    counts = (rng.random((N, MOST_FEATURES + 50)) < 0.3).astype(float)
    counts[:, :50] = 0
    counts[0, :50] = 1
    frame = pd.DataFrame(counts).astype(pd.SparseDtype(float, 0.0)).rename(columns=str)
    ready = ingest(read(frame.assign(y=["a", "b"] * (N // 2))), "y")
    assert "1,050 columns" in ready.notes[0]
    assert _whole(ready).shape == (N, 1_051)  # warnings are errors
    assert ready.encoding.x.shape[1] <= MOST_FEATURES
    assert "0" not in ready.back


def test_a_table_of_as_many_columns_as_are_taken_loses_none(monkeypatch) -> None:
    """Of one more the column whose values differ least often goes."""
    monkeypatch.setattr(ingest_module, "MOST_FEATURES", 3)
    frame = table(rare=np.where(np.arange(N) < 3, 1.5, 0.25), flag=np.arange(N) % 2 == 0)
    for names, kept in (
        (["size", "kind", "flag"], ["size", "kind", "flag"]),
        (["rare", "size", "kind", "flag"], ["size", "kind", "flag"]),
    ):
        ready = ingest(frame[[*names, "y"]], "y")
        assert list(ready.back) == kept
        told = [note.split(" whose")[0] for note in ready.notes]
        assert told == ([] if len(names) == 3 else ["Of 4 columns the 3"])


def test_a_stratified_sample_has_the_shares_of_the_groups() -> None:
    group = np.repeat([0, 1, 2], [600, 300, 100])
    picked = stratified(group, 100, seed=1)
    assert np.abs(np.bincount(group[picked]) - [60, 30, 10]).max() <= 1
    assert picked.size == np.unique(picked).size == 100
    assert not np.array_equal(picked, stratified(group, 100, seed=2))
