"""Bugs to plant in `defenses`: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "defenses/sanitise/trim.py", "out = stays & (jnp.arange(stays.size) != jnp.argmax(stays))",
        "out = stays & (jnp.arange(stays.size) > 0)", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/trim.py", "loss=jnp.where(out, jnp.inf, some.loss))",
        "loss=jnp.where(stays, jnp.inf, some.loss))", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/trim.py", "trained = jnp.where(out[:, None], some.keep, ~some.keep)",
        "trained = jnp.where(stays[:, None], some.keep, ~some.keep)", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/_sets.py", "jnp.arange(1, train + validation + 1)",
        "jnp.arange(0, train + validation)", "tests/defenses/test_roni_draws.py",
    ),
    (
        "defenses/sanitise/_selection.py", "limit + 64 * xp", "limit + 0.01 + 64 * xp",
        "tests/defenses/test_roni_draws.py",
    ),
    (
        "defenses/sanitise/_quotas.py", "balance * share), size.dtype) * size",
        "0 * share), size.dtype) * size", "tests/defenses/test_rare_classes.py",
    ),
    (
        "defenses/sanitise/confident_learning.py", "reached = p >= threshold[None, :]",
        "reached = p >= 0 * threshold[None, :]", "tests/defenses/test_confident_learning.py",
    ),
    (
        "defenses/ensemble/votes.py", "spare[:, None] < rows[None, :]",
        "spare[:, None] <= rows[None, :]", "tests/defenses/test_partition.py",
    ),
    (
        "defenses/ensemble/partition.py", "size - jnp.bincount", "1 + size - jnp.bincount",
        "tests/defenses/test_partition.py",
    ),
    (
        "defenses/sanitise/trim.py", "content, cold = row_hash(given.x, given.y), learner",
        "content, cold = jnp.arange(data.rows), learner", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/trim.py", "mass = jnp.where(keep, given.weight, 0)",
        "mass = jnp.where(keep, 1.0, 0)", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/trim.py", "learner, reweighed(given, keep), warm",
        "learner, Data(given.x, given.y, keep.astype(float)), warm", "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/_votes.py", "(apart <= radius + rounding)", "(apart <= radius)",
        "tests/defenses/test_relabel.py",
    ),
    (
        "defenses/sanitise/_votes.py", "(apart <= radius + rounding)",
        "(xp.argsort(order, axis=1) <= last[:, None])", "tests/defenses/test_relabel.py",
    ),
    (
        "defenses/sanitise/relabel.py", "by_quota(against, agreed",
        "by_quota(against + 1e-9 * jnp.arange(data.rows), agreed",
        "tests/defenses/test_relabel.py",
    ),
    (
        "defenses/sanitise/filter.py", "given.weight > 0, row_hash(given.x, given.y)",
        "given.weight > 0, jnp.arange(data.rows)", "tests/defenses/test_filter.py",
    ),
    (
        "defenses/sanitise/filter.py", "lowest(level(score), group", "lowest(score, group",
        "tests/defenses/test_filter.py",
    ),
    (
        "defenses/sanitise/_message.py", "left[used & (group == name)]", "left[group == name]",
        "tests/defenses/test_message.py",
    ),
    (
        "defenses/sanitise/roni.py", "[draws * seed + draw for", "[seed + draw for",
        "tests/defenses/test_seeds.py",
    ),
    (
        "defenses/estimators/partition.py", "axis=0) == 1))", "axis=0) <= 1))",
        "tests/defenses/test_estimators_counts.py",
    ),
    (
        "defenses/sanitise/trim.py", "restarts * seed + number", "seed + number",
        "tests/defenses/test_seeds.py",
    ),
    (
        "defenses/estimators/confident_learning.py", "if folds.size > 1 else folds[:0]",
        "if True else folds[:0]", "tests/defenses/test_estimators_counts.py",
    ),
    (
        "defenses/estimators/trim.py", "- sum(tried[b].trainings for b in best)", "",
        "tests/defenses/test_estimators_counts.py",
    ),
    (
        "defenses/_hash.py", "- zeros[x.indices]", "- 0 * zeros[x.indices]",
        "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/estimators/_rows.py", "if self.weighed else {}", "if False else {}",
        "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/_held_out.py", "mean > errors * np.sqrt", "mean > 0 * np.sqrt",
        "tests/defenses/test_estimators_choice.py",
    ),
    (
        "defenses/estimators/_choice.py", "rows.take(place != fold)", "rows.take(place >= 0)",
        "tests/defenses/test_estimators_choice.py",
    ),
    (
        "defenses/sanitise/scores/neighbours.py", "(many < count) &", "(many <= count) &",
        "tests/defenses/test_filter.py",
    ),
    (
        "defenses/_choose.py", "held = HeldOut(losses, weight / np.sum(weight))",
        "held = HeldOut(losses, used / np.sum(used))", "tests/defenses/test_choose.py",
    ),
    (
        "defenses/repair/_repair.py", "worst(trained.result, repaired.result), report)",
        "repaired.result, report)", "tests/defenses/test_kinds.py",
    ),
    (
        "defenses/_held_out.py", "return weakest - 1 if self.exceeds(0, weakest, SURE) else None",
        "return weakest - 1 if self.exceeds(0, best, SURE) else None",
        "tests/defenses/test_estimators_choice.py",
    ),
    (
        "defenses/_held_out.py",
        "middle = max(float(np.median(squares[0])), np.finfo(float).tiny)",
        "middle = max(float(np.median(squares)), np.finfo(float).tiny)",
        "tests/defenses/test_estimators_choice.py",
    ),
    (
        "defenses/estimators/_choice.py", "spent += seen.trainings + 1", "spent += seen.trainings",
        "tests/defenses/test_estimators_counts.py",
    ),
    (
        "defenses/estimators/relabel.py", "        y = y.copy()\n", "",
        "tests/defenses/test_estimators_use.py",
    ),
    (
        "defenses/estimators/filter.py",
        "weight = np.where(group, rows.weight, 0)\n            score = self.outlier_score(r"
        "ows.x, weight, rows.weight - weight)",
        "weight = group.astype(np.float64)\n            score = self.outlier_score(rows.x, "
        "weight, 1 - weight)", "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/estimators/partition.py", "mean = many / self._counts.shape[1]",
        "mean = many / models", "tests/defenses/test_estimators_counts.py",
    ),
    (
        "defenses/estimators/roni.py", "~made.any(axis=0)", "~made.all(axis=0)",
        "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/estimators/trim.py",
        "loss = float(np.average(score[keep], weights=rows.weight[keep]))",
        "loss = float(np.average(score[keep]))", "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/sanitise/_selection.py",
        "return jax.nn.softplus(loss.rank(y, f)) if hasattr(loss, \"rank\") else loss(y, f)",
        "return loss(y, f)",
        "tests/defenses/test_trim.py",
    ),
    (
        "defenses/sanitise/roni.py", "worst(without.result, joined.result)", "joined.result",
        "tests/test_failures.py",
    ),
    (
        "defenses/sanitise/trim.py", "worst(jnp.max(tried.result), jnp.max(ends.result))",
        "jnp.max(ends.result)", "tests/test_failures.py",
    ),
    (
        "defenses/sanitise/_quotas.py", "(jnp.abs(y) == 1) | (data.weight == 0)", "jnp.abs(y) == 1",
        "tests/defenses/test_rare_classes.py",
    ),
    (
        "defenses/ensemble/partition.py",
        "jnp.where(data.weight > 0, self.places(data), self.partitions)", "self.places(data)",
        "tests/defenses/test_partition.py",
    ),
    (
        "defenses/estimators/roni.py", "mean_impact(harm.reshape(made.shape), made, hashes[0])",
        "mean_impact(harm.reshape(made.shape), used, hashes[0])",
        "tests/defenses/test_estimators_rows.py",
    ),
    (
        "defenses/estimators/confident_learning.py", "expit(f - f.mean", "expit(2 * f - 2 * f.mean",
        "tests/defenses/test_confident_learning.py",
    ),
    (
        "defenses/ensemble/_ensemble.py", "result=jnp.max(jnp.asarray(inner.result, jnp.int32)),",
        "result=jnp.asarray(inner.result, jnp.int32)[0],", "tests/test_failures.py",
    ),
    (
        "defenses/sanitise/_sets.py", "jnp.lexsort((~used, hashes))",
        "jnp.argsort(hashes, stable=True)", "tests/test_failures.py",
    ),
    (
        "defenses/sanitise/soft_trim.py", "worst(code, share.result, last.result)",
        "worst(share.result, last.result)", "tests/test_failures.py",
    ),
    (
        "defenses/repair/prune.py", "kept = (rank >= count).astype",
        "kept = (rank < rank.size - count).astype", "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/prune.py", "jnp.cumprod(fine.astype(jnp.int32))) - 1",
        "jnp.cumprod(fine.astype(jnp.int32)))", "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/fine_prune.py", "tune.repair(pruned.model,", "tune.repair(model,",
        "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/unlearn.py", "round(self.share * x.shape[0])", "x.shape[0]",
        "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/clip_channels.py", "(3, 2, 0, 1)", "(3, 0, 1, 2)",
        "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/_network.py", "if missing.size:", "if missing.size < 0:",
        "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/_repair.py", "self.around(softened(self.learner, data))", "self",
        "tests/defenses/test_repair.py",
    ),
    (
        "defenses/repair/implicit_unlearning.py", "radius / jnp.sqrt(", "radius / (",
        "tests/defenses/test_ibau.py",
    ),
    (
        "defenses/repair/implicit_unlearning.py", "bernoulli(of_rows, self.share,",
        "bernoulli(of_rows, 1 - self.share,", "tests/defenses/test_ibau.py",
    ),
    (
        "defenses/repair/implicit_unlearning.py", "clean.x[: self.rows], clean.y[: self.rows]",
        "clean.x[-self.rows :], clean.y[-self.rows :]", "tests/defenses/test_ibau.py",
    ),
    (
        "defenses/data_audit/page.py", "return html.escape(str(value))", "return str(value)",
        "tests/defenses/data_audit/test_audit.py",
    ),
    (
        "defenses/data_audit/influence.py", "return -_halves(self.certificate.gradient)[0]",
        "return _halves(self.certificate.gradient)[0]", "tests/defenses/data_audit/test_audit.py",
    ),
    (
        "defenses/data_audit/judge.py", "y[self.changed[0]] = self.changed[1]",
        "y[self.changed[0]] = y[self.changed[0]]", "tests/defenses/data_audit/test_attacker.py",
    ),
    (
        "defenses/data_audit/attacker.py",
        "x = np.asarray(self.domain.place(self.domain.project(jnp.asarray(x))))",
        "x = np.asarray(x)", "tests/defenses/data_audit/test_attacker.py",
    ),
    (
        "defenses/data_audit/ranking.py", "for shift in (0.0, 0.5):", "for shift in (0.0,):",
        "tests/defenses/data_audit/test_parts.py",
    ),
    (
        "defenses/data_audit/report.py", "part.unlink(missing_ok=True)", "pass",
        "tests/defenses/data_audit/test_audit.py",
    ),
    (
        "defenses/data_audit/linear_models.py", "penalty[-1] = 0", "pass",
        "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "defenses/data_audit/certified/_displacement.py",
        "moved + _norms(v, spread) * size, _norms", "moved, _norms",
        "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/certified/_reach.py", "count = min(count, each.shape[1])",
        "count = min(count, each.shape[1]) - 1", "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/certified/_reach.py", "self.scale * self.rows.largest(v)",
        "self.scale * self.rows.highest(v)", "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/certified/_fit.py", "0.5 * count**0.5 * residual",
        "0.25 * count**0.5 * residual", "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/certified/_damage.py", "level = low + slope * forth", "level = low",
        "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/certified/_fit.py", "np.max(pushed + np.sqrt(left)",
        "np.max(np.sqrt(left)", "tests/defenses/data_audit/test_certified.py",
    ),
    (
        "defenses/data_audit/bound.py", "float(np.sum(train.weight))",
        "float(np.sum(train.weight) + 1e3)", "tests/defenses/data_audit/test_audit.py",
    ),
    *(
        (f"defenses/sanitise/{name}.py", f"fitted = learner.fit({rows}, key=key, throw=False)",
         f"fitted = learner.fit({rows}, throw=False)", "tests/test_failures.py")
        for name, rows in (
            ("sever", "subset, warm"), ("soft_trim", "reweighed(data, share), warm"),
            ("_dispute", "part"),
        )
    ),
    *(
        ("defenses/sanitise/_selection.py", old, new, "tests/defenses/test_edges_of_sanitisers.py")
        for old, new in (
            ("(place <= place[last])", "(place < place[last])"),
            ("ahead = (score < limit) | xp.isnan(limit)", "ahead = score < limit"),
            ("taken = (group[last] != group) | _until", "taken = _until"),
            ("among & (quota.least > 0) & taken", "among & taken"),
            ("among & (count > 0) & _until", "among & _until"),
            ("among & ~first, left, tie)", "among & ~first, count, tie)"),
        )
    ),
)  # fmt: skip
