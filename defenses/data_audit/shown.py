"""Rows of the user's table as a report shows them, in the user's columns and units."""

from typing import Any

import numpy as np
import pandas as pd

from .influence import Influence
from .ingest import Table
from .judge import Parts
from .ranking import Ranking
from .reading import Frame, Series
from .report import Certified, Influential, Row, row_of

SHOWN, CHECKED = 10, 20
"""Rows that a report shows of each kind, and influential rows that are left out in turn."""


def influential_rows(table: Table, moved: Influence) -> tuple[Influential, Certified]:
    """The training rows that matter most, beside training without them, and the state of the
    gradient; no row if it is not certified.
    """
    values = moved.of_removal
    top = np.argsort(-np.abs(values), kind="stable")[:CHECKED]
    certificate, sure = moved.certificate, moved.sure(values[top])
    bound = float(certificate.error_bound)
    state = Certified("influence of every row", sure, str(certificate))
    if not sure:
        return Influential((), None, None, (
            "The gradient of these figures could not be certified, so they are not printed: "
            + str(certificate).splitlines()[-1].strip()
        )), state  # fmt: skip
    exact = moved.exact_removal(top)
    correlation = float(np.corrcoef(values[top], exact)[0, 1]) if np.ptp(exact) > 0 else None
    places = moved.rows.like[top]
    whole = _whole(table)
    rows = tuple(
        row_of(whole, place, int(table.number[place]), float(values[i]), exact=float(e))
        for i, place, e in zip(top, places.tolist(), exact, strict=True)
    )[:SHOWN]
    return Influential(rows, bound, correlation, None), state


def _whole(table: Table) -> Frame:
    """The user's columns, the target last."""
    return _with_target(table.raw, table, _labels(table, table.encoding.y))


def _with_target(frame: Frame, table: Table, labels: Series) -> Frame:
    """At once: pandas warns of a column put into a frame of many."""
    labels = labels.rename(table.target).set_axis(frame.index)
    return pd.concat([frame, labels], axis=1)


def _labels(table: Table, y: np.ndarray) -> Series:
    kind: Any = table.encoding.target_kind
    return table.target_back(kind.of_targets(np.asarray(y, float), table.target))


def worst_rows(table: Table, added: Any) -> tuple[Row, ...]:
    """The attacker's rows that differ, in the user's units."""
    if added is None or added.added is None:
        return ()
    poison = added.added.take(np.arange(min(SHOWN, added.added.y.size)))
    frame, labels = table.decoded(poison.x, poison.y, poison.like)
    frame = _with_target(frame, table, labels)
    away = np.linalg.norm(poison.x - table.encoding.x[poison.like], axis=1)
    return tuple(
        row_of(frame, i, int(table.number[place]), float(away[i]),
               why=f"row {int(table.number[place])} with another label, moved")
        for i, place in enumerate(poison.like)
    )  # fmt: skip


def suspicious_rows(table: Table, ranking: Ranking) -> tuple[Row, ...]:
    """Rows whose label is called wrong, or that have a near copy of another, the first in order."""
    called = np.flatnonzero(ranking.wrong | (ranking.copies > 0))
    top = called[np.argsort(-ranking.score[called], kind="stable")][:SHOWN]
    likely = _labels(table, ranking.likely[top] if table.classes else
                     np.clip(ranking.likely[top], 0, 1)).tolist()  # fmt: skip
    whole, rows = _whole(table), []
    for place, label in zip(top.tolist(), likely, strict=True):
        why = []
        if ranking.wrong[place]:
            label = f"{label:.6g}" if isinstance(label, float) else label
            why.append(f"models that did not see it expect {label}")
        if ranking.copies[place]:
            why.append(f"{ranking.copies[place]} near copies have another label")
        number, score = int(table.number[place]), float(ranking.score[place])
        rows.append(row_of(whole, place, number, score, why="; ".join(why)))
    return tuple(rows)


def all_rows(table: Table, parts: Parts, moved: Influence, ranking: Ranking) -> Frame:
    """What was found of each row used, by its number in the user's table."""
    part = np.full(table.number.size, "judged", object)
    part[parts.train.like], part[parts.choose.like] = "trained", "chosen by"
    effect = np.full(table.number.size, np.nan)
    effect[parts.train.like] = moved.of_removal
    return pd.DataFrame(
        {
            "part": part, "influence": effect, "doubt": ranking.doubt, "looks_wrong": ranking.wrong,
            "near_copies_with_other_labels": ranking.copies, "suspicion": ranking.score,
        },
        index=pd.Index(table.number, name="row"),
    )  # fmt: skip
