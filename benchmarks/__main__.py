"""The command line: `python -m benchmarks list`, `run NAME [options]`, `judge`, `board`."""

import dataclasses
import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from .caches import HELP, keep_programs
from .registry import EXPERIMENTS, TIMED

USAGE = """usage: python -m benchmarks list
       python -m benchmarks run NAME [options] [--json FILE] [--out DIR] [--resume DIR]
       python -m benchmarks run NAME --help
       python -m benchmarks judge POISON.npz ... [--known white grey black] [--json FILE]
       python -m benchmarks board RESULTS.json ... [--out FILE]"""


@dataclasses.dataclass(frozen=True)
class Judging:
    """Which files of poison are judged, by which victims."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """npz files, as `run poisoning-benchmark --out` writes them, or another tool."""
    known: tuple[Literal["white", "grey", "black"], ...] | None = None
    """What the victim's network has in common with the attacker's. By default all that the setting
    admits."""
    json: Path | None = None
    """Write the verdicts to this file."""


@dataclasses.dataclass(frozen=True)
class Boarding:
    """Which results the board shows."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """JSON files of `run poisoning-benchmark`, or folders of them."""
    out: Path = Path("board.html")
    """The page."""


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


def judge(arguments: Sequence[str]) -> int:
    """Judge files of poison, as given on the command line."""
    import jax

    jax.config.update("jax_enable_x64", True)
    keep_programs()
    from .poisons import judge as judged
    from .poisons.layout import load
    from .poisons.networks import admitted
    from .poisons.setting import named
    from .report import Report, UsageError

    options = tyro.cli(Judging, args=arguments, prog="python -m benchmarks judge")
    if not options.files:
        return _refuse("judge: got no file, expected npz files of poison")
    try:
        report = Report("judge", options, json_path=options.json)
        for file in options.files:
            poisons = load(file)
            for known in options.known or admitted(named(poisons.setting)):
                report.row(
                    file=file.name, setting=poisons.setting, victim=known,
                    **judged(poisons, known).row(), digest=poisons.digest(),
                )  # fmt: skip
        report.finish()
    except UsageError as error:
        return _refuse(str(error))
    return 0


def board(arguments: Sequence[str]) -> int:
    """Write the board, as given on the command line."""
    from .poisons import board as page
    from .report import UsageError

    options = tyro.cli(Boarding, args=arguments, prog="python -m benchmarks board")
    try:
        text = page(options.files)
    except UsageError as error:
        return _refuse(str(error))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text, encoding="utf-8")
    print(f"board: {options.out}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    match list(arguments):
        case ["list"]:
            print(listing())
            return 0
        case ["run", name, *rest] if name in EXPERIMENTS:
            return run(name, rest)
        case ["judge", *rest]:
            return judge(rest)
        case ["board", *rest]:
            return board(rest)
        case ["run", name, *_] if not name.startswith("-"):
            return _unknown(name, list(EXPERIMENTS), "experiment")
        case [] | ["-h" | "--help", *_] | ["run", *_]:
            print(f"{USAGE}\n\n{HELP}\n\n{listing()}")
            return 0 if arguments else 2
        case [word, *_]:
            return _unknown(word, ["list", "run", "judge", "board"], "command")
    return 2


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, no window is needed
    sys.exit(main(sys.argv[1:]))
