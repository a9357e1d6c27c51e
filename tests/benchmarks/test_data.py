import gzip
from pathlib import Path

import numpy as np
import pooch
import pytest

from benchmarks import data
from benchmarks.report import UsageError


def write_idx(path: Path, array: np.ndarray) -> None:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cut of MNIST: 700 + 40 rows of 0 and 4, every image filled with its row number."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, first, count in (("train", 0, 700), ("t10k", 700, 40)):
        rows = np.arange(first, first + count)
        write_idx(
            folder / f"{name}-images-idx3-ubyte.gz", np.tile(rows[:, None, None] % 251, (28, 28))
        )
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", np.where(rows % 2, 4, 0))
    monkeypatch.setenv("BILEVEL_DATA", str(tmp_path))
    return folder


def test_a_local_folder_is_read_as_it_is(local: Path) -> None:
    digits = data.mnist_full()
    assert digits.images.shape == (740, 784)
    assert digits.test_from == 700
    assert np.array_equal(digits.images[:, 5], np.arange(740) % 251)
    assert digits.labels[:3].tolist() == [0, 4, 0]


def test_official_test_digits_come_first_and_a_cut_is_filled_up(local: Path) -> None:
    (split,) = data.drawn_splits(data.mnist_full(), "0v4", (0,), 0).values()
    numbers = np.round(split.test.x[:, 0] * 255).astype(int)
    assert len(numbers) == 40 + 700 - 600
    assert sorted(numbers[:40]) == sorted(np.arange(700, 740) % 251)
    assert set(split.train.y) == {-1.0, 1.0}


def spoil_missing(path: Path) -> None:
    path.unlink()


def spoil_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil_not_gzip(path: Path) -> None:
    path.write_bytes(b"<html>not found</html>")


def spoil_short(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))


def spoil_empty(path: Path) -> None:
    path.write_bytes(gzip.compress(b""))


def spoil_other_length(path: Path) -> None:
    write_idx(path, np.zeros(3))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_missing, "BILEVEL_DATA: there is no"),
        (spoil_truncated, "cannot be unpacked"),
        (spoil_not_gzip, "cannot be unpacked"),
        (spoil_short, "is no complete idx file"),
        (spoil_empty, "is no complete idx file"),
        (spoil_other_length, "do not belong together"),
    ],
)
def test_bad_files_are_named(local: Path, spoil, sentence: str) -> None:
    spoil(local / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UsageError, match=sentence) as caught:
        data.mnist_full()
    assert str(local) in str(caught.value)


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)

    def fail(url, known_hash, fname, path):
        assert url.endswith("/mnist/train-images-idx3-ubyte.gz")
        assert known_hash.startswith("sha256:440fcabf")
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(UsageError, match=r"downloaded \(ConnectionError\).*BILEVEL_DATA"):
        data.mnist_full()


def test_a_splits_file_is_checked(tmp_path: Path) -> None:
    digits = data.Digits(np.arange(20)[:, None], np.repeat([0, 4], 10), 20)
    tr, val, ts, init = ([[0, 1, 10]], [[2, 11]], [[3, 12]], [[2]])
    path = tmp_path / "splits.npz"
    np.savez(path, tr=tr, val=val, ts=ts, init=init, attacker=0, attacked=4)
    (split,) = data.filed_splits(path, digits, "0v4", (0,)).values()
    assert split.train.y.tolist() == [1, 1, -1]
    for rows, numbers in ((split.train, tr), (split.validation, val), (split.test, ts)):
        np.testing.assert_allclose(rows.x[:, 0] * 255, numbers[0])
    assert (split.start * 255).tolist() == [[10]]
    for pair, number, sentence in (
        ("4v0", 0, "is for --pair 0v4"),
        ("0v4", 1, "holds splits 0 to 0"),
    ):
        with pytest.raises(UsageError, match=sentence):
            data.filed_splits(path, digits, pair, (number,))
    np.savez(path, tr=tr, val=val, ts=ts, init=init)
    with pytest.raises(UsageError, match="lacks attacked, attacker"):
        data.filed_splits(path, digits, "0v4", (0,))
