"""Bugs of a random sample of single changes that the fast tests did not see, and their like."""

MADE = "tests/defenses/data_audit/test_made_report.py"
ASSEMBLED = "tests/defenses/data_audit/test_assembled.py"
NAMES = "tests/test_names.py"
DEFAULTS = "tests/test_defaults.py"
EDGES, DEFENSE_EDGES = "tests/bilevel/test_edges.py", "tests/defenses/test_defense_edges.py"
TRIM, CAPABILITIES = "tests/defenses/test_trim.py", "tests/attacks/test_capabilities.py"
PICTURES = "tests/benchmarks/test_pictures.py"
EXPERIMENTS = "tests/benchmarks/experiments/"
SAID = EXPERIMENTS + "test_said.py"
PARTS = EXPERIMENTS + "test_parts_of_experiments.py"

AUDIT = tuple(
    ("defenses/data_audit/" + file, old, new, tests)
    for file, old, new, tests in (
        ("audit.py", 'if matched.name == "svm":', 'if matched.name == "logistic":', ASSEMBLED),
        ("audit.py", "        middle=middle,\n", "        middle=0,\n", ASSEMBLED),
        ("audit.py", "sample, max(counts), seed, moved)", "sample, min(counts), seed, moved)",
         ASSEMBLED),
        ("page.py", "if not report.groups:", "if report.groups:", MADE),
        ("page.py", "[i.name, i.shown, i.line]", "[i.name, i.shown, i.name]", MADE),
        ("page.py", "rate(d.clean), rate(d.found),\n", "rate(d.found), rate(d.clean),\n", MADE),
        ("charts.py", "return TOP + tall * (1 - min(error, top) / top)",
         "return TOP + (1 - min(error, top) / top)", MADE),
        ("charts.py", "width=\"{max(wide * error / top, 1):.1f}\"",
         "width=\"{max(wide * error, 1):.1f}\"", MADE),
        ("report.py", "elif isinstance(cell, bool | int | float | np.number | np.bool_):",
         "elif isinstance(cell, bool | np.bool_):", MADE),
        ("bound.py", '(-1.0, 1.0) if judge.table.task == "classes" else (0.0, 1.0)', "(0.0, 1.0)",
         MADE),
        ("report.py", "None if best is None else best.name", "None", MADE),
        ("columns.py", "dense = present.max() - present.min() <", "dense = present.max() <",
         "tests/defenses/data_audit/test_ingest.py"),
        ("report.py", "isinstance(value, int | np.integer)", "isinstance(value, int)", MADE),
        ("ingest.py", "series.dtype) and not types.is_bool_dtype(series.dtype)\n    if task",
         "series.dtype)\n    if task", MADE),
        ("ingest.py", 'if task == "numbers" or number:', 'if task != "numbers" or number:', MADE),
        ("match.py", "max_iter=100_000), losses.Squares()", "max_iter=100_000), losses.Hinge()",
         MADE),
        ("certified/_displacement.py", "1e-8, 1 + c / 2", "1e-8, 2 + c / 2", MADE),
        ("audit.py", "labels[np.argmax(np.bincount", "labels[np.argmin(np.bincount", ASSEMBLED),
        ("bound.py", "domain.groups, domain.optional", "domain.groups", MADE),
        ("ranking.py", 'disputed(x, y, table.task == "classes")',
         'disputed(x, y, table.task != "classes")', MADE),
    )
)  # fmt: skip
STATIC = (
    ("attacks/goals/shown.py", "world.shown(self.x, key=key)", "world.shown(self.x)", NAMES),
    (
        "attacks/capabilities/with_trigger.py", "self.reach.present(z, x, key=key)",
        "self.reach.present(z, x)", NAMES,
    ),
    ("attacks/recipes/fairness_influence.py", "steps=steps, ascent", "ascent", NAMES),
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
SOLVED = tuple(
    ("bilevel/" + file, old, new, EDGES)
    for file, old, new in (
        ("_maximize.py", "return jnp.any(jnp.all(leaf == 0,", "return jnp.all(jnp.all(leaf == 0,"),
        ("_maximize.py", "finite = jnp.isfinite(value) & jnp.isfinite(size)",
         "finite = jnp.isfinite(value)"),
        ("solvers/path/projected_gradient.py", "unit = jnp.min(jnp.where(still[1] != 0",
         "unit = jnp.max(jnp.where(still[1] != 0"),
        ("study/lag.py", ", throw=False", ""),
        ("study/_differences.py", "    if not leaves:\n        return jnp.zeros(0)\n", ""),
        ("problems/box_qp.py", "if apart > 1e-6 * np.max(np.abs(Q)):", "if apart > 1e-6:"),
        ("problems/box_qp.py", "if concrete(self.lower) and concrete(self.upper):",
         "if concrete(self.lower) or concrete(self.upper):"),
        ("linear/gmres.py", "flat(backsolve) if self.precondition else (lambda v: v)",
         "(lambda v: v)"),
        ("stochastic/saba.py", "range(1, batch) if", "range(2, batch) if"),
        ("penalties/group_l1.py", "(labels.size and labels.min() < 0)", "labels.min() < 0"),
        ("solvers/path/descent.py", "jnp.where(x > 0, t /", "jnp.where(x >= 0, t /"),
        ("solvers/path/clipped.py", "                and np.isfinite(value)\n", ""),
        ("solvers/path/clipped.py", "np.ndim(value) == 0\n                and ", ""),
        ("learners/kernels.py", "np.any(rows != 0, axis=0)", "np.any(rows != 0, axis=1)"),
        ("problems/penalised_least_squares.py", "len(shape) != 2 or jnp", "jnp"),
        ("study/_table.py", "max(len(name), *(len(row[name])", "min(len(name), *(len(row[name])"),
        ("linear/cg.py", "if self.precondition", "if not self.precondition"),
    )
)  # fmt: skip
DEFENDED = tuple(
    ("defenses/" + file, old, new, tests)
    for file, old, new, tests in (
        ("purify/inpainter.py", "(0, -height % block)", "(0, height % block)", DEFENSE_EDGES),
        ("purify/inpainter.py", "constant_values=1)", "constant_values=0)", DEFENSE_EDGES),
        ("purify/inpainter.py", ' + layer["bias"][None, None, None]', "", DEFENSE_EDGES),
        ("sanitise/_sanitiser.py", "jnp.where(self.seen.decided, self.labels, data.y)",
         "jnp.where(self.seen.decided, data.y, self.labels)", DEFENSE_EDGES),
        ("sanitise/trim.py", "point.warm if learner.solver.converges else None", "point.warm",
         DEFENSE_EDGES),
        ("sanitise/trim.py", "some = _once_more(some)", "some = some", TRIM),
        ("sanitise/_inspection.py", "jnp.abs(score - middle), jnp.inf)\n\n\ndef class_",
         "jnp.abs(score + middle), jnp.inf)\n\n\ndef class_", DEFENSE_EDGES),
        ("sanitise/_inspection.py", "jnp.max(jnp.where(used & kept, score, -jnp.inf))",
         "jnp.max(jnp.where(used & kept, -jnp.inf, score))", DEFENSE_EDGES),
        ("sanitise/micro_models.py", "jnp.abs(score - self.dispute)", "jnp.abs(score)",
         DEFENSE_EDGES),
        ("audit/tabor.py", "(rank < count)", "(rank <= count)", DEFENSE_EDGES),
        ("ensemble/votes.py", "jnp.where(lead == 0, -1, lead)", "jnp.where(lead == 0, -2, lead)",
         "tests/defenses/test_partition.py"),
    )
)  # fmt: skip
OTHERS = (
    (
        "attacks/capabilities/insert_near.py", "jnp.ones_like(z.y))", "jnp.zeros_like(z.y))",
        "tests/attacks/test_insert_near.py",
    ),
    (
        "attacks/capabilities/_capability.py", "x / jnp.where(unit > 0, unit, 1), 0)",
        "x / jnp.where(unit > 0, 1, unit), 0)", "tests/attacks/test_row_units.py",
    ),
    (
        "attacks/capabilities/_capability.py", "size = size / rows**0.5", "size = size / rows",
        "tests/attacks/test_row_units.py",
    ),
    (
        "attacks/triggers/soft_patch.py", "x * (1 - mask) + mask", "x * (1 + mask) + mask",
        "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/goals/targeted.py", "not float(keep) >= 0", "not float(keep) > 0",
        "tests/attacks/test_goals.py",
    ),
    (
        "attacks/capabilities/stamp.py", "concrete(data.y) and concrete(self.labels)",
        "concrete(data.y) or concrete(self.labels)", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/capabilities/_capability.py", "rows.ndim != 1 or rows.shape[0] == 0",
        "rows.ndim != 1 and rows.shape[0] == 0", CAPABILITIES,
    ),
    (
        "attacks/recipes/network_poisoning.py", "    if goal is None:\n        goal",
        "    if True:\n        goal", "tests/attacks/test_network_poisoning.py",
    ),
    ("benchmarks/pictures/trim.py", "label=label if i == 0 else None", "label=label", PICTURES),
    (
        "benchmarks/pictures/svm_mnist.py", 'top = max(column(rows, "test_err")) or 1',
        'top = max(column(rows, "test_err")) and 1', PICTURES,
    ),
    (
        "benchmarks/data/scenes/signs.py", "np.float32(0.45), picture)",
        "picture, np.float32(0.45))", "tests/benchmarks/test_scenes.py",
    ),
    (
        "benchmarks/experiments/flips/label_sanitisation.py", "*vote, balance=0)",
        "*vote, balance=1)", EXPERIMENTS + "test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/flips/label_sanitisation.py", "options.agreement, options.tie)",
        "options.agreement, 0)", EXPERIMENTS + "test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/hypergradients/certificate_fuzz.py",
        "np.finfo(float).eps * size))", "np.finfo(float).eps / size))",
        EXPERIMENTS + "test_certificate_fuzz.py",
    ),
    (
        "benchmarks/report.py", "numbers = not any(isinstance", "numbers = not all(isinstance",
        EXPERIMENTS + "test_reported_figures.py",
    ),
)  # fmt: skip
APART = tuple(
    ("benchmarks/" + file, old, new, PARTS)
    for file, old, new in (
        ("experiments/backdoors/hidden_trigger.py", "np.flatnonzero(held.labels == k)",
         "np.flatnonzero(held.labels != k)"),
        ("experiments/backdoors/hidden_trigger.py", "(target_train, _, target_test)",
         "(_, target_train, target_test)"),
        ("experiments/flips/label_sanitisation.py", "np.where(scale > 0, scale, 1)",
         "np.where(scale >= 0, scale, 1)"),
        ("experiments/fairness/_shares.py", "self.points(max(*self.shares, self.share))",
         "self.points(min(*self.shares, self.share))"),
        ("experiments/fairness/_shares.py", "case.train if train is None else train", "case.train"),
        ("experiments/fairness/_victims.py", '"knn": lambda seed: KNeighborsClassifier()',
         '"knn": lambda seed: GaussianNB()'),
        ("experiments/networks/network_speed.py", '"small": small(10), "lenet": lenet(10)',
         '"small": lenet(10), "lenet": small(10)'),
        ("experiments/svm/_finite_differences.py", "np.maximum(low - slopes, slopes - high)",
         "np.maximum(high - slopes, slopes - high)"),
        ("experiments/tuning/hyperparameters.py",
         '"cpu_seconds": seconds,\n        "compile_seconds": 0.0',
         '"cpu_seconds": 0.0,\n        "compile_seconds": seconds'),
        ("data/scenes/faces.py", "if value < 1:", "if value <= 1:"),
        ("data/raw.py", "x[-rows // 10 :], y", "x[rows // 10 :], y"),
    )
)  # fmt: skip
TOLD = tuple(
    ("benchmarks/experiments/" + file, old, new, SAID)
    for file, old, new in (
        ("scale/restarts.py", "where(report.rows, learner=learner, starts=k) for k in (1, most))",
         "where(report.rows, learner=learner, starts=k) for k in (most, 1))"),
        ("scale/restarts.py", '"learner": kind, "number": s', '"learner": kind, "number": 0'),
        ("backdoors/sleeper.py", 'success["sleeper"] - success["noise"]',
         'success["sleeper"] - success["clean"]'),
        ("backdoors/sleeper.py", "{100 * err:.1f} %", "{err:.1f} %"),
        ("model_defenses/i_bau.py", '{np.max(errors):.1e}', '{np.min(errors):.1e}'),
        ("fairness/fairness_synthetic.py", "range(options.seeds)", "range(1, options.seeds)"),
        ("regression/_poisoned_regression.py", 'r["test_mse"] / r["clean_test_mse"] for r in rows',
         'r["test_mse"] / r["flip_test_mse"] for r in rows'),
        ("networks/network_speed.py", 'seconds[name, "ours", count] / seconds[name, "ours", 1]',
         'seconds[name, "ours", 1] / seconds[name, "ours", count]'),
        ("backdoors/toy_backdoor.py", "draw(report.rows)", "draw(report.rows[:1])"),
    )
)  # fmt: skip
MUTANTS = (*APART, *TOLD, *AUDIT, *STATIC, *SOLVED, *DEFENDED, *OTHERS)
