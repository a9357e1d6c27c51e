"""Settings, weights and labels that a defense or an audit does not pass on."""

ATTACKER = "tests/defenses/data_audit/test_attacker.py"
AUDIT = "tests/defenses/data_audit/test_audit.py"
INGEST = "tests/defenses/data_audit/test_ingest.py"
PARTS = "tests/defenses/data_audit/test_parts.py"
CHOICE = "tests/defenses/test_estimators_choice.py"
USE = "tests/defenses/test_estimators_use.py"
PURIFIERS = "tests/defenses/test_purifiers.py"
SETTINGS = "tests/defenses/test_settings.py"

MUTANTS = tuple(
    ("defenses/" + file, old, new, tests)
    for file, old, new, tests in (
        (
            "data_audit/attacker.py", "._replace(weight=rows.weight[which] * n / most), which",
            ", which", ATTACKER,
        ),
        (
            "data_audit/attacker.py", "rows.weight[which] * n / most", "np.full(most, n / most)",
            ATTACKER,
        ),
        ("data_audit/attacker.py", "places, parts.train.y.size)", "places, places.size)", ATTACKER),
        ("data_audit/attacker.py", "count / active, 0.0)", "1.0, 0.0)", ATTACKER),
        (
            "data_audit/attacker.py", "float(np.sum(self.sample.train.weight)) + count)",
            "float(np.sum(self.sample.train.weight)))", ATTACKER,
        ),
        (
            "data_audit/command.py",
            "saved.append(report.save(options.json, rows=not options.hide_rows))",
            "saved.append(report.save(options.json))", AUDIT,
        ),
        (
            "data_audit/command.py",
            "saved = [report.save(options.out, rows=not options.hide_rows)]",
            "saved = [report.save(options.out)]", AUDIT,
        ),
        (
            "data_audit/command.py", "weight=options.weight, seed=options.seed",
            "seed=options.seed", AUDIT,
        ),
        (
            "data_audit/command.py", "weight=options.weight, seed=options.seed",
            "weight=options.weight", AUDIT,
        ),
        (
            "data_audit/command.py", "options.budget, options.group,\n            options.reach,",
            'options.budget, options.group,\n            "observed",', AUDIT,
        ),
        (
            "data_audit/ingest.py", "columns=[target, *([weight] if weight else [])])",
            "columns=[target])", INGEST,
        ),
        ("data_audit/ingest.py", "kept = weights[rows]", "kept = weights[: rows.size]", INGEST),
        (
            "data_audit/ranking.py",
            'strength = strength / softer if name == "C" else strength * softer',
            "strength = strength / softer", PARTS,
        ),
        (
            "data_audit/ranking.py",
            'strength = strength / softer if name == "C" else strength * softer',
            "strength = strength * softer", PARTS,
        ),
        (
            "data_audit/ranking.py",
            '{"sample_weight": self.weight[rows]} if np.any(self.weight != 1) else {}', "{}", PARTS,
        ),
        ("data_audit/ranking.py", "rows = train[keep[train]]", "rows = train", PARTS),
        (
            "data_audit/defending.py", "lambda m, s: of.TrimRegressor(m, s)",
            "lambda m, s: of.TrimRegressor(m)", PARTS,
        ),
        (
            "data_audit/defending.py", "defenses.Filter(m, contamination=s, classes=labels)",
            "defenses.Filter(m, contamination=s)", PARTS,
        ),
        (
            "data_audit/defending.py", "defenses.Filter(m, contamination=s, classes=())",
            "defenses.Filter(m, classes=())", PARTS,
        ),
        (
            "estimators/_choice.py", "train._replace(y=seen.y).take(seen.keep)",
            "train.take(seen.keep)", CHOICE,
        ),
        (
            "estimators/_choice.py", "share = rows.weight / np.sum(rows.weight)",
            "share = np.full(rows.y.size, 1 / rows.y.size)", CHOICE,
        ),
        (
            "estimators/_tasks.py", "inner.input_tags.allow_nan and not self._measures",
            "inner.input_tags.allow_nan", USE,
        ),
        (
            "estimators/_tasks.py", "inner.input_tags.sparse and not self._measures",
            "inner.input_tags.sparse", USE,
        ),
        (
            "estimators/_tasks.py",
            "        tags.input_tags.positive_only = inner.input_tags.positive_only\n", "", USE,
        ),
        (
            "estimators/_tasks.py",
            """            tags.classifier_tags.multi_class = inner.classifier_tags.multi_class
""",
            "            pass\n", USE,
        ),
        (
            "purify/strip.py", "if self.clean.rows < max(FEWEST, self.overlays):",
            "if self.clean.rows < FEWEST:", PURIFIERS,
        ),
        (
            "purify/strip.py", "if self.clean.rows < max(FEWEST, self.overlays):",
            "if self.clean.rows <= max(FEWEST, self.overlays):", PURIFIERS,
        ),
        ("sanitise/sever.py", "self.rounds, balance=self.balance)", "self.rounds)", SETTINGS),
        (
            "sanitise/sever.py", "SoftSever(learner, self.contamination, self.rounds,",
            "SoftSever(learner, self.contamination,", SETTINGS,
        ),
        (
            "sanitise/trim.py", "self.contamination, balance=self.balance)\n\n    @eqx",
            "self.contamination)\n\n    @eqx", SETTINGS,
        ),
        (
            "sanitise/filter.py", "self.contamination, classes=self.classes)\n\n    @eqx",
            "self.contamination)\n\n    @eqx", SETTINGS,
        ),
        (
            "sanitise/filter.py", "SoftFilter(learner, self.score, self.contamination,",
            "SoftFilter(learner, contamination=self.contamination,", SETTINGS,
        ),
        (
            "sanitise/relabel.py",
            "self.k, self.agreement, self.tie, self.balance)\n\n    def pinned",
            "self.k, self.agreement, self.tie)\n\n    def pinned", SETTINGS,
        ),
        (
            "sanitise/relabel.py",
            "self.k, self.agreement, self.tie, self.balance)\n\n    def pinned",
            "self.k, self.agreement, balance=self.balance)\n\n    def pinned", SETTINGS,
        ),
        (
            "sanitise/micro_models.py",
            """self.models, self.dispute, seed=self.seed,
            balance=self.balance,
""",
            "self.models, self.dispute, seed=self.seed,\n", SETTINGS,
        ),
        (
            "sanitise/micro_models.py", "self.models, self.dispute, seed=self.seed,",
            "self.models, seed=self.seed,", SETTINGS,
        ),
        (
            "ensemble/partition.py",
            "SoftPartition(softened(self.learner, data), self.partitions, seed=self.seed)",
            "SoftPartition(softened(self.learner, data), self.partitions)", SETTINGS,
        ),
        (
            "repair/fine_prune.py", "FineTune(self.learner, self.clean, self.tuning)",
            "FineTune(self.learner, self.clean)", SETTINGS,
        ),
        (
            "repair/tuning.py", "architecture, loss, self.l2, self.batch,",
            "architecture, loss, 0.0, self.batch,", SETTINGS,
        ),
        (
            "repair/tuning.py", "solver=self.solver, derivative=self.derivative,",
            "solver=self.solver,", SETTINGS,
        ),
    )
)  # fmt: skip
