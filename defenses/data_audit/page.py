"""A report as one HTML page: no network, no script, light and dark, to print."""

import dataclasses
import html
import math
from collections.abc import Sequence
from typing import Any

from .charts import damage_chart, defense_chart
from .report import Budget, Report, Row
from .said import best_said, bound_said, rate, share
from .style import STYLE

MOST_COLUMNS = 14
"""Columns of a row that are shown; of more the first ones, and how many are left out."""


def page(report: Report, *, rows: bool = True) -> str:
    """The page as HTML text; no row of the table is in it if `rows` is False."""
    parts = [
        _head(report), _numbers(report), _damage(report), _defenses(report), _groups(report),
        _worst(report, rows), _influential(report, rows), _suspicious(report, rows),
        _indicators(report), _notes(report), _foot(report),
    ]  # fmt: skip
    title = f"Data audit: {report.table['target']}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_safe(title)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(filter(None, parts))
        + "\n</body></html>\n"
    )


def _safe(value: Any) -> str:
    return html.escape(str(value))


def _head(report: Report) -> str:
    table, learner = report.table, report.learner
    what = f"{len(table['classes'])} classes" if table["classes"] else "numbers"
    unit = "wrong labels" if table["classes"] else "variance left unexplained (1 - R²)"
    return (
        f"<h1>Data audit of {_safe(table['target'])}</h1>"
        f'<p class="soft">{table["rows"]:,} rows, {len(table["columns"])} columns, {what}. Trained '
        f"on {table['training_rows']:,} rows, judged on {table['test_rows']:,} that no attack saw, "
        f"by {_safe(learner['judge'])}. Errors are shares of {unit}: {rate(report.clean)} ± "
        f"{100 * report.uncertain:.1f} as the table is (by the number of rows judged on), "
        f"{rate(report.baseline)} for a model that always says the same. Rows have numbers from 0 "
        "on, that of the first below the names.</p>"
        f'<p class="soft">{_safe(learner["remark"])}</p>'
    )


def _card(number: str, what: str, plain: bool = False) -> str:
    return f'<div class="card{" plain" if plain else ""}"><b>{_safe(number)}</b>{_safe(what)}</div>'


def _numbers(report: Report) -> str:
    at = report.budgets[report.middle]
    most = _card(*bound_said(report, at), plain=report.bound(at) is None)
    best = _card(*best_said(report), plain=report.best_defense is None)
    be = "is" if at.rows == 1 else "are"
    verb = "rises" if at.found > report.clean else "does not rise: it goes"
    return (
        f"<h2>If {at.rows:,} of {report.table['training_rows']:,} training rows "
        f"({share(at.share)}) {be} poison, the error {verb} from {rate(report.clean)} to</h2>"
        '<div class="cards">'
        + _card(rate(at.found), "by the best attack found") + most
        + _card(rate(at.random), "by as many random mistakes") + best + "</div>"
    )  # fmt: skip


def _key(style: str, text: str) -> str:
    return f'<span class="key" style="background:var(--{style})"></span>{text}'


def _damage(report: Report) -> str:
    def cells(budget: Budget) -> list[str]:
        return [
            share(budget.share), f"{budget.rows:,}", rate(budget.found),
            bound_said(report, budget)[0],
            f"{rate(budget.random)} ± {100 * budget.random_sd:.1f}", budget.attack,
        ]  # fmt: skip

    names = ["share", "rows", "found", "certified", "random", "best attack"]
    bounded = [dataclasses.replace(b, certified=report.bound(b)) for b in report.budgets]
    return (
        "<h2>Damage for each number of rows</h2>"
        + damage_chart(bounded, report.clean)
        + '<p class="soft">' + _key("found", "found") + _key("random", "random mistakes")
        + _key("clean", "the table as it is")
        + ". The attack found is the best by rows that the attacker knows, judged by others; to "
        "change nothing, or labels at random, are attacks as well. The true worst case is at or "
        "above what was found, and below the certified bound where there is one.</p>"
        + _table(names, map(cells, report.budgets), named=(5,))
    )  # fmt: skip


def _defenses(report: Report) -> str:
    at, tried = report.budgets[report.middle], report.table["tried_rows"]
    lines = [
        [d.name, rate(d.clean), rate(d.found),
         rate(d.adaptive) + ("" if d.adapted or d.name == "none" else " *"),
         f"{d.dropped:,}", f"{d.caught:,} of {d.poison:,}"]
        for d in report.defenses
    ]  # fmt: skip
    where = "" if tried == report.table["training_rows"] else f", on a sample of {tried:,} rows"
    how = (
        f"An attack that knows a defense was sought by {report.learner['adaptive_steps']} steps "
        "through it from each of two starts, and met all defenses; a longer search may do more. "
    ) if any(d.adapted for d in report.defenses[1:]) else ""  # fmt: skip
    names = ["defense", "no poison", "attacked", "attacker knows", "clean rows dropped", "caught"]
    return (
        f"<h2>Defenses, at {share(at.share)} poison{where}</h2>"
        + defense_chart(report.defenses)
        + '<p class="soft">' + _key("clean", "no poison") + _key("random", "attacked")
        + _key("found", "attacked by one who knows the defense")
        + f". Each defense is told the share of poison. {how}A star: no attack was sought through "
        "this defense; the worst of the others.</p>" + _table(names, lines, named=(0,))
    )  # fmt: skip


