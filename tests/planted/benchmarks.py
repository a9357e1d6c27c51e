"""Bugs to plant in `benchmarks`: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "benchmarks/data/_table.py", "scaled(t.x, train.x)", "scaled(t.x)",
        "tests/benchmarks/test_tables.py",
    ),
    (
        "benchmarks/data/mnist.py", 'for k in ("tr", "val", "ts", "init")',
        'for k in ("tr", "ts", "val", "init")', "tests/benchmarks/test_data.py",
    ),
    (
        "benchmarks/data/_table.py", "name.rpartition", "name.partition",
        "tests/benchmarks/test_groups.py",
    ),
    (
        "benchmarks/report.py", "{np.std(values):.{digits}f}",
        "{np.std(values, ddof=1):.{digits}f}",
        "tests/benchmarks/experiments/test_reported_figures.py",
    ),
    (
        "benchmarks/twins.py", "return Strengths(self.C / times, self.alpha * times, self.gamma)",
        "return Strengths(self.C / times, self.alpha / times, self.gamma)",
        "tests/benchmarks/test_twins.py",
    ),
    (
        "benchmarks/data/mnist.py", "official = order >= digits.test_from",
        "official = order > digits.test_from", "tests/benchmarks/test_data.py",
    ),
    (
        "benchmarks/data/files.py", ' | {"init": len(held["tr"])}', "",
        "tests/benchmarks/test_tables.py",
    ),
    (
        "benchmarks/clock.py", "compilations.programs == 0", "compilations.programs >= 0",
        "tests/benchmarks/test_cli.py",
    ),
    (
        "benchmarks/report.py", "self.resume / self.experiment / make.__name__",
        "self.resume / make.__name__", "tests/benchmarks/test_resume.py",
    ),
    (
        "benchmarks/report.py", "if time.monotonic() - self._saved > EVERY:",
        "if False:", "tests/benchmarks/test_resume.py",
    ),
    (
        "benchmarks/report.py", "[version(), plain(options), plain(unit)]",
        "[version(), plain(unit)]", "tests/benchmarks/test_resume.py",
    ),
    (
        "benchmarks/poisons/layout.py", "change[i] > most + 1e-3",
        "change[i] > most + 9", "tests/benchmarks/test_poisons.py",
    ),
    (
        "benchmarks/poisons/layout.py", "left = np.intersect1d(base, clean)",
        "left = np.intersect1d(base, clean[:0])", "tests/benchmarks/test_poisons.py",
    ),
    (
        "benchmarks/poisons/judging.py", "float(part[right].mean())",
        "float(part.mean())", "tests/benchmarks/test_poisons.py",
    ),
    (
        "benchmarks/poisons/judging.py", "plain == true, error",
        "plain != true, error", "tests/benchmarks/test_poisons.py",
    ),
    (
        "benchmarks/poisons/setting.py", "np.setdiff1d(np.flatnonzero(test == true), taken)",
        "np.flatnonzero(test == true)", "tests/benchmarks/test_poisons.py",
    ),
    (
        "benchmarks/clean_label.py", "self.high - self.low)[None]", "self.high)[None]",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/clean_label.py", "for k in (3, 5, 7)})", "for k in (3, 5)})",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/clean_label.py", "np.std(values, ddof=1)", "np.std(values)",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/pretraining.py",
        "x[rank >= TEST], y[rank >= TEST]",
        "x[rank >= 0], y[rank >= 0]",
        "tests/benchmarks/experiments/test_targeted_experiments.py",
    ),
    (
        "benchmarks/report.py", "[version(), plain(options), plain(unit)]",
        "[version(), plain(options)]", "tests/benchmarks/test_resume.py",
    ),
)  # fmt: skip
