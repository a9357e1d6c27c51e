"""Bugs to plant in defenses on features and on inputs: as in `planted.defenses`."""

SANITISERS = "tests/defenses/test_feature_sanitisers.py"
PURIFIERS = "tests/defenses/test_purifiers.py"
EXPERIMENTS = "tests/benchmarks/experiments/test_model_defense_experiments.py"

MUTANTS = (
    (
        "bilevel/solvers/path/clipped.py", "clip / jnp.where(size > clip, size, 1), 1)",
        "clip, 1)", "tests/bilevel/test_clipped.py",
    ),
    (
        "bilevel/solvers/path/clipped.py", "(self.clip, float) / batch", "(self.clip, float)",
        "tests/bilevel/test_clipped.py",
    ),
    (
        "defenses/sanitise/_features.py", "return self.used[None, :] & (self",
        "return (self", SANITISERS,
    ),
    (
        "defenses/sanitise/_features.py", "jnp.maximum(fitted.result, jnp.asarray(",
        "jnp.maximum(0, jnp.asarray(", SANITISERS,
    ),
    (
        "defenses/sanitise/_clusters.py", "(mask & inside, ~mask & inside)",
        "(mask, ~mask)", SANITISERS,
    ),
    (
        "defenses/sanitise/_clusters.py", "split[jnp.argmin(spread)]", "split[0]", SANITISERS,
    ),
    (
        "defenses/sanitise/_clusters.py", "jnp.maximum(count(mine, z) - 1, 1)", "count(mine, z)",
        SANITISERS,
    ),
    (
        "defenses/sanitise/_clusters.py", "swap = jnp.sum(first) > jnp.sum(second)",
        "swap = jnp.sum(first) < jnp.sum(second)", SANITISERS,
    ),
    (
        "defenses/sanitise/cluster_rules.py", "own.astype(float) < self",
        "own.astype(float) > self", SANITISERS,
    ),
    (
        "defenses/sanitise/spectral.py", "return (x @ direction[:, 0]) ** 2",
        "return jnp.abs(x @ direction[:, 0])", SANITISERS,
    ),
    (
        "defenses/sanitise/spectral.py", "1.5 * self.contamination", "self.contamination",
        SANITISERS,
    ),
    (
        "defenses/sanitise/deep_neighbours.py", "rows.classes[winner] != rows.group",
        "rows.classes[winner] == rows.group", SANITISERS,
    ),
    (
        "defenses/purify/strip.py", "threshold - self.entropy(x)", "self.entropy(x) - threshold",
        PURIFIERS,
    ),
    (
        "defenses/purify/strip.py", "(1 - self.mix) * x + self.mix * overlay",
        "self.mix * x + (1 - self.mix) * overlay", PURIFIERS,
    ),
    (
        "defenses/purify/filters.py", '"edge"', '"reflect"', PURIFIERS,
    ),
    (
        "defenses/purify/straight_through.py", "return x + jax.lax.stop_gradient(made - x)",
        "return made", PURIFIERS,
    ),
    (
        "benchmarks/experiments/model_defenses/backdoor_arena.py",
        "worst = max(left, key", "worst = min(left, key",
        "tests/benchmarks/experiments/test_backdoor_arena.py",
    ),
    (
        "benchmarks/experiments/model_defenses/strip.py", "mixed, rows.train.y[base]",
        "mixed, rows.train.y[over]", EXPERIMENTS,
    ),
    (
        "benchmarks/experiments/model_defenses/_infected.py",
        "jnp.sum(reached & right & meant) / jnp.sum(right & meant)",
        "jnp.sum(reached & right) / jnp.sum(right)", EXPERIMENTS,
    ),
    (
        "benchmarks/experiments/model_defenses/_found.py", "(y == label) & ~poison",
        "y == label", EXPERIMENTS,
    ),
)  # fmt: skip