def _groups(report: Report) -> str:
    if not report.groups:
        return ""
    lines = [
        [g.name, f"{g.rows:,}", rate(g.clean), f"{rate(g.found)} ± {100 * g.uncertain:.1f}"]
        for g in report.groups
    ]
    return "<h2>By group</h2>" + _table(["group", "rows", "clean", "poisoned"], lines, named=(0,))


def _rows(found: Sequence[Row], value: str, show: bool) -> str:
    """Rows of the user's table; their numbers alone if they are hidden."""
    names = list(found[0].cells)
    kept = names if len(names) <= MOST_COLUMNS else [*names[: MOST_COLUMNS - 1], names[-1]]
    kept = kept if show else []
    exact, why = any(r.exact is not None for r in found), any(r.why for r in found)
    head = ["row", value, *(["left out exactly"] if exact else []), *(["why"] if why else [])]
    lines = [
        [f"{r.number}", f"{r.value:.3g}", *([_number(r.exact)] if exact else []),
         *([r.why if show else ""] if why else []), *(_cell(r.cells[name]) for name in kept)]
        for r in found
    ]  # fmt: skip
    left = len(names) - len(kept)
    more = f'<p class="soft">{left} more columns are not shown.</p>' if show and left else ""
    hidden = "" if show else '<p class="soft">The rows themselves are hidden.</p>'
    where = (len(head) - 1,) if why else ()
    return _table([*head, *kept], lines, named=where) + more + hidden


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _cell(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _worst(report: Report, rows: bool) -> str:
    if not report.worst:
        return ""
    return (
        "<h2>What the worst rows look like</h2><p>Rows that the attack adds, in your units: each "
        "value lies within its column's range, each category exists. The second figure is how far "
        "the row moved from where it began.</p>" + _rows(report.worst, "moved", rows)
    )


def _influential(report: Report, rows: bool) -> str:
    found = report.influential
    head = "<h2>Rows that matter most</h2>"
    if found.refused is not None:
        return f'{head}<p class="refused">{_safe(found.refused)}</p>'
    if not found.rows:
        return ""
    how = "" if found.correlation is None else (
        f" Against training without each of the 20 most influential rows the figures have a "
        f"correlation of {found.correlation:.4f}."
    )  # fmt: skip
    return (
        f"{head}<p>What the loss on rows held out gains if the row is left out: below zero, it "
        f"does harm. Each figure is right to {found.bound:.1e}.{how}</p>"
        + _rows(found.rows, "change of loss", rows)
    )


def _suspicious(report: Report, rows: bool) -> str:
    head = "<h2>Rows that look wrong</h2>"
    if not report.suspicious:
        return f"{head}<p>None stands out.</p>"
    many = int((report.rows["looks_wrong"] | (report.rows.iloc[:, 4] > 0)).sum())
    return (
        f"{head}<p>{many:,} rows are contradicted by models that did not see them, or by near "
        "copies. These come first; look at them, they are not proven wrong.</p>"
        + _rows(report.suspicious, "suspicion", rows)
    )


def _indicators(report: Report) -> str:
    lines = [[i.name, i.shown, i.line] for i in report.indicators]
    return "<h2>Signs that need no attack</h2>" + _table(["", "", "read as"], lines, named=(0, 2))


def _notes(report: Report) -> str:
    if not report.notes:
        return ""
    items = "".join(f"<li>{_safe(note)}</li>" for note in report.notes[:200])
    return f"<h2>What was done to the table</h2><ul>{items}</ul>"


def _foot(report: Report) -> str:
    states = "".join(
        f"<p>Gradient of {_safe(c.what)}: {'certified' if c.sure else 'NOT certified'}.</p>"
        f"<pre>{_safe(c.text)}</pre>"
        for c in report.certificates
    )
    versions = ", ".join(f"{_safe(name)} {_safe(value)}" for name, value in report.foot.items())
    took = f"{report.seconds:.0f} s" if math.isfinite(report.seconds) else ""
    return f"<footer>{states}<p>{versions}. Took {took}.</p></footer>"


def _table(names: Sequence[str], lines: Any, named: Sequence[int] = ()) -> str:
    """A table whose cells are escaped; columns in `named` hold words."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(
            f'<{tag}{" class=name" if i in named else ""}>{_safe(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        ) + "</tr>"  # fmt: skip

    body = "".join(row(cells, "td") for cells in lines)
    return f'<div class="scroll"><table>{row(names, "th")}{body}</table></div>'
