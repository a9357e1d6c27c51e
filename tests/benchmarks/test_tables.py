import gzip
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from benchmarks import data
from benchmarks.report import UsageError

HELD = os.environ.get("BILEVEL_DATA", "")
real = pytest.mark.skipif(not HELD, reason="BILEVEL_DATA is not set")

HOUSE = """Price,Area,"Zone, of town:RL",Roof:Hip,"Zone, of town:RM",Roof:Flat
0.5,0.25,1,0,0,0
1,0,0,0,1,1
"""
LOANS = """\
emp_title,emp_length,state,homeownership,annual_income,verified_income,debt_to_income,\
annual_income_joint,verification_income_joint,debt_to_income_joint,months_since_last_delinq,\
months_since_90d_late,months_since_last_credit_inquiry,num_accounts_120d_past_due,loan_purpose,\
application_type,term,interest_rate,installment,grade,sub_grade,issue_month,loan_status,\
initial_listing_status,disbursement_method,balance,paid_total,paid_principal,paid_interest,\
paid_late_fees
cook,3,NJ,RENT,90000,Verified,18.5,NA,,NA,38,NA,5,0,car,individual,60,14.5,6,C,C3,Mar,A,w,Cash,\
1,1,1,1,0
,NA,HI,OWN,1.00E+05,Not Verified,NA,120000,Verified,20.5,NA,10,NA,NA,house,joint,36,10.5,5,B,B1,\
Mar,A,w,Cash,1,1,1,1,0
nurse,0,NJ,RENT,40000,Verified,10.5,NA,,NA,NA,20,1,0,car,individual,36,6.5,4,A,A1,Mar,A,w,Cash,\
1,1,1,1,0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tiny files of every format, in a folder that `BILEVEL_DATA` names."""
    zipped = {"house-processed.csv": HOUSE, "loans_full_schema.csv": LOANS}
    for name, text in zipped.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    (tmp_path / "pharm-preproc.csv").write_text(HOUSE.replace("Price", "Dose"))
    mails = np.zeros((3, 58))
    mails[1] = np.e - 1
    mails[2] = np.e**2 - 1
    mails[:, -1] = [0, 1, 0]
    np.savetxt(tmp_path / "spambase.data", mails, delimiter=",")
    x = np.array([[1e13, 7.0], [-1.0, 7.0], [1e13, 7.0], [0.0, 7.0], [-1.0, 7.0]])
    y = np.array([0, 1, 0, 1, 1], np.uint8)
    np.savez(tmp_path / "pdf_contagio_dev.npz", X=x, y=y, features=np.array(["size", "same"]))
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def table() -> data.Table:
    x = np.tile(np.arange(20)[:, None] / 20, 3)
    return data.Table(x, np.arange(20), ("a", "b:0", "b:1"), (data.Group("b", (1, 2)),))


@pytest.mark.parametrize("load", [data.house, data.pharm])
def test_heads_tell_the_groups_and_targets_come_first(folder: Path, load) -> None:
    table = load()
    assert table.names == ("Area", "Zone, of town:RL", "Roof:Hip", "Zone, of town:RM", "Roof:Flat")
    assert table.groups == (("Zone, of town", (1, 3)), ("Roof", (2, 4)))
    assert table.y.tolist() == [0.5, 1]
    assert table.x.tolist() == [[0.25, 1, 0, 0, 0], [0, 0, 0, 1, 1]]


def test_pdf_rows_are_unique_in_order_and_squeezed(folder: Path) -> None:
    table = data.pdf_malware()
    low, high = -np.log(2), np.log1p(1e13)
    assert table.y.tolist() == [-1, 1, 1]
    np.testing.assert_allclose(table.x[:, 0], [1, 0, -low / (high - low)], atol=1e-15)
    assert table.x[:, 1].tolist() == [0, 0, 0]
    assert table.names == ("size", "same")


def test_spambase_has_57_named_columns_on_a_log_scale(folder: Path) -> None:
    table = data.spambase()
    assert len(table.names) == len(set(table.names)) == 57
    np.testing.assert_allclose(table.x, np.tile([[0], [0.5], [1]], 57), atol=1e-15)
    assert table.y.tolist() == [-1, 1, -1]


