"""Bugs of a seventh set, in attacks and benchmarks, that the fast tests did not see."""

ATTACKS = "tests/attacks/test_edges_of_parts.py"
PARTS = "tests/benchmarks/experiments/test_bodies_of_single_parts.py"

MUTANTS = (
    (
        "attacks/_compose.py",
        "touched = jnp.any(training.support(value)[places])",
        "touched = jnp.all(training.support(value)[places])",
        ATTACKS,
    ),
    (
        "attacks/capabilities/_capability.py",
        "    if weight.shape != shape:\n",
        "    if weight.shape[:1] != shape:\n",
        ATTACKS,
    ),
    (
        "attacks/capabilities/stamp.py",
        "if labels.shape not in ((), self.rows.shape):",
        "if labels.shape not in ((), (1,), self.rows.shape):",
        ATTACKS,
    ),
    (
        "attacks/domains/_ball.py",
        "if all(map(concrete, (centre, inside.lower, inside.upper))):",
        "if all(map(concrete, (centre, inside.lower))):",
        ATTACKS,
    ),
    (
        "attacks/domains/watermark.py",
        "if target.shape != base.shape[1:]:",
        "if target.ndim != base.ndim - 1:",
        ATTACKS,
    ),
    (
        "attacks/fairness/_groups.py",
        "empty = np.flatnonzero(np.bincount(numbers) == 0)",
        "empty = np.setdiff1d(np.arange(numbers.min(), numbers.max()), numbers)",
        ATTACKS,
    ),
    ("attacks/goals/collide.py", "    if unknown or not names:\n", "    if unknown:\n", ATTACKS),
    (
        "attacks/goals/energy.py",
        "rows = world.shown(self.x, key=key)",
        "rows = world.shown(self.x)",
        ATTACKS,
    ),
    (
        "attacks/recipes/anchoring.py",
        "np.abs(x[rows] - x[i]) <= neighbourhood, axis=1)",
        "np.abs(x[rows] - x[i]) < neighbourhood, axis=1)",
        ATTACKS,
    ),
    (
        "attacks/recipes/collision.py",
        "    if not (concrete(y) and concrete(label)):\n",
        "    if not concrete(y):\n",
        ATTACKS,
    ),
    (
        "attacks/recipes/pruning_aware.py",
        "layer.activity(found.activations(clean.x), clean.weight))",
        "layer.activity(found.activations(poisoned.x), poisoned.weight))",
        ATTACKS,
    ),
    (
        "benchmarks/data/_source.py",
        "        if folder:\n            return _held",
        "        if folder is not None:\n            return _held",
        PARTS,
    ),
    ("benchmarks/data/scenes/_warp.py", "half = max(height, width) / 2", "half = width / 2", PARTS),
    (
        "benchmarks/experiments/backdoors/optimised_trigger.py",
        "stamp(jax.random.key(seed), trigger",
        "stamp(jax.random.key(0), trigger",
        PARTS,
    ),
    (
        "benchmarks/experiments/defenses/_trim_on_table.py",
        "learner = Ridge(alpha / total)",
        "learner = Ridge(alpha / options.train)",
        PARTS,
    ),
    (
        "benchmarks/experiments/svm/_finite_differences.py",
        "np.linalg.norm(inverse[0])",
        "np.linalg.norm(inverse[:, 0])",
        PARTS,
    ),
    (
        "benchmarks/experiments/transfer/_network.py",
        "key = jax.random.key(1000 + self.seed)",
        "key = jax.random.key(self.seed)",
        PARTS,
    ),
    (
        "benchmarks/fuzz/exact/linear.py",
        "1 - np.abs(pull) / np.real(l1))",
        "1 - pull / np.real(l1))",
        PARTS,
    ),
    (
        "benchmarks/fuzz/learners.py",
        "near, sign = np.abs(r) < delta, np.sign(r)",
        "near, sign = r < delta, np.sign(r)",
        PARTS,
    ),
    (
        "benchmarks/pictures/svm_gradient.py",
        'if all(row["certified_error"] is None for row in cases):',
        'if any(row["certified_error"] is None for row in cases):',
        PARTS,
    ),
    (
        "benchmarks/poisons/layout.py",
        'part = part.astype(part.dtype.newbyteorder("<"))',
        "part = part.astype(part.dtype)",
        PARTS,
    ),
)
