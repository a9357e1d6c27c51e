"""Adult and COMPAS: frames with protected columns."""

import os
from pathlib import Path

import pytest

from benchmarks import data
from benchmarks.data.raw import one_hot
from benchmarks.report import UsageError

real = pytest.mark.skipif(not os.environ.get("BILEVEL_DATA"), reason="BILEVEL_DATA is not set")

ADULT = """\
39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, \
2174, 0, 40, United-States, <=50K
52, ?, 209642, HS-grad, 9, Married-civ-spouse, ?, Husband, Black, Female, 0, 0, 45, Peru, >50K
"""
COMPAS = """\
sex,age,age_cat,race,juv_fel_count,decile_score,juv_misd_count,juv_other_count,priors_count,\
days_b_screening_arrest,c_charge_degree,is_recid,score_text,two_year_recid
Male,69,Greater than 45,Other,0,1,0,0,2,-1.0,F,0,Low,0
Female,34,25 - 45,Other,0,3,0,0,0,30.0,M,1,Low,1
Male,20,Less than 25,Other,0,3,0,0,0,31.0,M,1,Low,1
Male,20,Less than 25,Other,0,3,0,0,0,,M,1,Low,1
Male,20,Less than 25,Other,0,3,0,0,0,0.0,O,1,Low,1
Male,20,Less than 25,Other,0,3,0,0,0,0.0,M,-1,Low,1
Male,20,Less than 25,Other,0,3,0,0,0,0.0,M,1,N/A,1
"""


def test_adult_and_compas_are_frames_with_protected_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path
    monkeypatch.setenv("BILEVEL_DATA", str(folder))
    (folder / "adult.data").write_text(ADULT)
    (folder / "compas-two-years-nonames.csv").write_text(COMPAS)
    adult = data.adult_frame()
    assert adult["label"].tolist() == [-1, 1]
    assert adult["sex"].tolist() == ["Male", "Female"]
    assert adult["work"].tolist() == ["State-gov", "?"]
    assert adult["weight"].tolist() == [77516, 209642]
    compas = data.compas_frame()
    assert compas["label"].tolist() == [-1, 1]  # the others are filtered out, each for one reason
    assert compas["race"].tolist() == ["Other", "Other"]
    assert "decile_score" not in compas
    x, y = one_hot(compas)
    assert (x.shape, y.tolist()) == ((2, 5 + 2 + 1 + 2 + 2), [-1, 1])
    assert x[0, :5].tolist() == [69, 0, 0, 0, 2]
    # Cut off, labels of the file of test rows, and a number that is missing.
    for wrong in ("1, 2\n", ADULT.replace("<=50K", "<=50K."), ADULT.replace("77516", "")):
        (folder / "adult.data").write_text(wrong)
        with pytest.raises(UsageError, match=r"is not UCI's adult.data"):
            data.adult_frame()


@real
def test_the_published_rows_of_compas_and_adult() -> None:
    assert data.compas_frame().shape == (6172, 10)
    assert data.adult_frame().shape == (32561, 15)
