"""Pictures as inline SVG, which follow the page's colours; no library, no network."""

import html
import math
from collections.abc import Sequence

from .report import Budget, Defended
from .said import share

WIDTH, HEIGHT = 680, 330
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 46


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{style}" points="{path}"/>'


def _ticks(top: float) -> list[float]:
    """About five round numbers from 0 to `top`."""
    rough = top / 5
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough * 0.999)
    return [step * i for i in range(int(top / step + 1e-9) + 1)]


def _frame(top: float, height: int = HEIGHT) -> tuple[list[str], float]:
    """(grid and labels of the vertical axis from 0 to `top`, height of the plot)."""
    tall = height - TOP - BOTTOM
    parts = []
    for tick in _ticks(top):
        y = TOP + tall * (1 - tick / top)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                     f'y2="{y:.1f}"/>')  # fmt: skip
        parts.append(_text(LEFT - 8, y + 4, share(tick), "end"))
    return parts, tall


def _svg(parts: Sequence[str], label: str, height: int = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(label)}">'
        + "".join(parts) + "</svg>"
    )  # fmt: skip


def damage_chart(budgets: Sequence[Budget], clean: float) -> str:
    """Error against the share of poison: what was found, by random mistakes, and, where there is a
    certificate, a band up to what is possible at most.
    """
    bounds = [budget.certified for budget in budgets]
    # Bounds above one say nothing: they would flatten the rest.
    known = [min(bound, 1.0) for bound in bounds if bound is not None]
    highest = max([b.found for b in budgets] + [b.random for b in budgets] + known + [clean])
    top = max(1.1 * highest, 0.01)
    parts, tall = _frame(top)
    last = budgets[-1].share
    place = [LEFT + (WIDTH - LEFT - RIGHT) * 0.96 * b.share / last for b in budgets]

    def at(error: float) -> float:
        return TOP + tall * (1 - min(error, top) / top)

    if len(known) == len(budgets):
        upper = [(LEFT, at(clean)), *zip(place, map(at, known), strict=True)]
        lower = [(x, at(b.found)) for x, b in zip(place, budgets, strict=True)]
        edge = [*upper, *reversed([(LEFT, at(clean)), *lower])]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        parts.append(f'<polygon class="band" points="{path}"/>')
    for style, errors in (("found", [b.found for b in budgets]),
                          ("random", [b.random for b in budgets])):  # fmt: skip
        points = [(float(LEFT), at(clean)), *zip(place, map(at, errors), strict=True)]
        parts.append(_line(points, style))
        parts += [f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
    parts.append(_line([(LEFT, at(clean)), (WIDTH - RIGHT, at(clean))], "clean"))
    for x, budget in zip(place, budgets, strict=True):
        parts.append(_text(x, HEIGHT - BOTTOM + 18, share(budget.share)))
    parts.append(_text(LEFT, HEIGHT - BOTTOM + 18, "0"))
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 6, "poisoned rows, share of training rows"))
    return _svg(parts, "Error against the share of poisoned rows")


def defense_chart(table: Sequence[Defended]) -> str:
    """For each defense the error without poison, after the attack, and after one who knows it."""
    highest = max(max(d.clean, d.found, d.adaptive) for d in table)
    top = max(1.1 * highest, 0.01)
    rows = [(d.name, d.clean, d.found, d.adaptive) for d in table]
    each, left = 46, 170
    height = each * len(rows) + 40
    wide = WIDTH - left - RIGHT
    parts = []
    for tick in _ticks(top):
        x = left + wide * tick / top
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 30}"/>')
        parts.append(_text(x, height - 12, share(tick)))
    for i, (name, *errors) in enumerate(rows):
        y = 8 + each * i
        parts.append(_text(left - 10, y + 22, name, "end"))
        for j, (style, error) in enumerate(zip(("clean", "random", "found"), errors, strict=True)):
            parts.append(
                f'<rect class="bar-{style}" x="{left}" y="{y + 12 * j}" height="10" '
                f'width="{max(wide * error / top, 1):.1f}"/>'
            )
    return _svg(parts, "Error behind each defense", height)
