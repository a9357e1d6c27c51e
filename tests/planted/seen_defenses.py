"""Bugs that no fast test saw in defenses, but for those of data audits."""

BUGS = (
    (
        "estimators",
        "estimators/_tasks.py",
        (
            ("np.max(np.where(label, -np.inf, f), axis=1)", "np.max(f, axis=1)"),
            ("np.maximum(share, np.finfo(float).tiny)", "np.maximum(share, 1e-9)"),
            ("decisions(model, rows) < 1, -sides", "decisions(model, rows) < 0, -sides"),
            ("decisions(model, rows) < 1, -sides, 0.0", "decisions(model, rows) < 1, sides, 0.0"),
            ("return slopes[:, 1:] if", "return slopes[:, :1] if"),
            (
                "np.reshape(model.predict(rows.given), (-1, 1)) - rows.y[:, None]",
                "rows.y[:, None] - np.reshape(model.predict(rows.given), (-1, 1))",
            ),
        ),
    ),
    (
        "estimators",
        "estimators/_rows.py",
        (
            ("label is None or type(label)", "type(label)"),
            ("copy=True)", "copy=False)"),
            ("& 0xFFFFFF)", "& 0xFFFFFFFF)"),
            ("np.lexsort((rows.weight, *content", "np.lexsort((*content"),
            ("isinstance(random_state, int | np.integer)", "isinstance(random_state, int)"),
        ),
    ),
    (
        "estimators",
        "estimators/_sanitiser.py",
        ((("np.full(y.size, np.nan)\n        labels"), ("np.zeros(y.size)\n        labels")),),
    ),
    (
        "estimators",
        "estimators/roni.py",
        (
            ("min(train, rest // 2), groups)", "min(train, rest), groups)"),
            ("min(train, rest // 2), groups)", "min(train, rest // 2), 1)"),
            ("rest, groups = rows.y.size - 1,", "rest, groups = rows.y.size,"),
            ("return train, min(validation, rest - train)", "return train, min(validation, rest)"),
            ("self.budget, 2) // 2)", "self.budget, 2))"),
            ("seconds * trials / jobs", "seconds * trials"),
            ("trains {2 * trials} models", "trains {trials} models"),
            ("{left / 60:.0f} minutes", "{left:.0f} minutes"),
        ),
    ),
    (
        "estimators",
        "estimators/relabel.py",
        (
            (
                "share = shares(rows.x, weight, k, one_hot)",
                "share = shares(rows.x, np.ones_like(weight), k, one_hot)",
            ),
        ),
    ),
    (
        "estimators",
        "estimators/partition.py",
        (
            (
                (
                    "many, without = int(self._counts[rarest].sum()), "
                    "int(np.sum(self._counts[rarest] == 0))"
                ),
                (
                    "many, without = int(self._counts[rarest].sum()), "
                    "int(np.sum(self._counts[rarest] <= 1))"
                ),
            ),
            ("np.argmin(self._counts.sum(axis=1))", "np.argmin(self._counts.min(axis=1))"),
            ("self.votes(X) / len(self.estimators_)", "self.votes(X) / self.partitions"),
            (
                "rows, models = int(self._counts.sum()), len(self.estimators_)",
                "rows, models = int(self._counts.sum()), self.partitions",
            ),
        ),
    ),
    (
        "estimators",
        "estimators/micro_models.py",
        (
            (
                "np.array(in_parallel(self.n_jobs, doubted, other))",
                "np.array(in_parallel(self.n_jobs, doubted, ~other))",
            ),
            ("against, parts.size)", "against, models)"),
            (
                "place[None, :] != parts[:, None]",
                "place[None, :] != np.arange(parts.size)[:, None]",
            ),
        ),
    ),
    (
        "estimators",
        "estimators/sever.py",
        (
            (
                "share = rows.weight[:, None] / np.sum(rows.weight)",
                "share = np.ones((rows.y.size, 1)) / rows.y.size",
            ),
            ("np.linalg.svd(np.sqrt(share) * centred", "np.linalg.svd(share * centred"),
            ("np.linalg.svd(np.sqrt(share) * centred", "np.linalg.svd(centred"),
            ("np.ones(rows.y.size)])", "np.zeros(rows.y.size)])"),
        ),
    ),
    (
        "estimators",
        "_hash.py",
        (
            ("_bits(rows + xp.float32(0))  #", "_bits(rows)  #"),
            (
                "_bits(x.data.astype(np.float32) + np.float32(0))",
                "_bits(x.data.astype(np.float32))",
            ),
            ("_bits(y.astype(np.float32) + np.float32(0))", "_bits(y.astype(np.float32))"),
        ),
    ),
    (
        "purifiers",
        "repair/implicit_unlearning.py",
        (
            (
                "mean = jnp.sum(clean.weight * each) / jnp.sum(clean.weight)",
                "mean = jnp.mean(each)",
            ),
            ("mean - penalty * jnp.sum(shift**2)", "mean - 0.5 * penalty * jnp.sum(shift**2)"),
            ("return mean - penalty", "return mean + penalty"),
        ),
    ),
    (
        "purifiers",
        "audit/_checks.py",
        (
            (
                "np.arange(classes) if f.ndim == 2 else (-1, 1))]",
                "np.arange(classes) if f.ndim == 2 else (-1, 0, 1))]",
            ),
        ),
    ),
    ("purifiers", "purify/fewer_levels.py", (("jnp.clip(x, 0, 1)", "x"),)),
    (
        "purifiers",
        "purify/inpainter.py",
        (
            ("(2 / (9 * a))", "(2 / (9 * b))"),
            ("(2 / (9 * a))", "(2 / a)"),
            ("jnp.clip(painted, self.lowest, self.highest)", "jnp.clip(painted, 0, self.highest)"),
            ("jnp.clip(painted, self.lowest, self.highest)", "painted"),
            (
                "*[self.channels] * self.layers, pixels * channels]",
                "*[self.channels] * (self.layers - 1), pixels * channels]",
            ),
        ),
    ),
    (
        "sanitisers",
        "sanitise/confident_learning.py",
        (
            (
                "jnp.min(jnp.abs(p - threshold[None, :]), axis=1)",
                "jnp.max(jnp.abs(p - threshold[None, :]), axis=1)",
            ),
            ("others = used & (own[:, rival] == 0)", "others = used"),
            ("gaps_by(p[:, rival] - of_label, sure", "gaps_by(p[:, rival] + of_label, sure"),
            (
                ("size = jnp.maximum(jnp.sum(own * used[:, None].astype(p.dtype), axis=0), 1)"),
                "size = jnp.maximum(jnp.sum(own, axis=0), 1)",
            ),
            (
                ("threshold = jnp.sum(own * p * used[:, None].astype(p.dtype), axis=0) / size"),
                "threshold = jnp.sum(own * p, axis=0) / size",
            ),
            ("own = own * xp.astype(used, p.dtype)[:, None]", "own = own * 1.0"),
            ("- 1e-9), xp.int32)", "+ 1e-9), xp.int32)"),
            ("jnp.where(jnp.any(y < 0), (y + 1) / 2, y)", "(y + 1) / 2"),
        ),
    ),
    ("sanitisers", "sanitise/_dispute.py", (("((f > 0) != (y > 0))", "((f >= 0) != (y > 0))"),)),
    (
        "sanitisers",
        "sanitise/roni.py",
        (
            ("* f <= 0)", "* f < 0)"),
            (
                "rise / xp.where(trials > 0, trials, xp.ones_like(trials))",
                "rise / xp.maximum(trials, counts.shape[0] * xp.ones_like(trials))",
            ),
            (
                "sum_by_group(xp.sum(each, axis=0), equal)[equal] for each",
                "xp.sum(each, axis=0) for each",
            ),
        ),
    ),
    (
        "sanitisers",
        "sanitise/sever.py",
        (
            (
                "xp.max(xp.where(left, score, xp.zeros_like(score)))",
                "xp.max(xp.where(keep, score, xp.zeros_like(score)))",
            ),
            ("xp.max(xp.where(left, score, xp.zeros_like(score)))", "xp.max(score)"),
        ),
    ),
    (
        "sanitisers",
        "sanitise/trim.py",
        (
            ("max(1, round(PROMISING", "max(2, round(PROMISING"),
            ("xp.zeros(used.shape[0]), used, count", "xp.zeros(used.shape[0]), used | True, count"),
        ),
    ),
)

MUTANTS = tuple(
    (f"defenses/{file}", old, new, f"tests/defenses/test_edges_of_{tests}.py")
    for tests, file, bugs in BUGS
    for old, new in bugs
)
