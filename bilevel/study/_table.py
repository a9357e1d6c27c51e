"""Tables as plain text."""

from collections.abc import Mapping, Sequence


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Columns under their names; the first is aligned left, the others right."""
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}

    def line(row: Mapping[str, str]) -> str:
        first, *rest = names
        cells = [row[first].ljust(widths[first]), *(row[n].rjust(widths[n]) for n in rest)]
        return "  ".join(cells).rstrip()

    return "\n".join([line({n: n for n in names}), *(line(row) for row in rows)])
