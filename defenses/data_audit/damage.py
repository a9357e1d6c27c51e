"""How much poison does at each budget, and what each defense leaves of it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, PyTree

import bilevel
from bilevel import Certificate

from .attacker import ADAPTIVE_FEATURES, Attacker, Sample, flips, random_mistakes
from .bound import certified_of
from .defending import Defense, offered, sanitised
from .influence import SURE, Influence
from .judge import Judge, Parts, Poison, standard_error
from .reading import counted
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
    """Budgets with the poison of each attack sought there, the best of all attempts first.

    - `added`: rows added along the hypergradient at the middle budget; `ended`: where that ascent
      ended; `certificate`: of the gradient there.
    """

    budgets: tuple[Budget, ...]
    poisons: tuple[tuple[Poison, ...], ...]
    added: Poison | None
    ended: PyTree
    certificate: Certified | None


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
    """The best attack at each budget, by the rows that the attacker knows, judged by the others.
    Labels at random are attacks as well, and so is to change nothing.
    """
    classes, train = len(judge.table.classes), parts.train
    known = train.and_(parts.choose)
    draws, rounds = (DRAWS, ROUNDS) if train.y.size <= LARGE else (FEW_DRAWS, FEW_ROUNDS)
    changed = flips(influence, tuple(counts), rounds)
    advance("labels changed by the hypergradient")
    budgets, poisons, added, ended, certificate = [], [], None, None, None

    def attempt(poison: Poison) -> Attempt:
        model = judge.fit(poison.into(train))
        return Attempt(poison.name, judge.error(model, known), judge.error(model, parts.test))

    idle = Poison("nothing changed")
    unharmed = attempt(idle)
    for number, (count, share) in enumerate(zip(counts, shares, strict=True)):
        tried = [changed[number]]
        if reach == "observed":
            poison, attack, z = attacker.climb(count)
            tried += [poison, attacker.unmoved(count)]
            if number == middle:
                added, ended, certificate = poison, z, _state(bilevel.certify(attack, z))
        mistakes = [random_mistakes(train, count, classes, 1000 * seed + d) for d in range(draws)]
        made = [(attempt(poison), poison) for poison in (*tried, *mistakes)]
        at_random = [one.error for one, _ in made[len(tried) :]]
        made = sorted([*made, (unharmed, idle)], key=lambda pair: -pair[0].choosing)
        bound = certified_of(judge, parts, count, reach)
        best, worst = made[0]
        budgets.append(Budget(
            share, count, best.error, best.name, float(np.mean(at_random)),
            float(np.std(at_random)), bound, tuple(one for one, _ in made),
        ))  # fmt: skip
        sought = [poison for _, poison in made[1:] if any(poison is one for one in tried)]
        poisons.append((worst, *sought))
        advance(f"{count} rows of poison")
    return Found(tuple(budgets), tuple(poisons), added, ended, certificate)


class Behind(NamedTuple):
    """Errors behind a defense: on the rows that the attacker knows, on those of them that nobody
    trains on, on rows to judge by; and which training rows the defense touched.
    """

    known: float
    choosing: float
    judged: float
    touched: Bool[np.ndarray, " m"]


def _state(certificate: Certificate) -> Certified:
    """What a certificate says of the ascent's gradient; a kink nearby, a category about to change,
    leaves it uncertified.
    """
    leaves = jax.tree.leaves(certificate.gradient)
    size = float(np.linalg.norm(np.concatenate([np.ravel(np.asarray(leaf)) for leaf in leaves])))
    sure = size > 0 and float(certificate.error_bound) <= SURE * size
    return Certified("rows added, where their ascent ended", sure, str(certificate))


def defended(
    judge: Judge,
    parts: Parts,
    attacker: Attacker,
    sample: Sample,
    poisons: Sequence[Poison],
    ended: PyTree,
    count: int,
    reach: str,
    advance: Advance,
) -> tuple[Defended, ...]:
    """No defense, and each one told the attacker's share of the rows, against the attacks at one
    budget: those that ignore it, and those sought through each defense.

    - `attacker`: who adapts, by a small sample of its own. `sample`: of the training rows that the
      defenses are tried on.
    - `poisons`: the attacks of `count` rows that ignore the defense, the best first. `ended`: where
      the ascent among them ended.
    """
    whole, kept = parts.train.y.size, sample.places
    train, known = parts.train.take(kept), parts.train.and_(parts.choose)
    share = count / (whole + (count if reach == "observed" else 0))
    ignorant = [poison.within(kept, whole) for poison in poisons]
    adapts = reach == "observed" and train.x.shape[1] <= ADAPTIVE_FEATURES

    def behind(defense: Defense | None, poison: Poison | None) -> Behind:
        rows = train if poison is None else poison.into(train)
        touched = np.zeros(rows.y.size, bool)
        left = rows
        if defense is not None:
            left, touched = sanitised(judge, defense, share, rows)
        model = judge.fit(left)
        judged = judge.error(model, parts.test)
        return Behind(judge.error(model, known), judge.error(model, parts.choose), judged, touched)

    def adapted(defense: Defense) -> tuple[Poison, ...]:
        """Rows added through the defense; the setting of precision is each thread's own."""
        with jax.enable_x64(True):
            return attacker.through(lambda learner: defense.ours(learner, share), count, ended)

    tried: list[Any] = [None, *offered(len(judge.table.classes), train.y.size)]
    with ThreadPoolExecutor(THREADS) as pool:
        # These take most of the time of a small audit, and that is compiling, outside Python.
        climbs = {
            d.name: pool.submit(adapted, d) for d in tried[1:] if adapts and d.ours is not None
        }
        clean = [behind(defense, None) for defense in tried]
        found = [[behind(defense, poison) for poison in ignorant] for defense in tried]
        for defense in tried:
            name = "no defense" if defense is None else defense.name
            if name in climbs:  # what was sought through one defense may pass another
                knowing = [poison.within(kept, whole) for poison in climbs[name].result()]
                for other, errors in zip(tried, found, strict=True):
                    errors += [behind(other, poison) for poison in knowing]
            advance(name)
    poisoned, table = ignorant[0].places(train), []
    for defense, spared, errors in zip(tried, clean, found, strict=True):
        name = "none" if defense is None else defense.name
        worst = max(errors, key=lambda one: (one.known, one.judged))
        table.append(Defended(
            name, spared.judged, errors[0].judged, worst.judged, worst.choosing, name in climbs,
            int(np.sum(spared.touched)), int(np.sum(errors[0].touched & poisoned)),
            int(np.sum(poisoned)),
        ))  # fmt: skip
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
                f"Group {name!r} has {counted(int(np.sum(group == name)), 'row')}, "
                f"{int(inside.sum())} to judge by, fewer than {fewest}: it has no figure."
            )
            continue
        weight = parts.test.weight[inside]
        clean, after = (float(np.average(m[inside], weights=weight)) for m in misses)
        uncertain = standard_error(misses[1][inside], weight)
        groups.append(Group(str(name), int(inside.sum()), clean, after, uncertain))
    return tuple(groups), notes
