"""The experiment that counts what is compiled twice."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.slow
def test_a_warm_cache_compiles_nothing_and_a_first_call_something(tmp_path: Path) -> None:
    size = ["--rows", "20", "--features", "3", "--points", "2", "--steps", "3"]
    file = tmp_path / "a.json"
    assert main(["run", "compilations", "--cases", "ridge", *size, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [row["verb"] for row in rows] == ["gradient", "maximize", "certify"]
    for row in rows:
        assert row["first_compiled"] > 0
        assert row["cached_compiled"] == 0 < row["cached_loaded"]
        assert row["second_compiled"] <= row["first_compiled"]
        assert row["cached_process_s"] < row["first_s"]
