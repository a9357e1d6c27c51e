"""Bugs to plant in audits and purifiers: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "defenses/audit/_outliers.py", "jnp.median(figures) - figures",
        "figures - jnp.median(figures)", "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_outliers.py", "1.4826 * jnp.median", "jnp.median",
        "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_reconstruction.py", "held & (now.size < state.best.size)",
        "held & (now.size > state.best.size)", "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_reconstruction.py", "better = held & (now.size",
        "better = (now.size", "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_reconstruction.py", "jnp.where(up, 1.5,", "jnp.where(up, 1 / 1.5,",
        "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_reconstruction.py", "unit * jnp.broadcast_to(high - low, unit.shape)",
        "unit * jnp.broadcast_to(high, unit.shape)", "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/_checks.py", "if gap > 1e-6:", "if gap > 1e6:",
        "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/overlap.py", "both / jnp.sum(true)", "both / true.size",
        "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/audit/tabor.py", "of.rough_outside * _rough(outside)",
        "of.rough_outside * _rough(unit)", "tests/defenses/test_tabor.py",
    ),
    (
        "defenses/audit/tabor.py", "_kept((1 - mask)[None], rows.x, low)",
        "(1 - mask)[None] * rows.x", "tests/defenses/test_tabor.py",
    ),
    (
        "defenses/audit/tabor.py", "rank < count", "rank >= count", "tests/defenses/test_tabor.py",
    ),
    (
        "defenses/audit/tabor.py", "beta * rough - crop", "beta * rough + crop",
        "tests/defenses/test_tabor.py",
    ),
    (
        "defenses/audit/wrong_labels.py", " & wrong[:, None]", "",
        "tests/defenses/test_wrong_labels.py",
    ),
    (
        "defenses/purify/_heat.py", "jnp.mean(slope, axis=(1, 2), keepdims=True) * seen",
        "slope * seen", "tests/defenses/test_februus.py",
    ),
    (
        "defenses/purify/_heat.py", "return model, images[-1]", "return model, images[0]",
        "tests/defenses/test_februus.py",
    ),
    (
        "defenses/purify/februus.py", "self.fill((1 - mask) * x, mask)", "self.fill(x, mask)",
        "tests/defenses/test_februus.py",
    ),
    (
        "defenses/purify/inpainter.py", "block, (1 - mask) * x, mask) - x", "block, x, mask) - x",
        "tests/defenses/test_februus.py",
    ),
    (
        "defenses/models.py", "f.ndim not in (1, 2) or f.shape[0] != x.shape[0]",
        "f.ndim not in (1, 2)", "tests/defenses/test_models.py",
    ),
    (
        "defenses/data_audit/leaving_out.py", "np.eye(k)[None] - here.curvature @ own",
        "np.eye(k)[None] + 0 * here.curvature @ own", "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "defenses/data_audit/leaving_out.py", "step = step - left - np.sum", "step = step - np.sum",
        "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "defenses/data_audit/leaving_out.py",
        "decision[None] + moved) - before[None]", "decision[None] + moved) - before[:1]",
        "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "benchmarks/experiments/audit/leave_one_out.py",
        "change = pairs.mean(axis=1)[which]", "change = pairs.mean(axis=1)[: which.size]",
        "tests/benchmarks/experiments/test_row_ranking.py",
    ),
    (
        "defenses/data_audit/influence.py", "weighed = np.any(rows.weight != 1)",
        "weighed = np.ptp(rows.weight) > 0", "tests/defenses/data_audit/test_parts.py",
    ),
    (
        "defenses/data_audit/columns.py", "if name not in taken else", "if True else",
        "tests/defenses/data_audit/test_ingest.py",
    ),
    (
        "defenses/repair/prune.py", "jnp.minimum(most, rank.size - 1)",
        "jnp.minimum(most, rank.size)", "tests/defenses/test_repair.py",
    ),
    (
        "defenses/sanitise/_features.py", "rows.used & (~seen.suspect | spared)",
        "rows.used & ~seen.suspect", "tests/defenses/test_feature_sanitisers.py",
    ),
    (
        "defenses/sanitise/cluster_rules.py",
        "others = jnp.max(jnp.where(jnp.eye(len(own), dtype=bool), 0, counts), axis=1)",
        "others = jnp.sum(jnp.where(jnp.eye(len(own), dtype=bool), 0, counts), axis=1)",
        "tests/defenses/test_cluster_rules.py",
    ),
    (
        "defenses/sanitise/soft_filter.py",
        "score = self.score(x, of_class, data.weight - of_class)",
        "score = self.score(x, of_class, data.weight)",
        "tests/defenses/test_filter.py",
    ),
    (
        "defenses/sanitise/soft_relabel.py",
        "0.5 / self.k * at_tie",
        "0.5 * at_tie",
        "tests/defenses/test_relabel.py",
    ),
    (
        "defenses/_held_out.py",
        "np.sqrt(np.sum((self.share * (rise - mean)) ** 2))",
        "np.sqrt(np.sum((self.share * rise) ** 2))",
        "tests/defenses/test_estimators_choice.py",
    ),
    (
        "defenses/repair/prune.py",
        "most = jnp.sum(jnp.cumprod(fine.astype(jnp.int32))) - 1",
        "most = jnp.sum(fine.astype(jnp.int32)) - 1",
        "tests/defenses/test_clean_rows.py",
    ),
    (
        "defenses/repair/implicit_unlearning.py",
        "mean = jnp.sum(clean.weight * each) / jnp.sum(clean.weight)",
        "mean = jnp.mean(each)",
        "tests/defenses/test_clean_rows.py",
    ),
    (
        "defenses/purify/filters.py",
        "before, after = (self.width - 1) // 2, self.width // 2",
        "before, after = self.width // 2, (self.width - 1) // 2",
        "tests/defenses/test_purifiers.py",
    ),
    (
        "defenses/audit/tabor.py",
        "pairs = channels * (height * (width - 1) + width * (height - 1))",
        "pairs = height * (width - 1) + width * (height - 1)",
        "tests/defenses/test_tabor.py",
    ),
    (
        "defenses/audit/_reconstruction.py",
        "keys = jax.vmap(lambda label: jax.random.fold_in(key, label))(jnp.asarray(wanted))",
        "keys = jax.random.split(key, len(wanted))",
        "tests/defenses/test_neural_cleanse.py",
    ),
    (
        "defenses/data_audit/bound.py",
        "spread = np.average((rows.y - mean) ** 2, weights=rows.weight)",
        "spread = np.average((rows.y - mean) ** 2)",
        "tests/defenses/data_audit/test_parts.py",
    ),
    (
        "defenses/data_audit/damage.py",
        "clean, after = (float(np.average(m[inside], weights=weight)) for m in misses)",
        "clean, after = (float(np.mean(m[inside])) for m in misses)",
        "tests/defenses/data_audit/test_parts.py",
    ),
    (
        "defenses/estimators/partition.py",
        "return self.votes(X) / len(self.estimators_)",
        "return self.votes(X) / self.partitions",
        "tests/defenses/test_estimators_partition.py",
    ),
    (
        "bilevel/networks/channels.py",
        "return weight.astype(of_rows.dtype) @ of_rows / jnp.sum(weight).astype(of_rows.dtype)",
        "return jnp.mean(of_rows, axis=0)",
        "tests/defenses/test_clean_rows.py",
    ),
    (
        "defenses/data_audit/leaving_out.py", "np.linalg.norm(left, axis=1) <= NEAR",
        "np.linalg.norm(left, axis=1) <= 1e9", "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "defenses/data_audit/leaving_out.py", "[:, -1] < LEAST", "[:, -1] < 0",
        "tests/defenses/data_audit/test_pairs.py",
    ),
    (
        "bilevel/study/_differences.py",
        "jax.eval_shape(lambda moved: numbers(function(whole(moved))), moved)",
        "eqx.filter_eval_shape(lambda x: numbers(function(x)), x)", "tests/bilevel/test_study.py",
    ),
)  # fmt: skip
