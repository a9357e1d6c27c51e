"""A figure in words: what is drawn where, in which colour, under which name.

Widths of lines, sizes of letters and places of legends are left out: they may change freely.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection, PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer
from matplotlib.contour import QuadContourSet
from matplotlib.markers import MarkerStyle
from matplotlib.patches import Rectangle
from matplotlib.quiver import Quiver
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter

from benchmarks.pictures import style

COLOURS = {
    getattr(style, name): name.lower()
    for name in ("INK", "QUIET", "BLUE", "RED", "ORANGE", "GREEN")
}
MARKERS = "os^Dx*"


def numbers(values: Any) -> str:
    """Four digits of each: rounding on another machine does not change them."""
    each = np.ma.filled(np.ma.asarray(values, float), np.nan).ravel()
    return " ".join(f"{value + 0.0:.4g}" for value in each)


def means(*values: Any) -> str:
    """The same of means, which may be zero but for rounding."""
    return numbers(np.round(values, 12))


def colour(value: Any) -> str:
    name = to_hex(value)
    return COLOURS.get(name, name)


def named(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else f" {label!r}"


def array(values: Any) -> str:
    """Shape, mean, and how far down and how far right the values are: those of another array, or
    of a turned one, differ.
    """
    values = np.ma.filled(np.ma.asarray(values, float), np.nan)
    down, right = (
        np.nanmean(np.moveaxis(values, axis, -1) * np.linspace(0, 1, values.shape[axis]))
        for axis in (0, 1)
    )
    shape = " x ".join(map(str, values.shape))
    return f"{shape}, {means(np.nanmean(values), down, right)}"


def line(artist: Any) -> str:
    mark = artist.get_marker()
    hollow = mark != "None" and to_hex(artist.get_markerfacecolor()) == "#ffffff"
    look = f"{artist.get_linestyle()}{mark}{' hollow' * hollow}".replace("None", "")
    x, y = artist.get_data()
    return f"{colour(artist.get_color())} {look}{named(artist)}: {numbers(x)}; {numbers(y)}"


def dots(artist: PathCollection) -> str:
    drawn = artist.get_paths()[0].vertices
    each = {mark: MarkerStyle(mark) for mark in MARKERS}
    paths = {m: s.get_path().transformed(s.get_transform()).vertices for m, s in each.items()}
    mark = next(m for m, p in paths.items() if p.shape == drawn.shape and np.allclose(p, drawn))  # pyright: ignore
    x, y = np.reshape(artist.get_offsets(), (-1, 2)).T
    look = colour(artist.get_facecolor()[0])  # pyright: ignore
    return f"dots {mark} {look}{named(artist)}: {numbers(x)}; {numbers(y)}"


def collection(artist: Any) -> str:
    if isinstance(artist, PathCollection):
        return dots(artist)
    if isinstance(artist, QuadMesh):
        return f"mesh {artist.get_cmap().name}: {array(artist.get_array())}"
    if isinstance(artist, QuadContourSet):
        ends = np.concatenate([path.vertices for path in artist.get_paths()])  # pyright: ignore
        dashed = artist.get_linestyle()[0][1] is not None  # pyright: ignore
        return f"contour{' dashed' * dashed}: around {means(*ends.mean(axis=0))}"
    if isinstance(artist, Quiver):
        each = np.column_stack([artist.X, artist.Y, artist.U, artist.V])
        return f"arrows: {'; '.join(map(numbers, each))}"
    if isinstance(artist, LineCollection):
        ends = [segment.ravel() for segment in artist.get_segments()]
        return f"whiskers: {'; '.join(map(numbers, ends))}"
    edge = artist.get_paths()[0].vertices
    x = np.unique(edge[:, 0])
    low, high = ([f(edge[edge[:, 0] == at, 1]) for at in x] for f in (np.min, np.max))
    return (
        f"band {colour(artist.get_facecolor()[0])}: {numbers(x)}; {numbers(low)}; {numbers(high)}"
    )


def bars(container: BarContainer) -> str:
    each: Any = container.patches
    flat = container.orientation == "horizontal"
    place = [
        b.get_y() + b.get_height() / 2 if flat else b.get_x() + b.get_width() / 2 for b in each
    ]
    size = [b.get_width() if flat else b.get_height() for b in each]
    kind = f"bars from {numbers([b.get_x() for b in each])}" if flat else "bars"
    look = colour(each[0].get_facecolor())
    return f"{kind} {look}{named(container)}: {numbers(place)}; {numbers(size)}"


def text(artist: Any) -> str:
    at = numbers(artist.xy if isinstance(artist, Annotation) else artist.get_position())
    if isinstance(artist, Annotation) and artist.arrow_patch is not None:
        look = colour(artist.arrow_patch.get_edgecolor())
        return f"arrow {look}: {numbers(artist.get_position())} to {at}"
    return f"{artist.get_text()!r} {colour(artist.get_color())} at {at}"


def scale(axis: Axis, name: str) -> str:
    """Label, scale, limits if they are set, and ticks if they are."""
    axes: Any = axis.axes
    low, high = getattr(axes, f"get_{name}lim")()
    label = axis.get_label_text()
    parts = [repr(label)] if label else []
    parts += [axis.get_scale()] if axis.get_scale() != "linear" else []
    parts += ["downwards"] if low > high else []
    if not getattr(axes, f"get_autoscale{name}_on")():
        parts.append(f"from {numbers(low)} to {numbers(high)}")
    locator: Any = axis.get_major_locator()
    written = axis.get_major_formatter()
    fixed, own = isinstance(locator, FixedLocator), isinstance(written, FuncFormatter)
    if fixed:
        parts.append(f"ticks {numbers(locator.locs)}" if len(locator.locs) else "no ticks")
    if own:
        places = locator.locs if fixed else (0.25,)
        words = ", ".join(repr(written(place, 0)) for place in places)
        parts += [f"written {words}" if fixed else f"0.25 written {words}"] if words else []
    return f"  {name}: {', '.join(parts)}" if parts else ""


def panel(axes: Axes) -> Iterator[str]:
    spec = axes.get_subplotspec()
    where = f"{spec.rowspan.start} {spec.colspan.start}" if spec else "beside"
    titles = (axes.get_title(place) for place in ("left", "center", "right"))
    yield f"- {where} {', '.join(repr(title) for title in titles if title)}".rstrip()
    if axes.axison:
        yield from (scale(axes.xaxis, "x"), scale(axes.yaxis, "y"))
    for image in axes.images:
        values: Any = image.get_array()
        look = f" {image.get_cmap().name} {numbers(image.get_clim())}" if values.ndim < 3 else ""
        yield f"  image{look}: {array(values)}"
    groups = [group for group in axes.containers if isinstance(group, BarContainer)]
    yield from (f"  {bars(group)}" for group in groups)
    inside = {id(bar) for group in groups for bar in group}
    for patch in axes.patches:
        if id(patch) not in inside and isinstance(patch, Rectangle):
            place = numbers([*patch.get_xy(), patch.get_width(), patch.get_height()])
            yield f"  {'box' if patch.get_fill() else 'frame'}: {place}"
    for artist in axes.collections:
        if not isinstance(artist, LineCollection) or artist.get_paths():  # colour bars have empty
            yield f"  {collection(artist)}"
    yield from (f"  {line(artist)}" for artist in axes.lines)
    yield from (f"  {text(artist)}" for artist in axes.texts)
    legend = axes.get_legend()
    if legend is not None:
        yield f"  legend: {', '.join(repr(each.get_text()) for each in legend.get_texts())}"


def written_beside(figure: Any) -> Iterator[str]:
    """What belongs to no panel, of parts of the figure too."""
    for label in (figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()):
        if label:
            yield repr(label)
    over = {id(getattr(figure, name)) for name in ("_suptitle", "_supxlabel", "_supylabel")}
    yield from (text(each) for each in figure.texts if id(each) not in over)
    for legend in figure.legends:
        each: Any = zip(legend.legend_handles, legend.get_texts(), strict=True)
        yield f"legend: {', '.join(f'{colour(h.get_color())} {t.get_text()!r}' for h, t in each)}"
    for part in figure.subfigs:
        yield from written_beside(part)


def depicted(figure: Any) -> str:
    """A line for the figure, for what is written beside panels, and for each thing in a panel."""
    lines = [f"{numbers(figure.get_size_inches())} inches", *written_beside(figure)]
    for axes in figure.axes:
        lines += panel(axes) if axes.get_visible() else ["- hidden"]
    return "\n".join(each for each in lines if each)
