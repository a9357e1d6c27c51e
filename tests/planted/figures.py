"""Bugs of experiments that take rows of another role, or count among other rows."""

MODELS = "tests/benchmarks/experiments/test_what_models_are_given.py"
FAIRNESS = "tests/benchmarks/experiments/test_what_fairness_is_of.py"
NETWORKS = "tests/benchmarks/experiments/test_what_networks_are_given.py"
BRACKET = "tests/benchmarks/experiments/test_certified_found.py"
TRAININGS = "tests/benchmarks/experiments/test_what_trainings_are_given.py"
FOLDER = "benchmarks/experiments/"

MUTANTS = tuple(
    (FOLDER + file, old, new, tests)
    for file, old, new, tests in (
        (
            "fairness/_defended.py", "fit(train.x, y, sample_weight=weight)",
            "fit(train.x, train.y, sample_weight=weight)", FAIRNESS,
        ),
        (
            "fairness/_defended.py", "DEFAULT.C * len(train.y) / weight.sum()", "DEFAULT.C",
            FAIRNESS,
        ),
        (
            "fairness/_defended.py", "options.share, seed, case.surrogate)",
            "options.share, seed)", FAIRNESS,
        ),
        (
            "fairness/_defended.py", "goal = impact(setting.case.validation)",
            "goal = impact(setting.case.test)", FAIRNESS,
        ),
        (
            "fairness/_defended.py", "limited(case.protected, options.train + setting.count)",
            "limited(case.protected, options.train)", FAIRNESS,
        ),
        (
            "fairness/_defended.py", "{**unaware, \"adapted\": together(case.train, best)}",
            "{**unaware, \"adapted\": together(case.train, made)}", FAIRNESS,
        ),
        (
            "fairness/_attackers.py", """Validation error.\"\"\"
        held = self.case.validation""",
            """Validation error.\"\"\"
        held = self.case.test""", FAIRNESS,
        ),
        (
            "fairness/_shares.py", "(poison,))), case.test)", "(poison,))), case.validation)",
            FAIRNESS,
        ),
        ("fairness/_shares.py", "(DEFAULT, self.train + count)", "(DEFAULT, self.train)", MODELS),
        (
            "classifiers/targeted_mnist.py", "(len(train[1]) + len(poison))", "len(train[1])",
            MODELS,
        ),
        (
            "classifiers/_poisoned_classifiers.py", "len(parts.train.y) + len(start)",
            "len(parts.train.y)", MODELS,
        ),
        (
            "classifiers/lasso_features.py", "total = options.train + count",
            "total = options.train", MODELS,
        ),
        (
            "regression/_poisoned_regression.py", "parts[0].train.x.shape[0] + count",
            "parts[0].train.x.shape[0]", MODELS,
        ),
        ("transfer/transfer.py", "TRAIN + options.points)", "TRAIN)", MODELS),
        ("scale/restarts.py", "(DEFAULT, train.rows + 1)", "(DEFAULT, train.rows)", MODELS),
        ("audit/row_ranking.py", "parts.train)), parts.test)", "parts.train)), parts.choose)",
         MODELS),
        ("audit/certified_found.py", "parts.train), parts.test)", "parts.train), parts.choose)",
         BRACKET),
        ("audit/certified_found.py", '(row["found_err"] - b)', 'row["found_err"]', BRACKET),
        ("audit/leave_one_out.py", "exact) / np.linalg.norm(exact)",
         "exact) / np.linalg.norm(change)", MODELS),
        ("tuning/hyperparameters.py", "data.test_labels * (data.test_rows @",
         "data.labels * (data.rows @", MODELS),
        (
            "model_defenses/strip.py", "refused[1][meant].mean()", "refused[1].mean()",
            NETWORKS,
        ),
        ("model_defenses/i_bau.py", "rows.test.x + shift[None]", "clean.x + shift[None]",
         NETWORKS),
        (
            "model_defenses/fine_pruning.py", "victim(of, seed, infected=False)\n    for",
            "victim(of, seed)\n    for", NETWORKS,
        ),
        ("model_defenses/fine_pruning.py", "jnp.sum(~fitted.report.kept)",
         "jnp.sum(fitted.report.kept)", NETWORKS),
        (
            "model_defenses/feature_sanitisers.py", "clean).inspect(rows.train)",
            "model).inspect(rows.train)", NETWORKS,
        ),
        (
            "model_defenses/activation_clustering.py",
            "rows.train if kind == \"clean\" else rows.poisoned", "rows.poisoned", NETWORKS,
        ),
        (
            "model_defenses/februus.py", "victim(infection(options), seed, infected)",
            "victim(infection(options), seed)", NETWORKS,
        ),
        ("model_defenses/neural_cleanse.py", "sizes[~is_target].min()", "sizes.min()", NETWORKS),
        ("model_defenses/tabor.py", "model, of.clean, TARGET, key", "model, of.test, TARGET, key",
         NETWORKS),
        ("backdoors/hidden_trigger.py", '"clean_test_err": 1 - judged.clean',
         '"clean_test_err": 1 - judged.attacked', TRAININGS),
        ("backdoors/trojan_mnist.py", "1 - judged.clean.accuracy.mean",
         "1 - judged.attacked.accuracy.mean", TRAININGS),
        ("backdoors/sponge.py", "model.predict(test.x) != test.y",
         "model.predict(train.x) != train.y", TRAININGS),
        ("networks/cnn_mnist.py", 'float(attacker != "clean")', "1.0", TRAININGS),
        ("networks/cnn_mnist.py", "known, fresh, of.test)", "known, fresh, of.validation)",
         TRAININGS),
        ("networks/cifar_10.py", "!= test.y[a : a + PART]", "!= test.y[: PART]", TRAININGS),
    )
)  # fmt: skip
