"""The command line: `python -m benchmarks list`, `python -m benchmarks run NAME [options]`."""

import dataclasses
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

from .caches import HELP, keep_programs
from .registry import EXPERIMENTS, TIMED

USAGE = """usage: python -m benchmarks list
       python -m benchmarks run NAME [options] [--json FILE] [--out DIR] [--resume DIR]
       python -m benchmarks run NAME --help"""


@dataclasses.dataclass(frozen=True)
class Output:
    """Where the results go, whatever the experiment."""

    json: Path | None = None
    """Write rows, notes, options and environment to this file."""
    out: Path | None = None
    """Save pictures in this folder (made if it is not there)."""
    resume: Path | None = None
    """Keep what is made in this folder as it comes, and take what an interrupted run has left
    there. One folder serves all experiments."""
    jobs: int = 1
    """Make rows in so many processes at once, each on its share of the cores. Compare times only
    among runs with the same number."""


def listing() -> str:
    """One line per experiment."""
    width = max(map(len, EXPERIMENTS))
    return "\n".join(f"{name:{width}}  {e.description}" for name, e in EXPERIMENTS.items())


def _refuse(sentence: str) -> int:
    print(f"benchmarks: {sentence}", file=sys.stderr)
    return 2


def _unknown(word: str, known: Sequence[str], what: str) -> int:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return _refuse(f"no {what} is called {word!r}; {hint}")


def run(name: str, arguments: Sequence[str]) -> int:
    """Run one experiment with its options, as given on the command line."""
    import jax

    jax.config.update("jax_enable_x64", True)  # before the experiment makes any array
    programs = keep_programs()
    from .report import Report, UsageError

    module = EXPERIMENTS[name].load()
    shape = dataclasses.make_dataclass("Run", [("options", module.Options), ("output", Output)])
    try:
        parsed = tyro.cli(
            shape,
            args=arguments,
            prog=f"python -m benchmarks run {name}",
            description=f"{module.__doc__}\n\n{HELP}",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        output: Output = parsed.output
        print(f"Compiled programs are kept in {programs}", file=sys.stderr)
        if output.jobs != 1 and name in TIMED:
            raise UsageError(f"--jobs: {name} measures time, which others would take; leave it out")
        report = Report(
            name, parsed.options, json_path=output.json, out=output.out, resume=output.resume,
            jobs=output.jobs,
        )  # fmt: skip
        try:
            module.run(parsed.options, report)
        except KeyboardInterrupt:
            report.finish(complete=False)
            return 130
        report.finish()
    except UsageError as error:
        return _refuse(str(error))
    return 0


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    match list(arguments):
        case ["list"]:
            print(listing())
            return 0
        case ["run", name, *rest] if name in EXPERIMENTS:
            return run(name, rest)
        case ["run", name, *_] if not name.startswith("-"):
            return _unknown(name, list(EXPERIMENTS), "experiment")
        case [] | ["-h" | "--help", *_] | ["run", *_]:
            print(f"{USAGE}\n\n{HELP}\n\n{listing()}")
            return 0 if arguments else 2
        case [word, *_]:
            return _unknown(word, ["list", "run"], "command")
    return 2


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, no window is needed
    sys.exit(main(sys.argv[1:]))
