"""The board: what attacks do in each setting, against each defense, as one page of HTML."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..report import UsageError

COLUMNS = {
    "setting": "setting",
    "attack": "attack",
    "victim": "victim's network",
    "defense": "defense",
    "seed": "trials of seed",
    "success": "success",
    "interval": "95 % interval",
    "n": "targets",
    "random": "random change of the same size",
    "adaptive": "attacker who knows the defense",
    "certified": "certified",
    "test_err": "test error",
    "clean_test_err": "without poison",
    "seconds": "CPU s a target",
    "digest": "file",
}
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #ddd }
th { border-bottom: 2px solid #888; vertical-align: bottom }
td:nth-child(-n+4), th:nth-child(-n+4) { text-align: left }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1c1c1c }
  th, td { border-color: #444 } }
"""


def board(paths: Sequence[Path]) -> str:
    """The page of the rows in JSON files, or in all of those in folders. UsageError if there are
    none of `poisoning-benchmark`.
    """
    found = (sorted(path.glob("*.json")) if path.is_dir() else [path] for path in paths)
    files = dict.fromkeys(file.resolve() for some in found for file in some)
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise UsageError(
            f"board: {', '.join(map(str, paths)) or 'no file'} hold no results; write some by "
            "`python -m benchmarks run poisoning-benchmark --json FILE`"
        )
    # The success is null where no target counts.
    rows.sort(
        key=lambda row: (row["setting"], row["victim"], row["defense"], -(row["success"] or 0))
    )
    head = "".join(f"<th>{html.escape(text)}</th>" for text in COLUMNS.values())
    body = "\n".join(
        "<tr>" + "".join(f"<td>{_cell(row, name)}</td>" for name in COLUMNS) + "</tr>"
        for row in rows
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Clean-label poison: the board</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>
<h1>Clean-label poison</h1>
<p>Success: share of the targets that the victim reads as the attacker's class, among those that it
reads right if nothing is moved. Certified: share of them whose prediction no change of as many
images can alter.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        held = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"board: {file} cannot be read as JSON ({error})") from error
    ours = isinstance(held, dict) and held.get("experiment") == "poisoning-benchmark"
    return held["rows"] if ours else []


def _cell(row: dict[str, Any], name: str) -> str:
    if name == "interval":
        return f"{row['low']:.2f} to {row['high']:.2f}"
    value = row.get(name)
    if value is None:
        return "–"
    if name.endswith("_err"):
        return f"{100 * value:.1f} %"
    if name == "digest":
        return f"<code>{html.escape(str(value)[:12])}</code>"
    return f"{value:.2f}" if isinstance(value, float) else html.escape(str(value))
