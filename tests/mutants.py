"""Bugs to plant, and the tests that must see each: `make mutants`.

Each is planted in a copy of the tree, one at a time, after the tests have passed there without any.
What is missed is printed, and the exit status is 1. `test_repository` checks that each still fits.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("attacks", "benchmarks", "bilevel", "defenses", "docs", "tests")


class Mutant(NamedTuple):
    """A bug: `old` in a file becomes `new`, and `tests` must fail."""

    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant("bilevel/learners/fair_logistic.py", "groups - (share @ groups)[None, :]",
           "groups - jnp.mean(groups, axis=0)[None, :]", "tests/bilevel/test_fair_logistic.py"),
    Mutant("bilevel/learners/kernels.py", "weight @ x / jnp", "0 * weight @ x / jnp",
           "tests/bilevel/test_real_tables.py"),
    Mutant("bilevel/learners/_units.py", "bias - self.origin @ w", "bias",
           "tests/bilevel/test_real_tables.py"),
    Mutant("bilevel/problems/product.py", "jnp.sum(self.factor * self.factor, axis=1)",
           "jnp.sum(self.factor, axis=1)", "tests/bilevel/test_real_tables.py"),
    Mutant("bilevel/solvers/qp/active_set.py", "interval = (frozen.gamma <= 0)",
           "interval = (frozen.gamma < 0)", "tests/bilevel/test_real_tables.py"),
    Mutant("bilevel/derivatives/implicit.py", "        -rhs,",
           "        rhs,", "tests/bilevel/test_reverse.py"),
    Mutant("bilevel/solvers/smooth/newton.py", "definite = jnp.isfinite(chol[0, 0])",
           "definite = jnp.isfinite(chol[0, 0]) | True", "tests/test_hostile.py"),
    Mutant("bilevel/learners/_checks.py", "jnp.all(weight >= 0) & jnp.any(weight > 0)",
           "jnp.any(weight > 0)", "tests/test_hostile.py"),
    Mutant("bilevel/solvers/path/descent.py", 'root(inputs[0]) if name == "sqrt" else inputs',
           "inputs", "tests/bilevel/test_hostile_paths.py"),
    Mutant("bilevel/_certify.py", "jnp.where(degenerate | ~solved, jnp.inf, bound)",
           "jnp.where(degenerate | ~solved, jnp.inf, bound / 100)",
           "tests/benchmarks/experiments/test_certificate_fuzz.py"),
    Mutant("attacks/goals/_rows.py", "jnp.sum(self.weight * loss) / jnp.sum(self.weight)",
           "jnp.sum(self.weight * loss)", "tests/attacks/test_goals.py"),
    Mutant("defenses/sanitise/_sets.py", "jnp.arange(1, train + validation + 1)",
           "jnp.arange(0, train + validation)", "tests/defenses/test_roni_draws.py"),
    Mutant("defenses/sanitise/_selection.py", "limit + 64 * xp", "limit + 0.01 + 64 * xp",
           "tests/defenses/test_roni_draws.py"),
    Mutant("defenses/sanitise/_quotas.py", "balance * share), size.dtype) * size",
           "0 * share), size.dtype) * size", "tests/defenses/test_rare_classes.py"),
    Mutant("defenses/sanitise/confident_learning.py", "reached = p >= threshold[None, :]",
           "reached = p >= 0 * threshold[None, :]", "tests/defenses/test_confident_learning.py"),
    Mutant("attacks/capabilities/flip_labels.py", "boxed, soften(z, jnp.ones_like(z), total))",
           "boxed, soften(boxed, jnp.ones_like(z), total))", "tests/attacks/test_capabilities.py"),
    Mutant("attacks/capabilities/flip_labels.py", "boxed, soften(z, jnp.ones_like(z), total))",
           "boxed, boxed * total / jnp.sum(boxed))", "tests/attacks/test_capabilities.py"),
    Mutant("attacks/capabilities/reseed.py", "jnp.all(gradient == 0", "jnp.any(gradient == 0",
           "tests/attacks/test_capabilities.py"),
    Mutant("attacks/goals/targeted.py",
           "goal.kinks(model, world) for goal in (self.target, self.rest)",
           "goal.kinks(model, world) for goal in (self.rest,)", "tests/attacks/test_goals.py"),
    Mutant("defenses/ensemble/votes.py", "spare[:, None] < rows[None, :]",
           "spare[:, None] <= rows[None, :]", "tests/defenses/test_partition.py"),
    Mutant("defenses/ensemble/partition.py", "size - jnp.bincount", "1 + size - jnp.bincount",
           "tests/defenses/test_partition.py"),
    Mutant("defenses/sanitise/trim.py", "content, cold = row_hash(given.x, given.y), learner",
           "content, cold = jnp.arange(data.rows), learner", "tests/defenses/test_trim.py"),
    Mutant("defenses/sanitise/trim.py", "mass = jnp.where(keep, given.weight, 0)",
           "mass = jnp.where(keep, 1.0, 0)", "tests/defenses/test_trim.py"),
    Mutant("defenses/sanitise/trim.py", "learner, reweighed(given, keep), warm",
           "learner, Data(given.x, given.y, keep.astype(float)), warm",
           "tests/defenses/test_trim.py"),
    Mutant("defenses/sanitise/_votes.py", "(apart <= radius + rounding)", "(apart <= radius)",
           "tests/defenses/test_relabel.py"),
    Mutant("defenses/sanitise/_votes.py", "(apart <= radius + rounding)",
           "(xp.argsort(order, axis=1) <= last[:, None])", "tests/defenses/test_relabel.py"),
    Mutant("defenses/sanitise/relabel.py", "by_quota(against, agreed",
           "by_quota(against + 1e-9 * jnp.arange(data.rows), agreed",
           "tests/defenses/test_relabel.py"),
    Mutant("defenses/sanitise/filter.py", "given.weight > 0, row_hash(given.x, given.y)",
           "given.weight > 0, jnp.arange(data.rows)", "tests/defenses/test_filter.py"),
    Mutant("defenses/sanitise/filter.py", "lowest(level(score), group", "lowest(score, group",
           "tests/defenses/test_filter.py"),
    Mutant("bilevel/_certify.py", "zero=solved & (norm(gradient) <= bound)",
           "zero=solved & (norm(gradient) == 0)", "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/_certify.py", "zero=solved & (norm(gradient) <= bound)",
           "zero=norm(gradient) <= bound", "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/_certify.py", "kink_margin=jnp.min(jnp.abs(kinks),",
           "kink_margin=jnp.min(kinks,", "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/_certify.py", "_norm_by_power(matvec, r) * _norm_by_power(back, r)",
           "_norm_by_power(matvec, r)", "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/_certify.py", "jnp.max(apart[3:]) / steps + eps * size", "eps * size",
           "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/_certify_path.py", "exact_size) <= SAFETY * rounding)",
           "exact_size) <= bound)", "tests/bilevel/test_network.py"),
    Mutant("bilevel/_certify_path.py", "rounding = jnp.max(moved) + eps", "rounding = eps",
           "tests/bilevel/test_certificate_fields.py"),
    Mutant("bilevel/penalties/box.py", "jnp.where(face > 0, -slope, slope)", "slope",
           "tests/bilevel/test_proximal.py"),
    Mutant("bilevel/penalties/box.py", "jnp.minimum(w - self.lower, self.upper - w)",
           "w - self.lower", "tests/bilevel/test_proximal.py"),
    Mutant("bilevel/stochastic/stocbio.py", "rows(jax.random.fold_in(series_key, index))",
           "rows(series_key)", "tests/bilevel/test_stochastic.py"),
    Mutant("bilevel/stochastic/amigo.py", "v, rows(key)), outer_w)",
           "v, rows(adjoint_key)), outer_w)", "tests/bilevel/test_stochastic.py"),
    Mutant("bilevel/stochastic/_method.py", "direction(here, jax.random.fold_in(key, index))",
           "direction(here, key)", "tests/bilevel/test_stochastic.py"),
    Mutant("bilevel/solvers/constrained/interior_point.py", "lam >= -force", "lam >= force",
           "tests/bilevel/test_constrained_edges.py"),
    Mutant("bilevel/solvers/constrained/interior_point.py", "g > length", "g > -length",
           "tests/bilevel/test_constrained_edges.py"),
    Mutant("bilevel/adapters/_foreign.py", "jnp.where(converged, CONVERGED, MAX_STEPS)",
           "jnp.int32(CONVERGED)", "tests/bilevel/test_adapters.py"),
    Mutant("bilevel/adapters/jaxopt.py", "state.error <= solver.tol", "jnp.bool_(True)",
           "tests/bilevel/test_adapters.py"),
    Mutant("bilevel/adapters/optimistix.py", "solution.result == optimistix.RESULTS.successful",
           "jnp.bool_(True)", "tests/bilevel/test_adapters.py"),
    Mutant("benchmarks/experiments/classifiers/_poisoned_classifiers.py",
           "theirs(DEFAULT), parts, Rows(x, y))", "theirs(DEFAULT), parts, Rows(x, y))[::-1]",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/classifiers/_poisoned_classifiers.py",
           "Data(parts.validation.x, parts.validation.y)", "Data(parts.test.x, parts.test.y)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/svm/svm_mnist.py", "Data(*split.train), Data(*split.validation)",
           "Data(*split.train), Data(*split.test)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/svm/svm_mnist.py", '"test_err": poisoned(split.test)[0]',
           '"test_err": poisoned(split.validation)[0]',
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/svm/svm_mnist.py",
           "val_err, val_hinge = poisoned(split.validation)",
           "val_err, val_hinge = poisoned(split.test)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/svm/svm_mnist.py", "/ 255.0, C)(split.validation)",
           "/ 255.0, C)(split.test)", "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/regression/_poisoned_regression.py",
           'for name in ("train", "validation")', 'for name in ("train", "test")',
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/regression/_poisoned_regression.py",
           "parts, poison, error=square_error)", "parts, poison, error=square_error)[::-1]",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/regression/_poisoned_regression.py",
           '"val_mse": val, "test_mse": test,', '"val_mse": test, "test_mse": val,',
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/regression/_poisoned_regression.py",
           "start_test_mse=start_test, their_test_mse=their_test",
           "start_test_mse=start_val, their_test_mse=their_test",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/flips/label_flips.py",
           "for rows in (parts.train, parts.validation)", "for rows in (parts.train, parts.test)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/flips/label_flips.py", "theirs(options.strengths), relabelled)",
           "theirs(options.strengths), relabelled)[::-1]",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/flips/label_sanitisation.py",
           "train, validation, test = standardised(", "train, test, validation = standardised(",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/flips/label_sanitisation.py", "100 * back / saved",
           "100 * back / (saved + left)",
           "tests/benchmarks/experiments/test_sanitisation_experiments.py"),
    Mutant("benchmarks/experiments/classifiers/lasso_features.py",
           "Data(here.validation.x, here.validation.y)", "Data(here.test.x, here.test.y)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/classifiers/lasso_features.py", "val, test = errors(model",
           "test, val = errors(model", "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/classifiers/targeted_mnist.py",
           "train, validation, test = parts(options, split)",
           "train, test, validation = parts(options, split)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/transfer/transfer.py",
           'for part in ("target", "surrogate", "validation")',
           'for part in ("target", "surrogate", "test")',
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/transfer/transfer.py", "misclassified(model, split.test)",
           "misclassified(model, split.validation)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/defenses/roni_spam.py",
           "for rows in (parts.train, parts.validation)", "for rows in (parts.train, parts.test)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/defenses/roni_spam.py",
           "lost(defended.learner, data, parts.test)",
           "lost(defended.learner, data, parts.validation)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/experiments/defenses/_arena_cells.py", '"adapted_err": aware.test[at]',
           '"adapted_err": aware.val[at]',
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_arena_cells.py", "attack not in CONTROLS",
           "attack in CONTROLS", "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/data/_table.py", "scaled(t.x, train.x)", "scaled(t.x)",
           "tests/benchmarks/test_tables.py"),
    Mutant("benchmarks/experiments/defenses/_arena_cells.py", "((y_val, x_val), (y_test, x_test))",
           "((y_test, x_test), (y_val, x_val))",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_arena_cells.py", '"clean_err": base.clean.test[at]',
           '"clean_err": base.clean.val[at]',
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_arena_attacks.py", 'field.held("validation")',
           'field.held("test")', "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_arena_attacks.py", "(parts.train, parts.validation)",
           "(parts.train, parts.test)",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", 'for k in ("train", "validation", "test")',
           'for k in ("train", "test", "validation")',
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", "attack(victim, reach, train, held,",
           "attack(victim, reach, train, test,",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", "data, options.train, held, test)",
           "data, options.train, test, held)",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", "train, held, test = rows",
           "train, test, held = rows",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", "float(clean[seed].plain)",
           "float(clean[seed].trimmed)",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py",
           'for k in ("train", "validation") for a', 'for k in ("train", "test") for a',
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_ridge_behind_trim.py", "means <= means[best] + spread",
           "means <= means[best]", "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_ridge_behind_trim.py", "std(ddof=1)", "std(ddof=0)",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py",
           '"clean_test_mse": float(clean.plain)', '"clean_test_mse": float(clean.trimmed)',
           "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py",
           '"clean_test_mse": float(clean.plain)', '"clean_test_mse": float(single.plain)',
           "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py",
           "clean = outcome(bare, Trim(bare, share), train",
           "clean = outcome(bare, Trim(bare, share), data",
           "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py", "train, held, test = (Data",
           "train, test, held = (Data", "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_ridge_behind_trim.py",
           "mean_square(plain, test.x, test.y)", "mean_square(plain, held.x, held.y)",
           "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_ridge_behind_trim.py",
           "mean_square(model, test.x, test.y)", "mean_square(model, held.x, held.y)",
           "tests/benchmarks/experiments/test_defense_experiments.py"),
    Mutant("benchmarks/experiments/defenses/_trim_on_table.py", "r[cell] / r['clean_test_mse']",
           "r[cell] / r['trim_clean_test_mse']",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/defenses/dilemma.py", "r[cell] / r['clean_test_mse']",
           "r[cell] / r['trimmed_clean_test_mse']",
           "tests/benchmarks/experiments/test_rows_by_role_in_defenses.py"),
    Mutant("benchmarks/experiments/classifiers/_poisoned_classifiers.py",
           "judge(kind, parts, parts.train.x[:0], labels[:0])",
           "judge(kind, parts, parts.train.x[start], labels)",
           "tests/benchmarks/experiments/test_rows_by_role.py"),
    Mutant("benchmarks/data/mnist.py", 'for k in ("tr", "val", "ts", "init")',
           'for k in ("tr", "ts", "val", "init")', "tests/benchmarks/test_data.py"),
    Mutant("bilevel/_ascent.py", "max(over - 1, 1)", "max(over, 1)",
           "tests/bilevel/test_maximize.py"),
    Mutant("bilevel/_maximize.py", "best_gradient, best_warm, optimizer.init(s.z)),",
           "best_gradient, best_warm, s.optimizer),", "tests/bilevel/test_maximize.py"),
    Mutant("bilevel/_maximize.py", "evaluated(s.z, s.warm, s.total)",
           "evaluated(s.z, s.warm, s.step)", "tests/bilevel/test_draws.py"),
    Mutant("bilevel/_draws.py", "Info(jnp.max(info.result)", "Info(jnp.min(info.result)",
           "tests/bilevel/test_draws.py"),
    Mutant("bilevel/learners/huber.py", "self.delta, self.l2_bias, positive=2)",
           "self.delta, self.l2_bias)", "tests/bilevel/test_huber.py"),
    Mutant("bilevel/learners/kernels.py", "jnp.log(jnp.where(base == 0, 1, jnp.abs(base)))",
           "jnp.log(jnp.abs(base))", "tests/bilevel/test_svm.py"),
    Mutant("bilevel/learners/svm.py", "self.C * jnp.sum(data.weight)", "self.C * data.rows",
           "tests/bilevel/test_logistic.py"),
    Mutant("bilevel/_certify_path.py", "jnp.sqrt(n * jnp.mean((directions",
           "jnp.sqrt(jnp.mean((directions", "tests/bilevel/test_certificate_path.py"),
    Mutant("bilevel/stochastic/f2sa.py", "walk(penalised, y, rates.adjoint",
           "walk(penalised, y, rates.inner", "tests/bilevel/test_stochastic_rates.py"),
    Mutant("bilevel/study/_method.py", "size = float(norm(b))", "size = float(norm(a))",
           "tests/bilevel/test_study.py"),
    Mutant("attacks/domains/linf_ball.py", "self.radius * self.centre.shape[1] ** 0.5",
           "self.radius", "tests/attacks/test_domains.py"),
    Mutant("attacks/goals/_rows.py", "jnp.sum(self.weight * loss) / jnp.sum(self.weight)",
           "jnp.mean(self.weight * loss)", "tests/attacks/test_goals.py"),
    Mutant("attacks/capabilities/insert_near.py", "self.model.decision(x) + self.radius",
           "self.model.decision(z.x) + self.radius", "tests/attacks/test_insert_near.py"),
    Mutant("defenses/sanitise/_message.py", "left[used & (group == name)]", "left[group == name]",
           "tests/defenses/test_message.py"),
    Mutant("defenses/sanitise/roni.py", "[draws * seed + draw for", "[seed + draw for",
           "tests/defenses/test_seeds.py"),
    Mutant("defenses/estimators/partition.py", "axis=0) == 1))", "axis=0) <= 1))",
           "tests/defenses/test_estimators_counts.py"),
    Mutant("benchmarks/data/_table.py", "name.rpartition", "name.partition",
           "tests/benchmarks/test_groups.py"),
    Mutant("benchmarks/experiments/transfer/transfer.py",
           "gradient(strengths, target, validation, poison))",
           "gradient(strengths, target, validation, start))",
           "tests/benchmarks/experiments/test_reported_figures.py"),
    Mutant("benchmarks/experiments/tuning/hyperparameters.py", "np.exp(-log_l2) / len(rows)",
           "np.exp(-log_l2) / len(data.labels)",
           "tests/benchmarks/experiments/test_reported_figures.py"),
    Mutant("benchmarks/experiments/defenses/roni_spam.py", "mixed >= len(kept.y)",
           "mixed > len(kept.y)", "tests/benchmarks/experiments/test_reported_figures.py"),
    Mutant("defenses/sanitise/trim.py", "restarts * seed + number", "seed + number",
           "tests/defenses/test_seeds.py"),
    Mutant("defenses/estimators/confident_learning.py", "if folds.size > 1 else folds[:0]",
           "if True else folds[:0]", "tests/defenses/test_estimators_counts.py"),
    Mutant("defenses/estimators/trim.py", "- sum(tried[b].trainings for b in best)", "",
           "tests/defenses/test_estimators_counts.py"),
    Mutant("bilevel/solvers/path/_path.py", "jnp.int32(self.steps - 1)", "jnp.int32(self.steps)",
           "tests/bilevel/test_hostile_paths.py"),
    Mutant("bilevel/penalties/non_negative.py", 'require_strength("strength", self.strength)',
           "pass", "tests/bilevel/test_proximal.py"),
    Mutant("bilevel/learners/network.py", "scale = data.rows / jnp.sum(data.weight)",
           "scale = jnp.ones_like(data.weight[0])", "tests/bilevel/test_network.py"),
    Mutant("bilevel/learners/network.py", "lambda key: jax.random.permutation(key, rows)",
           "lambda _: jax.random.permutation(key, rows)", "tests/bilevel/test_network.py"),
    Mutant("bilevel/learners/network.py", "self.augment is None and not self._draws(data)",
           "self.augment is None", "tests/bilevel/test_module_adapters.py"),
    Mutant("bilevel/networks/_convolution.py", "kernel = _padded(kernel, axis, wide - size)",
           "kernel = _padded(kernel, 0, wide - size)", "tests/bilevel/test_network.py"),
    Mutant("attacks/goals/cancelling.py", "jnp.sum(data.weight) + penalty",
           "jnp.sum(data.weight)", "tests/attacks/test_network_poisoning.py"),
    Mutant("attacks/recipes/network_poisoning.py", "np.arange(slots) < index",
           "np.arange(slots) <= index", "tests/attacks/test_network_poisoning.py"),
    Mutant("attacks/recipes/gradient_cancelling.py", "jnp.minimum(1, radius /",
           "jnp.minimum(1, 2 * radius /", "tests/attacks/test_network_poisoning.py"),
    Mutant("attacks/capabilities/_capability.py", "rows = rows if weight is None else",
           "rows = rows if True else", "tests/attacks/test_recipes.py"),
    Mutant("defenses/_hash.py", "- zeros[x.indices]", "- 0 * zeros[x.indices]",
           "tests/defenses/test_estimators_rows.py"),
    Mutant("defenses/estimators/_rows.py", "if self.weighed else {}", "if False else {}",
           "tests/defenses/test_estimators_rows.py"),
    Mutant("defenses/estimators/_choice.py", "mean > errors * np.sqrt", "mean > 0 * np.sqrt",
           "tests/defenses/test_estimators_choice.py"),
    Mutant("defenses/estimators/_choice.py", "rows.take(place != fold)", "rows.take(place >= 0)",
           "tests/defenses/test_estimators_choice.py"),
    Mutant("defenses/sanitise/scores/neighbours.py", "(many < count) &", "(many <= count) &",
           "tests/defenses/test_filter.py"),
    Mutant("benchmarks/experiments/networks/_victims.py", "!= test.y", "== test.y",
           "tests/benchmarks/experiments/test_network_experiments.py"),
)  # fmt: skip


def stale() -> list[str]:
    """The mutants whose text is not in its file exactly once, or whose tests are gone."""
    return [
        f"{m.file}: {m.old!r}"
        for m in MUTANTS
        if (ROOT / m.file).read_text().count(m.old) != 1 or not (ROOT / m.tests).exists()
    ]


def fails(tree: Path, tests: str) -> bool:
    """Whether a test of a file fails on the tree."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", tests],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, check=False,
    )  # fmt: skip
    if run.returncode not in (0, 1):
        raise RuntimeError(run.stdout.decode())
    return run.returncode == 1


def caught(tree: Path, mutant: Mutant) -> bool:
    """Whether the mutant's tests fail on the tree with it."""
    path = tree / mutant.file
    text = path.read_text()
    path.write_text(text.replace(mutant.old, mutant.new))
    try:
        return fails(tree, mutant.tests)
    finally:
        path.write_text(text)


def main() -> int:
    """Plant all of them, or those whose file contains the argument."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, tree / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tree / name)
        chosen = [mutant for mutant in MUTANTS if wanted in mutant.file]
        broken = [tests for tests in {m.tests: None for m in chosen} if fails(tree, tests)]
        if broken:
            print("these tests fail without a bug:", *broken)
            return 1
        for mutant in chosen:
            seen = caught(tree, mutant)
            missed += not seen
            print("caught" if seen else "MISSED", mutant.file, repr(mutant.new), flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
