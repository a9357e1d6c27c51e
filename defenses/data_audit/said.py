"""Sentences of a report that its page and the command both say."""

import math

from .report import Budget, Report


def rate(error: float) -> str:
    """In percent, for people."""
    return f"{100 * error:,.1f} %" if error < 10 else f"{100 * error:,.0f} %"


def share(part: float) -> str:
    """A share of rows, or a tick, in percent with as few digits as it needs."""
    return f"{100 * part:,.0f} %" if part >= 1 else f"{100 * part:.3g} %"


def bound_said(report: Report, budget: Budget) -> tuple[str, str]:
    """(the certified bound, what it is), or that there is none, and what has one."""
    known = report.bound(budget)
    if known is not None:
        return rate(known), "at most, whatever the attack: certified"
    if budget.certified is None:
        return "not certified", "no bound of what attacks can do to this model is known here"
    other = ", or --learner ridge," if report.learner["attacked"] == "logistic" else ""
    bound = rate(budget.certified) if math.isfinite(budget.certified) else "infinite"
    better = f"a smaller --budget{other} may have a better one"
    return "no useful bound", f"the bound is {bound}; {better}"


def best_said(report: Report) -> tuple[str, str]:
    """(errors behind the best defense, what they are), or that no defense helps."""
    best = report.best_defense
    sought = any(defense.adapted for defense in report.defenses)
    if best is None:
        whom = "an attacker who knows it" if sought else "the attacks tried"
        return "no defense helps", f"against {whom}"
    sample = report.table["tried_rows"]
    where = "" if sample == report.table["training_rows"] else (
        f", and {rate(report.defenses[0].adaptive)} without it, on a sample of {sample:,} rows"
    )  # fmt: skip
    if not best.adapted:
        what = f"behind {best.name}; no attack that knows it was sought"
        return rate(best.adaptive), what + where
    return (
        f"{rate(best.found)}, {rate(best.adaptive)}",
        f"behind {best.name}, the second if the attacker knows it{where}",
    )
