"""Bugs to plant in the experiments: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "benchmarks/experiments/classifiers/_poisoned_classifiers.py",
        "theirs(DEFAULT), parts, Rows(x, y))", "theirs(DEFAULT), parts, Rows(x, y))[::-1]",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/classifiers/_poisoned_classifiers.py",
        "Data(parts.validation.x, parts.validation.y)", "Data(parts.test.x, parts.test.y)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/svm/svm_mnist.py", "Data(*split.train), Data(*split.validation)",
        "Data(*split.train), Data(*split.test)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/svm/svm_mnist.py", '"test_err": poisoned(split.test)[0]',
        '"test_err": poisoned(split.validation)[0]',
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/svm/svm_mnist.py",
        "val_err, val_hinge = poisoned(split.validation)",
        "val_err, val_hinge = poisoned(split.test)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/svm/svm_mnist.py", "/ 255.0, C)(split.validation)",
        "/ 255.0, C)(split.test)", "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/regression/_poisoned_regression.py",
        'for name in ("train", "validation")', 'for name in ("train", "test")',
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/regression/_poisoned_regression.py",
        "parts, poison, error=square_error)", "parts, poison, error=square_error)[::-1]",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/regression/_poisoned_regression.py",
        '"val_mse": val, "test_mse": test,', '"val_mse": test, "test_mse": val,',
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/regression/_poisoned_regression.py",
        '"start_test_mse": start_test, "their_test_mse": their_test',
        '"start_test_mse": start_val, "their_test_mse": their_test',
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/flips/label_flips.py",
        "for rows in (parts.train, parts.validation)", "for rows in (parts.train, parts.test)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/flips/label_flips.py", "theirs(options.strengths), relabelled)",
        "theirs(options.strengths), relabelled)[::-1]",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/flips/label_sanitisation.py",
        "train, validation, test = standardised(", "train, test, validation = standardised(",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/flips/label_sanitisation.py", "100 * back / saved",
        "100 * back / (saved + left)",
        "tests/benchmarks/experiments/test_sanitisation_experiments.py",
    ),
    (
        "benchmarks/experiments/classifiers/lasso_features.py",
        "Data(here.validation.x, here.validation.y)", "Data(here.test.x, here.test.y)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/classifiers/lasso_features.py", "val, test = errors(model",
        "test, val = errors(model", "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/classifiers/targeted_mnist.py",
        "train, validation, test = parts(options, split)",
        "train, test, validation = parts(options, split)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/transfer/transfer.py",
        'for part in ("target", "surrogate", "validation")',
        'for part in ("target", "surrogate", "test")',
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/transfer/transfer.py", "misclassified(model, split.test)",
        "misclassified(model, split.validation)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/defenses/roni_spam.py",
        "for rows in (parts.train, parts.validation)", "for rows in (parts.train, parts.test)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/defenses/roni_spam.py", "lost(defended.learner, data, parts.test)",
        "lost(defended.learner, data, parts.validation)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_cells.py", '"adapted_err": aware.test[at]',
        '"adapted_err": aware.val[at]',
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_cells.py", "attack not in CONTROLS",
        "attack in CONTROLS", "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_cells.py", "((y_val, x_val), (y_test, x_test))",
        "((y_test, x_test), (y_val, x_val))",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_cells.py", '"clean_err": base.clean.test[at]',
        '"clean_err": base.clean.val[at]',
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_attacks.py", 'field.held("validation")',
        'field.held("test")', "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_attacks.py", "(parts.train, parts.validation)",
        "(parts.train, parts.test)",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", 'for k in ("train", "validation", "test")',
        'for k in ("train", "test", "validation")',
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", "attack(victim, reach, train, held,",
        "attack(victim, reach, train, test,",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", "data, options.train, held, test)",
        "data, options.train, test, held)",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", "train, held, test = rows",
        "train, test, held = rows",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", "float(clean[seed].plain)",
        "float(clean[seed].trimmed)",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py",
        'for k in ("train", "validation") for a', 'for k in ("train", "test") for a',
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_ridge_behind_trim.py", "means <= means[best] + spread",
        "means <= means[best]", "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_ridge_behind_trim.py", "std(ddof=1)", "std(ddof=0)",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py",
        '"clean_test_mse": float(clean.plain)', '"clean_test_mse": float(clean.trimmed)',
        "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py",
        '"clean_test_mse": float(clean.plain)', '"clean_test_mse": float(single.plain)',
        "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py",
        "clean = outcome(bare, Trim(bare, share), train",
        "clean = outcome(bare, Trim(bare, share), data",
        "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py", "train, held, test = (Data",
        "train, test, held = (Data", "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_ridge_behind_trim.py",
        "mean_square(plain, test.x, test.y)", "mean_square(plain, held.x, held.y)",
        "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_ridge_behind_trim.py",
        "mean_square(model, test.x, test.y)", "mean_square(model, held.x, held.y)",
        "tests/benchmarks/experiments/test_defense_experiments.py",
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py", "r[cell] / r['clean_test_mse']",
        "r[cell] / r['trim_clean_test_mse']",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/dilemma.py", "r[cell] / r['clean_test_mse']",
        "r[cell] / r['trimmed_clean_test_mse']",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/classifiers/_poisoned_classifiers.py",
        "judge(learner, parts, parts.train.x[:0], labels[:0])",
        "judge(learner, parts, parts.train.x[start], labels)",
        "tests/benchmarks/experiments/test_rows_by_role.py",
    ),
    (
        "benchmarks/experiments/transfer/transfer.py",
        "gradient(strengths, of.target, of.validation, poison)",
        "gradient(strengths, of.target, of.validation, of.start)",
        "tests/benchmarks/experiments/test_reported_figures.py",
    ),
    (
        "benchmarks/experiments/tuning/hyperparameters.py", "np.exp(-log_l2) / len(rows)",
        "np.exp(-log_l2) / len(data.labels)",
        "tests/benchmarks/experiments/test_reported_figures.py",
    ),
    (
        "benchmarks/experiments/defenses/roni_spam.py", "mixed >= len(kept.y)",
        "mixed > len(kept.y)", "tests/benchmarks/experiments/test_reported_figures.py",
    ),
    (
        "benchmarks/experiments/networks/_victims.py", "!= test.y", "== test.y",
        "tests/benchmarks/experiments/test_network_experiments.py",
    ),
    (
        "benchmarks/experiments/networks/_one_by_one.py",
        '"fresh_flip_err": float(np.mean(errors(learner, flipped, fresh, test)))',
        '"fresh_flip_err": float(np.mean(errors(learner, poisoned, fresh, test)))',
        "tests/benchmarks/experiments/test_network_experiments.py",
    ),
    (
        "benchmarks/augment.py", "shifted[:, :, ::-1]", "shifted[:, ::-1]",
        "tests/benchmarks/experiments/test_network_experiments.py",
    ),
    (
        "benchmarks/experiments/transfer/transfer.py", "partial(damage, against='flip_test_err')",
        "damage", "tests/benchmarks/experiments/test_reported_figures.py",
    ),
    (
        "benchmarks/experiments/transfer/transfer.py", "Rows(x[TRAIN:], y[TRAIN:])", "Rows(x, y)",
        "tests/benchmarks/experiments/test_transfer_experiment.py",
    ),
    (
        "benchmarks/experiments/defenses/_arena_cells.py", "for m in (poison, used & ~poison))",
        "for m in (poison, ~poison))",
        "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py",
    ),
    (
        "benchmarks/experiments/defenses/random_flips.py",
        "band = np.std(rises) / len(rises) ** 0.5", "band = np.std(rises)",
        "tests/benchmarks/experiments/test_random_flips.py",
    ),
    (
        "benchmarks/experiments/backdoors/toy_backdoor.py", "plain - length * along * moved",
        "plain - along * moved", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/toy_backdoor.py", "(l2 * limit / slope) ** 0.5",
        "(limit / slope) ** 0.5", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/badnets_mnist.py", ".set(train.y[reach.rows])",
        ".set(reach.labels)", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/badnets_mnist.py", "np.argmax(stamped - without)",
        "np.argmax(stamped)", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/optimised_trigger.py", "climbed(through, adversarial)",
        "climbed(fixed, adversarial)", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/hidden_trigger.py", "options.train // 2 + np.arange",
        "np.arange", "tests/benchmarks/experiments/test_backdoor_experiments.py",
    ),
    (
        "benchmarks/experiments/targeted/polytope.py",
        "np.mean(~found.right[control.right])",
        "np.mean(~found.right)",
        "tests/benchmarks/experiments/test_targeted_experiments.py",
    ),
    (
        "benchmarks/experiments/targeted/last_layer.py",
        "extra.weight.at[rows].add(-weight)",
        "extra.weight",
        "tests/benchmarks/experiments/test_targeted_experiments.py",
    ),
    (
        "benchmarks/experiments/targeted/_pairs.py", "rng.integers(1, 10,", "rng.integers(0, 10,",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/experiments/targeted/_pairs.py", "np.all(np.asarray(predictions",
        "np.any(np.asarray(predictions",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/experiments/targeted/_pairs.py", "index] == wanted", "index] != label",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/experiments/backdoors/sleeper.py", "(source + step + 1) % 10",
        "(source + step) % 10",
        "tests/benchmarks/experiments/test_clean_label_experiments.py",
    ),
    (
        "benchmarks/experiments/flips/label_flips.py", "float(flips.values[budget - 1])",
        "float(flips.values[-1])", "tests/benchmarks/experiments/test_flip_experiments.py",
    ),
)  # fmt: skip
