"""Bugs of a random sample of single changes that the fast tests did not see, and their like."""

MADE = "tests/defenses/data_audit/test_made_report.py"
ASSEMBLED = "tests/defenses/data_audit/test_assembled.py"
NAMES = "tests/test_names.py"
DEFAULTS = "tests/test_defaults.py"

AUDIT = tuple(
    ("defenses/data_audit/" + file, old, new, tests)
    for file, old, new, tests in (
        ("audit.py", 'if matched.name == "svm":', 'if matched.name == "logistic":', ASSEMBLED),
        ("audit.py", "        middle=middle,\n", "        middle=0,\n", ASSEMBLED),
        ("audit.py", "sample, max(counts), seed, moved)", "sample, min(counts), seed, moved)",
         ASSEMBLED),
        ("page.py", "if not report.groups:", "if report.groups:", MADE),
        ("page.py", "[i.name, i.shown, i.line]", "[i.name, i.shown, i.name]", MADE),
        ("page.py", "_rate(d.clean), _rate(d.found),\n", "_rate(d.found), _rate(d.clean),\n", MADE),
        ("charts.py", "return TOP + tall * (1 - min(error, top) / top)",
         "return TOP + (1 - min(error, top) / top)", MADE),
        ("charts.py", "width=\"{max(wide * error / top, 1):.1f}\"",
         "width=\"{max(wide * error, 1):.1f}\"", MADE),
        ("report.py", "elif isinstance(cell, bool | int | float | np.number | np.bool_):",
         "elif isinstance(cell, bool | np.bool_):", MADE),
        ("bound.py", '(-1.0, 1.0) if judge.table.task == "classes" else (0.0, 1.0)', "(0.0, 1.0)",
         MADE),
        ("bound.py", "domain.groups, domain.optional", "domain.groups", MADE),
        ("ranking.py", 'disputed(x, y, table.task == "classes")',
         'disputed(x, y, table.task != "classes")', MADE),
    )
)  # fmt: skip
STATIC = (
    (
        "benchmarks/experiments/model_defenses/strip.py",
        'made.append({"trigger": trigger, "kind": kind,',
        'made.append({"trigger": kind, "kind": trigger,', NAMES,
    ),
    (
        "attacks/fairness/report.py", '{"group": group, "reference": reference',
        '{"group": reference, "reference": group', NAMES,
    ),
    (
        "bilevel/solvers/smooth/newton.py", "reuse: float = 0.1", "reuse: float = 0.2", DEFAULTS,
    ),
)  # fmt: skip
MUTANTS = (*AUDIT, *STATIC)
