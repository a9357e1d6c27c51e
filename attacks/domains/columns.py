"""Rows of mixed features: intervals, integers, binary features and one-hot groups."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from bilevel.tools import concrete, program

from ._bounds import bounds, require_shape, spread, together, widths
from ._domain import AbstractDomain, straight_through

LEVEL = 1e-6
"""Share of a spacing within which a value counts as a level."""


class Columns(AbstractDomain):
    """Rows whose features are continuous, integer, binary or one-hot.

    - `lower`, `upper`: () for all features, (d,) per feature, or (m, d) per feature and row. Equal
      bounds fix a feature.
    - `spacing`: () or (d,), distance between the levels lower + k spacing; 0 for a continuous
      feature, 1 / range for integers scaled by their range, 1 for a binary feature.
    - `groups`: tuples of indices of features that form a one-hot group: one of them is 1, the
      others are 0.
    - `optional`: whether a group may also be all zero, for a reference category without a feature;
      one for all groups, or one for each.

    `place` takes the nearest level. In a group the largest value becomes 1 and the others 0; in an
    optional group all become 0 unless the largest exceeds 1 / (1 + group size) (Jagielski et al.,
    IEEE S&P 2018). The convex set is the box, within [0, 1] for groups. Raises `ValueError` for
    bounds, spacings or groups that contradict each other.
    """

    lower: Float[Array, "..."]
    upper: Float[Array, "..."]
    spacing: Float[Array, "..."]
    groups: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    optional: tuple[bool, ...] = eqx.field(static=True)

    def __init__(
        self,
        lower,
        upper,
        spacing: ArrayLike | Sequence[float] = 0.0,
        groups: Sequence[Sequence[int]] = (),
        optional: bool | Sequence[bool] = False,
    ):
        self.lower, self.upper = bounds(lower, upper)
        self.spacing = jnp.asarray(spacing, float)
        self.groups = tuple(tuple(int(i) for i in group) for group in groups)
        each = [optional] * len(self.groups) if isinstance(optional, bool) else list(optional)
        self.optional = tuple(bool(o) for o in each)
        if len(self.optional) != len(self.groups):
            raise ValueError(
                f"optional: got {len(self.optional)} values, expected one for each of the "
                f"{len(self.groups)} groups, or one for all"
            )
        _require_groups(self.groups)
        arrays = {"lower": self.lower, "upper": self.upper, "spacing": self.spacing}
        if all(map(concrete, arrays.values())):
            self._require_levels(**arrays)

    def _require_levels(self, **arrays):
        low, high, spacing = together(**arrays)
        if low.ndim > 0:
            _require_width(self.groups, low.shape[-1], "groups")
        if not np.all(np.isfinite(spacing) & (spacing >= 0)):
            raise ValueError("spacing: expected finite numbers >= 0; 0 for a continuous feature")
        grouped = self._grouped(low.shape[-1]) if low.ndim > 0 else bool(self.groups)
        moving = (spacing > 0) & (low < high) & ~np.asarray(grouped)
        for wrong, what in (
            (~np.isfinite(low) | ~np.isfinite(high), "has infinite bounds, expected finite ones"),
            (spacing > high - low + LEVEL * spacing, "is wider than its bounds, which leaves one "
             "level; give equal bounds to fix it"),
        ):  # fmt: skip
            if np.any(moving & wrong):
                at = np.argwhere(np.atleast_1d(moving & wrong))[0][-1]
                raise ValueError(f"spacing: that of feature {at} {what}")
        if self.groups:
            self._require_one_hot(low, high)

    def _require_one_hot(self, low, high):
        width = low.shape[-1] if low.ndim > 0 else 1 + max(map(max, self.groups))
        shape = (*low.shape[:-1], width)
        low, high = (np.broadcast_to(a, shape) for a in (low, high))
        for group, optional in zip(self.groups, self.optional, strict=True):
            lower, upper = low[..., list(group)], high[..., list(group)]
            free = np.all((lower <= 0) & (upper >= 1), axis=-1)
            ones = np.sum(lower == 1, axis=-1)
            one_hot = np.all((lower == 0) | (lower == 1), axis=-1) & (
                (ones == 1) | (optional & (ones == 0))
            )
            if not np.all(free | (np.all(lower == upper, axis=-1) & one_hot)):
                raise ValueError(
                    f"groups: the bounds of {group} exclude 0 or 1, expected [0, 1] for all of "
                    "them, or all of them fixed to a valid one-hot row"
                )

    def check(self, shape, name="domain"):
        require_shape(f"{name}.lower", self.lower, shape)
        require_shape(f"{name}.upper", self.upper, shape)
        require_shape(f"{name}.spacing", self.spacing, shape[-1:])
        _require_width(self.groups, shape[-1], f"{name}.groups")

    def project(self, z):
        return _projected(self, z)

    def units(self, z):
        return widths(*self._box(z), z)

    def place(self, z):
        return _placed(self, z)

    def fix(self, columns: Sequence[int], rows) -> "Columns":
        """This domain with the features `columns` (indices) fixed to their values in `rows`, (d,)
        or (m, d). ValueError for values that are not valid and for a part of a group.
        """
        rows = jnp.asarray(rows, float)
        self.check(rows.shape, "columns")
        columns = [int(c) for c in columns]
        outside = [c for c in columns if not 0 <= c < rows.shape[-1]]
        if outside:
            raise ValueError(
                f"columns: got {outside[0]}, expected indices from 0 to {rows.shape[-1] - 1}"
            )
        for group in self.groups:
            if 0 < len(set(group) & set(columns)) < len(group):
                raise ValueError(
                    f"columns: got a part of the one-hot group {group}, expected all of it or none"
                )
        placed = self.place(rows)
        if concrete(placed):
            gap = np.abs(np.asarray(placed - rows))[..., columns]
            if not np.all(gap <= LEVEL):
                at = columns[int(np.argmax(np.max(np.atleast_2d(gap), axis=0)))]
                raise ValueError(
                    f"rows: column {at} has a value that is not valid there, expected a level "
                    "within its bounds; use place(rows)"
                )
        shape = jnp.broadcast_shapes(rows.shape, self.lower.shape, self.upper.shape)
        values = jnp.broadcast_to(placed, shape)[..., columns]
        lower, upper = (
            jnp.broadcast_to(a, shape).at[..., columns].set(values)
            for a in (self.lower, self.upper)
        )
        return Columns(lower, upper, self.spacing, self.groups, self.optional)

    def _grouped(self, width: int) -> np.ndarray:
        return np.isin(np.arange(width), [i for group in self.groups for i in group])

    def _box(self, z):
        lower, upper = spread(self.lower, z), spread(self.upper, z)
        if not self.groups:
            return lower, upper
        grouped = jnp.broadcast_to(self._grouped(z.shape[-1]), z.shape)
        return (
            jnp.where(grouped, jnp.maximum(lower, 0), lower),
            jnp.where(grouped, jnp.minimum(upper, 1), upper),
        )

    def _nearest_level(self, z, lower, upper):
        """The nearest level, computed as a share of the interval, so that both ends are exact."""
        spacing = spread(self.spacing, z)
        inside = jnp.clip(z, lower, upper)
        spaced = (spacing > 0) & (lower < upper)
        unit = jnp.where(spaced, spacing, 1)
        low, width = (jnp.where(spaced, a, b) for a, b in ((lower, 0), (upper - lower, 1)))
        steps = width / unit
        slack = LEVEL + 4 * jnp.finfo(z.dtype).eps * steps
        last = jnp.floor(steps + slack)
        exact = jnp.abs(last - steps) <= slack
        top = jnp.where(exact, width, last * unit)
        k = jnp.clip(jnp.round((inside - low) / unit), 0, last)
        level = jnp.where((k == last) & exact, upper, low + top * (k / jnp.maximum(last, 1)))
        return jnp.where(spaced, level, inside)


# As one program each: op by op, they compile and run some twenty.
@program
def _projected(domain: Columns, z):
    return jnp.clip(z, *domain._box(z))


@program
def _placed(domain: Columns, z):
    lower, upper = domain._box(z)
    fixed = lower >= upper
    level = domain._nearest_level(z, lower, upper)
    valid = _one_hot(level, z, domain.groups, domain.optional)
    placed = straight_through(z, valid)
    return jnp.where(fixed, lower, placed)


def _one_hot(values, z, groups, optional):
    """`values` with every group replaced by the one-hot row nearest to z."""
    if not groups:
        return values
    sizes = np.array([len(group) for group in groups])
    index = np.zeros((len(groups), sizes.max()), int)
    real = np.arange(sizes.max()) < sizes[:, None]
    columns = np.concatenate([np.asarray(group) for group in groups])
    index[real] = columns
    group_of, place_of = np.nonzero(real)
    relaxed = jnp.where(real[(None,) * (z.ndim - 1)], z[..., index], -jnp.inf)
    best, level = jnp.argmax(relaxed, axis=-1), jnp.max(relaxed, axis=-1)
    needed = np.where(optional, 1 / (1 + sizes), -np.inf).astype(z.dtype)
    chosen = jnp.where(level > needed[(None,) * (z.ndim - 1)], best, -1)
    hot = chosen[..., group_of] == place_of[(None,) * (z.ndim - 1)]
    return values.at[..., columns].set(lax.stop_gradient(hot.astype(z.dtype)))


def _require_groups(groups):
    seen: set[int] = set()
    for group in groups:
        if not group:
            raise ValueError("groups: got an empty group, expected at least one feature in each")
        for i in group:
            if i < 0:
                raise ValueError(f"groups: got the feature {i}, expected indices from 0 on")
            if i in seen:
                raise ValueError(f"groups: feature {i} is named twice; groups must not overlap")
            seen.add(i)


def _require_width(groups, width, name):
    last = max((max(group) for group in groups), default=-1)
    if last >= width:
        raise ValueError(
            f"{name}: got the feature {last}, expected indices from 0 to {width - 1} for {width} "
            "features"
        )