def test_breast_cancer_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    table = data.breast_cancer()
    assert table.x.shape == (569, 30)
    assert (table.x.min(), table.x.max(), np.sum(table.y > 0)) == (0, 1, 357)


def test_a_frame_of_loans_is_mixed_whole_and_without_leaks(folder: Path) -> None:
    frame = data.loans_frame()
    assert frame.columns[0] == "interest_rate"
    assert not {"grade", "sub_grade", "installment", "paid_total", "emp_title"} & {*frame.columns}
    assert frame["emp_length"].tolist() == [3, 0, 0]
    assert frame["months_since_last_delinq"].tolist() == [38, 38, 38]
    assert frame["months_since_last_credit_inquiry"].tolist() == [5, 5, 1]
    assert frame["annual_income_joint"].tolist() == [90000, 120000, 40000]
    assert frame["debt_to_income"].tolist() == [18.5, 14.5, 10.5]
    assert frame["debt_to_income_joint"].tolist() == [18.5, 20.5, 10.5]
    assert frame["verification_income_joint"].tolist() == ["Verified"] * 3
    assert isinstance(frame["state"].dtype, pd.CategoricalDtype)
    assert frame["term"].tolist() == ["60", "36", "36"]
    assert frame["months_since_90d_late"].dtype == np.int64
    assert not frame.isna().any(axis=None)


