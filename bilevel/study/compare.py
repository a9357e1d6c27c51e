"""`compare`: error, cost and memory of one hypergradient by several derivatives."""

import time
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import PyTree

from .._bilevel import AbstractBilevel
from .._certificate import Certificate
from .._tree import norm
from ..results import CONVERGED, SENTENCES, sentence
from ._method import Methods, best, certified, compiled, degrees, named, relative, using
from ._table import table


class Measured(NamedTuple):
    """Measurements of one method.

    - `name`; `value` of the objective and its `gradient`.
    - `error`: |gradient - reference| / |reference|. `angle` to the reference, in degrees.
    - `bound`: error bound of its certificate over |gradient|; None for a derivative of a path.
    - `seconds`, `compile_seconds`: CPU time of value and gradient (fastest repeat), and of tracing
      and compiling them (short if a persistent compilation cache holds the program).
    - `memory`: bytes that the compiled program allocates, without its arguments; 0 if the backend
      does not report them.
    - `steps`: steps of the inner solver; None if it reports none.
    - `message`: sentence of the result of the inner solve.
    """

    name: str
    value: float
    gradient: PyTree
    error: float
    angle: float
    bound: float | None
    seconds: float
    compile_seconds: float
    memory: int
    steps: int | None
    message: str


class Comparison(NamedTuple):
    """Result of `compare`; `str()` is a table, `plot()` a figure.

    - `rows`: one per method, in the given order.
    - `reference`: name of the method whose gradient is the reference for errors: the one with the
      smallest certified bound; None if no bound is finite.
    """

    rows: list[Measured]
    reference: str | None

    def __str__(self) -> str:
        cells = [
            {
                "derivative": row.name,
                "value": f"{row.value:.6g}",
                "gradient error": f"{row.error:.1e}",
                "angle": f"{row.angle:.1e}°",
                "certified to": "-" if row.bound is None else f"{row.bound:.1e}",
                "CPU ms": f"{1e3 * row.seconds:.3g}",
                "compile s": f"{row.compile_seconds:.2g}",
                "memory MB": f"{row.memory / 1e6:.3g}",
                "steps": "-" if row.steps is None else str(row.steps),
            }
            for row in self.rows
        ]
        lines = [table(cells)]
        if self.reference is None:
            lines.append("errors: unknown, no gradient could be certified")
        else:
            lines.append(f"errors: against {self.reference}, with the smallest certified bound")
        lines += [f"{r.name}: {r.message}" for r in self.rows if r.message != SENTENCES[CONVERGED]]
        return "\n".join(lines)

    def plot(self) -> Any:
        """Error against CPU time; the area of a mark is its memory. Needs matplotlib."""
        from ._plots import draw_comparison

        return draw_comparison(self)


def compare(
    objective: AbstractBilevel, z: PyTree, derivatives: Methods, *, seconds: float = 1.0
) -> Comparison:
    """Measure value and hypergradient of `objective` at z by several derivatives.

    - `objective`: a composed attack or a `Bilevel`.
    - `z`: the point, a pytree of floating arrays.
    - `derivatives`: a sequence of derivatives, or a mapping from names to derivatives or to
      `Method(solver, derivative)`, for derivatives that need another solver.
    - `seconds`: CPU time for repeats of each, in seconds.

    Raises `ValueError` if there are no derivatives.
    """
    methods = named(objective, derivatives)
    certificates = certified(objective, methods, z)
    reference = best(certificates)
    rows = []
    for name, method in methods.items():
        swapped = using(objective, method)
        arrays = eqx.filter(swapped, eqx.is_array)
        begun = time.process_time()
        program = compiled(swapped)(z).compile()
        compile_seconds = time.process_time() - begun
        result = jax.block_until_ready(program(arrays, z))
        times: list[float] = []
        while len(times) < 2 or (sum(times) < seconds and len(times) < 1000):
            begun = time.process_time()
            jax.block_until_ready(program(arrays, z))
            times.append(time.process_time() - begun)
        certificate = certificates.get(name)
        error = angle = float("nan")
        if reference is not None:
            error = relative(result.gradient, certificates[reference].gradient)
            angle = degrees(result.gradient, certificates[reference].gradient)
        steps = result.info.stats.get("steps")
        rows.append(
            Measured(
                name=name,
                value=float(result.value),
                gradient=result.gradient,
                error=error,
                angle=angle,
                bound=None if certificate is None else _share(certificate),
                seconds=min(times),
                compile_seconds=compile_seconds,
                memory=_memory(program),
                steps=None if steps is None else int(steps),
                message=sentence(result.info.result),
            )
        )
    return Comparison(rows, reference)


def _share(certificate: Certificate) -> float:
    size = float(norm(certificate.gradient))
    return float(certificate.error_bound) / size if size > 0 else float(certificate.error_bound)


def _memory(program: jax.stages.Compiled) -> int:
    analysis = program.memory_analysis()
    if analysis is None:  # some backends have no analysis
        return 0
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes
