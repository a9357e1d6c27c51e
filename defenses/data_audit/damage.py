"""How much poison does at each budget, and what each defense leaves of it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

import bilevel
from bilevel import Certificate

from .attacker import ADAPTIVE_FEATURES, Attacker, Sample, flips, random_mistakes
from .bound import certified_of
from .defending import Defense, offered, sanitised
from .influence import SURE, Influence
from .judge import Judge, Parts, Poison
from .report import Attempt, Budget, Certified, Defended, Group

THREADS = 2
"""Searches through defenses that run side by side."""
LARGE = 10_000
"""Training rows from which on less is drawn and less often derived."""
DRAWS, FEW_DRAWS = 5, 3
"""Draws of random mistakes, and of a large table."""
ROUNDS, FEW_ROUNDS = 2, 1
"""Derivatives that the labels changed at each budget are chosen by, and of a large table."""
Advance = Callable[[str], None]


class Found(NamedTuple):
    """Budgets with the poison that each attack made there, the best first."""

    budgets: tuple[Budget, ...]
    poisons: tuple[tuple[Poison, ...], ...]
    added: Poison | None
    """Rows added along the hypergradient at the middle budget."""
    certificate: Certified | None
    """Of the gradient where that ascent ended."""


def found(
    judge: Judge,
    parts: Parts,
    attacker: Attacker,
    influence: Influence,
    counts: Sequence[int],
    shares: Sequence[float],
    middle: int,
    reach: str,
    seed: int,
    advance: Advance,
) -> Found:
    """The best attack at each budget, by the rows that the attacker knows, judged by the others."""
    classes, train = len(judge.table.classes), parts.train
    known = train.and_(parts.choose)
    draws, rounds = (DRAWS, ROUNDS) if train.y.size <= LARGE else (FEW_DRAWS, FEW_ROUNDS)
    changed = flips(influence, tuple(counts), rounds)
    advance("labels changed by the hypergradient")
    budgets, poisons, added, certificate = [], [], None, None
    for number, (count, share) in enumerate(zip(counts, shares, strict=True)):
        tried = [changed[number]]
        if reach == "observed":
            poison, attack, z = attacker.climb(count)
            tried += [poison, attacker.unmoved(count)]
            if number == middle:
                added, certificate = poison, _state(bilevel.certify(attack, z))
        attempts = []
        for poison in tried:
            model = judge.fit(poison.into(train))
            errors = judge.error(model, known), judge.error(model, parts.test)
            attempts.append(Attempt(poison.name, *errors))
        order = sorted(range(len(tried)), key=lambda i: (-attempts[i].choosing, i))
        at_random = [
            judge.error(
                judge.fit(random_mistakes(train, count, classes, 1000 * seed + d).into(train)),
                parts.test,
            )
            for d in range(draws)
        ]
        bound = certified_of(judge, parts, count, reach)
        best = attempts[order[0]]
        budgets.append(Budget(
            share, count, best.error, best.name, float(np.mean(at_random)),
            float(np.std(at_random)), bound, tuple(attempts[i] for i in order),
        ))  # fmt: skip
        poisons.append(tuple(tried[i] for i in order))
        advance(f"{count} rows of poison")
    return Found(tuple(budgets), tuple(poisons), added, certificate)


def _state(certificate: Certificate) -> Certified:
    """What a certificate says of the ascent's gradient; a kink nearby, a category about to change,
    leaves it uncertified.
    """
    leaves = jax.tree.leaves(certificate.gradient)
    size = float(np.linalg.norm(np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])))
    bound = float(certificate.error_bound)
    relative = bound / size if size > 0 and np.isfinite(bound) else None
    sure = relative is not None and relative <= SURE
    return Certified("rows added, where their ascent ended", sure, relative, str(certificate))


def defended(
    judge: Judge,
    parts: Parts,
    attacker: Attacker,
    sample: Sample,
    poisons: Sequence[Poison],
    count: int,
    reach: str,
    advance: Advance,
) -> tuple[Defended, ...]:
    """No defense, and each one told the attacker's share of the rows, against the attacks at one
    budget.

    - `attacker`: who adapts, by a small sample of its own. `sample`: of the training rows that the
      defenses are tried on.
    - `poisons`: the attacks of `count` rows that ignore the defense, the best first.
    """
    whole, kept = parts.train.y.size, sample.places
    train, known = parts.train.take(kept), parts.train.and_(parts.choose)
    share = count / (whole + (count if reach == "observed" else 0))
    ignorant = [poison.within(kept, whole) for poison in poisons]
    adapts = reach == "observed" and train.x.shape[1] <= ADAPTIVE_FEATURES

    def behind(defense: Defense | None, poison: Poison | None) -> tuple[float, float, Any]:
        """(error on rows that the attacker knows, on rows to judge by, rows that were touched)."""
        rows = train if poison is None else poison.into(train)
        touched = np.zeros(rows.y.size, bool)
        left = rows
        if defense is not None:
            left, touched = sanitised(judge, defense, share, rows)
        model = judge.fit(left)
        return judge.error(model, known), judge.error(model, parts.test), touched

    def adapted(defense: Defense) -> Poison:
        """Rows added through the defense; the setting of precision is each thread's own."""
        with jax.enable_x64(True):
            return attacker.climb(count, lambda learner: defense.ours(learner, share))[0]

    table, tried = [], offered(len(judge.table.classes), train.y.size)
    with ThreadPoolExecutor(THREADS) as pool:
        # These take most of the time of a small audit, and that is compiling, outside Python.
        climbs = {d.name: pool.submit(adapted, d) for d in tried if adapts and d.ours is not None}
        for defense in (None, *tried):
            name = "none" if defense is None else defense.name
            _, clean, dropped = behind(defense, None)
            found = [behind(defense, poison) for poison in ignorant]
            knowing = [(choosing, error) for choosing, error, _ in found]
            if name in climbs:
                knowing.append(behind(defense, climbs[name].result().within(kept, whole))[:2])
            poisoned = ignorant[0].places(train)
            choosing, error = max(knowing)
            table.append(Defended(
                name, clean, found[0][1], error, choosing, name in climbs, int(np.sum(dropped)),
                int(np.sum(found[0][2] & poisoned)), int(np.sum(poisoned)),
            ))  # fmt: skip
            advance("no defense" if defense is None else name)
    return tuple(table)


def by_group(
    judge: Judge, parts: Parts, poison: Poison, group: np.ndarray, fewest: int = 5
) -> tuple[tuple[Group, ...], list[str]]:
    """Errors in each group of the test rows, clean and poisoned; groups of too few are named.

    - `group` (n,): names, of all rows of the table.
    """
    names = group[parts.test.like]
    misses = [
        judge.misses(judge.fit(rows), parts.test)
        for rows in (parts.train, poison.into(parts.train))
    ]
    groups, notes = [], []
    for name in sorted(set(group)):
        inside = names == name
        if inside.sum() < fewest:
            notes.append(
                f"Group {name!r} has {int(np.sum(group == name))} rows, {int(inside.sum())} of "
                f"them to judge by, fewer than {fewest}: it has no figure."
            )
            continue
        weight = parts.test.weight[inside]
        clean, after = (float(np.average(m[inside], weights=weight)) for m in misses)
        groups.append(Group(str(name), int(inside.sum()), clean, after))
    return tuple(groups), notes