def test_loans_as_numbers_have_a_column_for_every_category(folder: Path) -> None:
    table = data.loans()
    assert table.y.tolist() == [1, 0.5, 0]
    groups = {group.name: group.columns for group in table.groups}
    assert len(groups) == 8
    assert [table.names[j] for j in groups["state"]] == ["state:HI", "state:NJ"]
    assert table.x[:, groups["state"]].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert {tuple(table.x[:, c].sum(1)) for c in groups.values()} == {(1, 1, 1)}
    assert table.x[:, table.names.index("annual_income")].tolist() == [5 / 6, 1, 0]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (pd.DataFrame({"a": [1, 2]}), "target: got 'y'"),
        (pd.DataFrame({"y": [1, 2], "a": ["u", "v"]}), "column a holds str, expected numbers or"),
        (pd.DataFrame({"y": [1, 2], "a": [1, None]}), "column a lacks values"),
    ],
)
def test_frames_that_cannot_be_encoded_are_refused(frame, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        data.encoded(frame, "y")


def test_parts_are_disjoint_and_repeatable(table: data.Table) -> None:
    first, again, other = (table.split(8, 5, 6, seed) for seed in (1, 1, 2))
    assert [len(part.y) for part in first] == [8, 5, 6]
    rows = np.concatenate([part.y for part in first])
    assert len(set(rows)) == 19
    assert np.array_equal(rows, np.concatenate([part.y for part in again]))
    assert not np.array_equal(rows, np.concatenate([part.y for part in other]))
    assert np.array_equal(first.test.x[:, 0] * 20, first.test.y)
    assert first.validation.groups == table.groups
    for sizes in ((15, 5, 1), (-1, 5, 5)):
        with pytest.raises(UsageError, match=r"train, validation, test: got .* 20 in all"):
            table.split(*sizes)


def test_parts_of_measured_columns_are_scaled_by_their_training_rows(table: data.Table) -> None:
    """Other rows may lie outside; a column that is constant in training is shifted only."""
    x = np.column_stack([table.x[:, 0], table.y < 5])
    rows = np.array([5, 9, 7]), np.array([3, 6]), np.array([19, 8])
    for measured in (False, True):
        parts = data.Table(x, table.y, ("a", "b"), measured=measured).parts(*rows)
        if measured:
            for part, expected in zip(parts, ([0, 1, 0.5], [-0.5, 0.25], [3.5, 0.75]), strict=True):
                np.testing.assert_allclose(part.x[:, 0], expected, atol=1e-12)
            assert [part.x[:, 1].tolist() for part in parts] == [[0, 0, 0], [1, 0], [0, 0]]
        else:
            assert parts.validation.x.tolist() == [[0.15, 1], [0.3, 0]]
        assert [part.y.tolist() for part in parts] == [r.tolist() for r in rows]


def test_a_table_cannot_be_changed(table: data.Table) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table.x[0, 0] = 1
    with pytest.raises(AttributeError):
        table.y = np.zeros(20)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("x", "y", "groups", "sentence"),
    [
        (np.zeros((2, 2)), np.zeros(3), (), r"got shapes \(2, 2\), \(3,\)"),
        (np.zeros((2, 3)), np.zeros(2), (), r"got shapes \(2, 3\)"),
        (np.full((2, 2), 1.5), np.zeros(2), (), "outside"),
        (np.full((2, 2), np.nan), np.zeros(2), (), "NaN"),
        (np.zeros((2, 2)), np.array([0, np.inf]), (), "y: got NaN or infinity"),
        (np.zeros((2, 2)), np.zeros(2), (data.Group("g", (1, 2)),), "none of the 2"),
        (np.zeros((2, 2)), np.zeros(2), (data.Group("g", (1, 1)),), "twice"),
    ],
)
def test_a_table_is_checked(x, y, groups, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        data.Table(x, y, ("a", "b"), groups)


@pytest.mark.parametrize(
    ("load", "file", "bad", "sentence"),
    [
        (data.house, "house-processed.csv.gz", b"<html>", "cannot be unpacked"),
        (data.house, "house-processed.csv.gz", gzip.compress(b"a,b\n", mtime=0), "it has no rows"),
        (
            data.house,
            "house-processed.csv.gz",
            gzip.compress(b"a,b\n1,2,3\n", mtime=0),
            "no complete table",
        ),
        (
            data.house,
            "house-processed.csv.gz",
            gzip.compress(b"a,b\n1,x\n", mtime=0),
            "no complete table",
        ),
        (data.pharm, "pharm-preproc.csv", b"a,b\n1,7\n", "outside"),
        (data.spambase, "spambase.data", b"1,2\n", "no complete spambase"),
        (
            data.loans,
            "loans_full_schema.csv.gz",
            gzip.compress(b"a\n1\n", mtime=0),
            "is not OpenIntro's",
        ),
        (data.pdf_malware, "pdf_contagio_dev.npz", b"PK\3\4", "cannot be read as npz"),
    ],
)
def test_bad_files_are_named(folder: Path, load, file: str, bad: bytes, sentence: str) -> None:
    (folder / file).write_bytes(bad)
    with pytest.raises(UsageError, match=sentence) as caught:
        load()
    assert str(folder / file) in str(caught.value)


def test_arrays_that_do_not_fit_are_named(folder: Path) -> None:
    path = folder / "pdf_contagio_dev.npz"
    np.savez(path, X=np.zeros((2, 2)), y=np.zeros(2), features=np.array(["a"]))
    with pytest.raises(UsageError, match=r"pdf_contagio_dev.npz: does not hold X \(n, d\)"):
        data.pdf_malware()


def test_absent_files_are_named(folder: Path) -> None:
    for load, name in ((data.house, "house-processed.csv"), (data.pdf_malware, "pdf_contagio")):
        next(folder.glob(f"{name}*")).unlink()
        with pytest.raises(UsageError, match=f"BILEVEL_DATA: there is no .*{name}"):
            load()


ORIGINALS = {
    data.house: "jagielski/manip-ml/7a0cac8",
    data.pharm: "jagielski/manip-ml/7a0cac8",
    data.loans: "alex-pi/stat-420-final-project/",
    data.spambase: "HassanRezaee/ML_from_Scratch/e148228",
}


@pytest.mark.parametrize("load", ORIGINALS)
def test_without_a_folder_the_original_is_fetched_by_hash(
    load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)

    def fail(url, known_hash, fname, path):
        assert url.startswith(f"https://raw.githubusercontent.com/{ORIGINALS[load]}")
        assert url.endswith(f"/{fname}")
        assert len(known_hash) == len("sha256:") + 64
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(UsageError, match=r"downloaded \(ConnectionError\).*BILEVEL_DATA"):
        load()


def test_what_is_fetched_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    (tmp_path / "table.csv").write_text(HOUSE)
    monkeypatch.setattr(pooch, "retrieve", lambda *_: str(tmp_path / "table.csv"))
    assert data.house().y.tolist() == [0.5, 1]


def test_a_converted_file_must_be_put_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    with pytest.raises(UsageError, match=r"set it to a folder with pdf_contagio_dev.npz in it\."):
        data.pdf_malware()


def save(path: Path, held: dict) -> None:
    np.savez(path, allow_pickle=False, **held)


def filed(folder: Path, **changes) -> Path:
    """A split of tables of 3, 2 and 1 rows of four columns."""
    held = {"colmap": json.dumps({"Zone": [1, 2]})}
    for number, kind in zip((3, 2, 1), ("trn", "vld", "tst"), strict=True):
        held |= {f"{kind}x": np.full((number, 4), 0.1 * number), f"{kind}y": np.ones(number)}
    path = folder / "split.npz"
    save(path, {k: v for k, v in (held | changes).items() if v is not None})
    return path


def test_a_filed_split_is_read(tmp_path: Path) -> None:
    parts = data.filed_parts(filed(tmp_path))
    assert [part.x.shape for part in parts] == [(3, 4), (2, 4), (1, 4)]
    assert parts.test.groups == (data.Group("Zone", (1, 2)),)
    assert parts.validation.x[0, 0] == 0.2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vldx": None}, "lacks vldx"),
        ({"colmap": "[1]"}, "colmap is no JSON"),
        ({"colmap": "{"}, "colmap is no JSON"),
        ({"colmap": '{"Zone": [9]}'}, "holds no split .*none of the 4"),
        ({"tstx": np.full((1, 4), 2.0)}, "holds no split .*outside"),
        ({"tsty": np.ones(2)}, "holds no split .*got shapes"),
    ],
)
def test_a_filed_split_is_checked(tmp_path: Path, changes: dict, sentence: str) -> None:
    with pytest.raises(UsageError, match=f"--splits-file: .*{sentence}"):
        data.filed_parts(filed(tmp_path, **changes))


