"""Every code block of the guides runs, in order, in one namespace per guide."""

import re
from pathlib import Path

import jax
import pytest

GUIDES = sorted((Path(__file__).resolve().parent.parent / "docs").glob("*.md"))


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(), flags=re.S)


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


def test_the_guides_link_to_what_is_there() -> None:
    for guide in GUIDES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", guide.read_text()):
            assert (guide.parent / target).exists(), f"{guide.name} links to {target}"
