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
        ),
    ),
)

MUTANTS = tuple(
    (f"defenses/{file}", old, new, f"tests/defenses/test_edges_of_{tests}.py")
    for tests, file, bugs in BUGS
    for old, new in bugs
)
