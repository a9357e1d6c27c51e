"""Figures and tables of the studies show what was measured, in the units that they name."""

import numpy as np

from bilevel.results import CONVERGED, MAX_STEPS, sentence
from bilevel.study.compare import Comparison
from bilevel.study.compare import Measured as Method
from bilevel.study.lag import Lag
from bilevel.study.lag import Measured as Length

WELL, BADLY = sentence(CONVERGED), sentence(MAX_STEPS)
COMPARISON = Comparison(
    [
        Method("exact", 0.5, None, 0.0, 0.0, 2e-15, 0.032, 1.7, 4_600_000, 6, WELL),
        Method("rough", 0.5, None, 2e-3, 0.11, 5e-3, 0.004, 0.9, 2_300_000, None, WELL),
        Method("path", 0.4, None, 3e-2, 1.9, None, 0.017, 2.6, 9_200_000, 30, BADLY),
        Method("lost", 0.4, None, np.nan, np.nan, np.nan, 0.013, 1.3, 9_300_000, 20, WELL),
    ],
    "exact",
)
LEAST = 1e-17
"""Where a logarithmic axis has an error of zero."""


def test_a_figure_has_milliseconds_errors_bounds_and_memory():
    (axes,) = COMPARISON.plot().axes
    assert axes.get_xlabel().startswith("CPU ms")
    marks = {text.get_text(): text.xy for text in axes.texts}
    places = {"exact": (32, LEAST), "rough": (4, 2e-3), "path": (17, 3e-2)}
    assert {name: at for name, at in marks.items() if name in places} == places
    found = np.concatenate([dots.get_offsets() for dots in axes.collections])
    np.testing.assert_allclose(found, list(places.values()), rtol=1e-12)
    areas = [dots.get_sizes()[0] - 30 for dots in axes.collections]
    np.testing.assert_allclose(areas, [250, 125, 500], rtol=1e-12)
    colours = [tuple(dots.get_facecolor()[0]) for dots in axes.collections]
    assert colours[0] == colours[1] != colours[2]  # the certified ones
    exact, rough, _ = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(exact, [(32, LEAST), (32, 2e-15)], rtol=1e-12)
    np.testing.assert_allclose(rough, [(4, 2e-3), (4, 5e-3)], rtol=1e-12)


def test_a_table_has_the_units_of_its_head():
    head, *rows = (line.split("  ") for line in str(COMPARISON).splitlines()[:5])
    head, *rows = ([cell.strip() for cell in line if cell] for line in (head, *rows))
    path = dict(zip(head, rows[2], strict=True))
    assert path == {
        "derivative": "path", "value": "0.4", "gradient error": "3.0e-02", "angle": "1.9e+00°",
        "certified to": "-", "CPU ms": "17", "compile s": "2.6", "memory MB": "9.2", "steps": "30",
    }  # fmt: skip
    assert str(COMPARISON).splitlines()[5:] == [
        "errors: against exact, with the smallest certified bound",
        f"path: {BADLY}",
    ]


def test_lags_have_the_inner_error_first_or_across_and_the_gradient_error_behind_or_up():
    rows = [Length("a", 10, 1e-1, 3e-1), Length("a", 60, 1e-4, 7e-4), Length("b", 10, 1e-2, 0.0)]
    head, first, *_ = str(Lag(rows)).splitlines()
    assert head.split("  ")[-2:] == ["error of w", "error of the gradient"]
    assert first.split() == ["a", "10", "1.0e-01", "3.0e-01"]
    (axes,) = Lag(rows).plot().axes
    assert axes.get_xlabel().endswith("inner solution")
    of_a, of_b, diagonal = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(of_a, [(1e-1, 3e-1), (1e-4, 7e-4)])
    np.testing.assert_allclose(of_b, [(1e-2, LEAST)])
    np.testing.assert_allclose(diagonal, [(1e-4, 1e-4), (1e-1, 1e-1)])