def test_filed_poison_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "poison.npz"
    held = {"px": np.ones((2, 4)), "py": np.ones(2), "ix": np.zeros((2, 4)), "iy": np.zeros(2)}
    held["lam"] = np.array(0.1)
    save(path, held)
    poison = data.filed_poison(path)
    assert (poison.x.sum(), poison.start_y.sum(), poison.strength) == (8, 0, 0.1)
    save(path, held | {"ix": np.zeros((3, 4))})
    with pytest.raises(UsageError, match=r"--poison-file: .*shapes \(2, 4\), \(2,\), \(3, 4\)"):
        data.filed_poison(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(UsageError, match="cannot be read as npz"):
        data.filed_poison(tmp_path / "one.npy")


def test_a_split_filed_as_numbers_is_read_and_checked(tmp_path: Path, table: data.Table) -> None:
    path = tmp_path / "numbers.npz"
    held = {"tr": [7, 3], "val": [5], "ts": [1, 2], "init": [1]}
    save(path, held)
    parts, start = data.numbered_parts(path, table)
    assert [part.y.tolist() for part in parts] == [[7, 3], [5], [1, 2]]
    assert parts.train.y[start].tolist() == [3]
    for changes, sentence in (
        ({"ts": [20]}, "ts holds numbers outside 0 to 19"),
        ({"init": [2]}, "init holds numbers outside 0 to 1"),
        ({"val": [0.5]}, "val is no list of numbers"),
    ):
        save(path, held | changes)
        with pytest.raises(UsageError, match=sentence):
            data.numbered_parts(path, table)


@real
@pytest.mark.parametrize(
    ("load", "shape", "groups"),
    [
        (data.house, (1460, 274), 44),
        (data.pharm, (4683, 204), 39),
        (data.loans, (10_000, 110), 8),
        (data.pdf_malware, (9149, 135), 0),
        (data.spambase, (4601, 57), 0),
    ],
)
def test_the_real_files_are_as_described(load, shape: tuple[int, int], groups: int) -> None:
    table = load()
    assert table.x.shape == shape
    assert len(table.groups) == groups
    assert (table.x.min(), table.x.max()) == (0, 1)
    ones = {group.name: table.x[:, group.columns].sum(1) for group in table.groups}
    crowded = {name for name, count in ones.items() if count.max() > 1}
    assert crowded == ({"IndicationforWarfarinTreatment"} if load is data.pharm else set())
    least = 0 if load is data.house else 1
    assert {count.min() for count in ones.values()} <= {least}
