"""Traffic signs from a file: parts by track, and files that do not fit are named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.data import gtsrb
from benchmarks.report import UsageError


def held() -> dict[str, Any]:
    """Two classes with two tracks of two frames each; of each class one track is test."""
    x = np.arange(8 * 32 * 32 * 3).reshape(8, 32, 32, 3).astype(np.uint8)
    y, track = np.repeat([3, 42], 4).astype(np.uint8), np.tile([0, 0, 1, 1], 2).astype(np.uint8)
    return {"X": x, "y": y, "track": track, "is_test": track}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    return tmp_path / "gtsrb_dev.npz"


def test_no_track_is_in_both_parts(file: Path) -> None:
    np.savez(file, **held())
    train, test = gtsrb()
    np.testing.assert_array_equal(train.x, held()["X"][[0, 1, 4, 5]])
    np.testing.assert_array_equal(test.x, held()["X"][[2, 3, 6, 7]])
    assert train.y.tolist() == test.y.tolist() == [3, 3, 42, 42]
    assert train.y.dtype == np.int32
    assert len(set(train.track)) == len(set(test.track)) == 2
    assert not set(train.track) & set(test.track)


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        ("is_test", np.arange(8) % 2, "track 0 of class 3 is training and test"),
        ("is_test", np.zeros(8), "does not hold X"),
        ("is_test", np.arange(7) % 2, "does not hold X"),
        ("track", np.arange(7), "does not hold X"),
        ("X", np.zeros((8, 32, 32), np.uint8), "does not hold X"),
        ("X", np.zeros((8, 32, 32, 3)), "does not hold X"),
    ],
)
def test_a_file_that_does_not_fit_is_named(file: Path, name, array, sentence: str) -> None:
    np.savez(file, **{**held(), name: array})
    with pytest.raises(UsageError, match=sentence) as caught:
        gtsrb()
    assert str(file) in str(caught.value)


def test_without_the_folder_it_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    with pytest.raises(UsageError, match="a folder with gtsrb_dev"):
        gtsrb()
