"""Every code block of the guides runs, in order, in one namespace per guide."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

GUIDES = sorted((Path(__file__).resolve().parent.parent / "docs").glob("*.md"))


def blocks(path: Path, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.S)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_code_of_a_guide_runs_as_printed(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = blocks(guide)
    assert code, f"{guide.name} has no code"
    names: dict[str, object] = {}
    # as a reader has it, without the strictness of this suite
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in code:
            exec(block, names)


@pytest.mark.slow
def test_a_script_of_a_guide_runs_twice_and_the_second_time_from_its_files(tmp_path: Path) -> None:
    (script,) = blocks(GUIDES[0].parent / "scale.md", "py")
    (tmp_path / "strengths.py").write_text(script)
    path = os.pathsep.join([str(GUIDES[0].parent.parent), os.environ.get("PYTHONPATH", "")])
    command, environment = [sys.executable, "strengths.py"], os.environ | {"PYTHONPATH": path}
    said = [
        subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert "10.0" in said[0]
    assert len([*(tmp_path / "strengths").glob("*.json")]) == 13


def test_the_guides_link_to_what_is_there() -> None:
    for guide in GUIDES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", guide.read_text()):
            assert (guide.parent / target).exists(), f"{guide.name} links to {target}"
