"""Bugs of the core whose trace is one part of several, or one step of several."""

COMPOSITES, PATHS = "tests/bilevel/test_composites.py", "tests/bilevel/test_stochastic_paths.py"
SETTINGS = "tests/bilevel/test_sweep_input.py"

MUTANTS = (
    (
        "bilevel/solvers/constrained/_kkt_solver.py",
        "own * dx, 0)",
        "dx, 0)",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/solvers/qp/_interior_point.py",
        "bounds[::-1] - 2 * sign",
        "bounds[::-1] + 2 * sign",
        "tests/bilevel/test_shrinking.py",
    ),
    (
        "bilevel/solvers/constrained/_kkt.py",
        "x = _power_of_two(lax.rsqrt(",
        "x = _power_of_two(0 * lax.rsqrt(1 + 0 * ",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/solvers/constrained/_kkt.py",
        "_power_of_two(jnp.where(known, x * length, 1))",
        "_power_of_two(jnp.where(known, x, 1))",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/solvers/constrained/_barrier.py",
        "size = jnp.maximum(size, 0.1 * jnp.abs(local.c))",
        "size = jnp.maximum(size, 0 * jnp.abs(local.c))",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "defenses/sanitise/_features.py",
        "spared=spared & seen.suspect",
        "spared=seen.suspect",
        "tests/defenses/test_feature_sanitisers.py",
    ),
    ("bilevel/_sweep/_settings.py", "value.as_posix()", "value.name", SETTINGS),
    (
        "bilevel/_sweep/_settings.py",
        "return [plain(each) for each in value]",
        "return sorted(map(str, map(plain, value)))",
        SETTINGS,
    ),
    (
        "bilevel/_sweep/_settings.py",
        "in dataclasses.fields(value)}",
        "in dataclasses.fields(value)[:1]}",
        SETTINGS,
    ),
    ("bilevel/_sweep/_settings.py", "{_name(value): {", '{"fields": {', SETTINGS),
    ("bilevel/_sweep/_settings.py", "[identity, about]", "[about]", SETTINGS),
    (
        "bilevel/solvers/each.py",
        "point, jnp.max(point.result)",
        "point, point.result[0]",
        COMPOSITES,
    ),
    (
        "bilevel/solvers/each.py",
        "batch(self.solver.backsolve_transposed)",
        "batch(self.solver.backsolve)",
        COMPOSITES,
    ),
    ("bilevel/_members.py", "jnp.any(info.touched)", "jnp.all(info.touched)", COMPOSITES),
    ("bilevel/_members.py", "jnp.max(info.result)", "info.result[0]", COMPOSITES),
    (
        "bilevel/_members.py",
        "jax.random.split(key, count)",
        "jnp.repeat(key[None], count)",
        COMPOSITES,
    ),
    ("bilevel/_together.py", "[p.keyed(k) for", "[p.keyed(key) for", COMPOSITES),
    (
        "bilevel/_together.py",
        "jnp.any(jnp.stack(touched))",
        "jnp.all(jnp.stack(touched))",
        COMPOSITES,
    ),
    ("bilevel/_together.py", "None if None in touched", "None if touched[0] is None", COMPOSITES),
    (
        "bilevel/_draws.py",
        "return Expected(self.objective, jax.random.split(key, self.keys.shape[0]))",
        "return self",
        COMPOSITES,
    ),
    (
        "bilevel/solvers/path/clipped.py",
        "zip(jax.random.split(key, len(leaves)), leaves,",
        "zip([key] * len(leaves), leaves,",
        COMPOSITES,
    ),
    (
        "bilevel/networks/resnet.py",
        "layer(second, (3, 3, width, width)",
        "layer(first, (3, 3, width, width)",
        COMPOSITES,
    ),
    (
        "bilevel/derivatives/approximate_reversal.py",
        "index = steps - 1 - i",
        "index = steps - i",
        PATHS,
    ),
    (
        "bilevel/derivatives/truncated.py",
        "path(solver, problem, state, first,",
        "path(solver, problem, state, 0,",
        PATHS,
    ),
    (
        "bilevel/derivatives/unroll.py",
        "eqx.combine(state, static), first + index)",
        "eqx.combine(state, static), index)",
        PATHS,
    ),
    (
        "bilevel/solvers/path/_reversible.py",
        "self.push(phase.weights(start.dtype), last - 1 - i)",
        "self.push(phase.weights(start.dtype), last - i)",
        PATHS,
    ),
    (
        "bilevel/problems/stochastic.py",
        "lambda leaf: leaf[step], self.series",
        "lambda leaf: leaf[step - 1], self.series",
        PATHS,
    ),
    (
        "bilevel/_bilevel.py",
        "worst(posed.result, solution.result, outcome.result)",
        "worst(posed.result, solution.result)",
        COMPOSITES,
    ),
    (
        "bilevel/_bilevel.py",
        "jnp.maximum(result, jnp.asarray(code, jnp.int32))",
        "jnp.asarray(code, jnp.int32)",
        COMPOSITES,
    ),
    (
        "bilevel/_sweep/_settings.py",
        "isinstance(value, enum.Enum)",
        "isinstance(value, enum.Flag)",
        SETTINGS,
    ),
    (
        "bilevel/_sweep/_settings.py",
        "{type(value).__module__}.{type(value).__qualname__}",
        "{type(value).__qualname__}",
        SETTINGS,
    ),
    (
        "defenses/ensemble/_parts.py",
        "jax.random.split(key, parts)",
        "jnp.repeat(key[None], parts)",
        "tests/test_failures.py",
    ),
    (
        "bilevel/solvers/smooth/anderson.py",
        "(probes < PROBES)",
        "(probes < 1)",
        "tests/bilevel/test_fixed_point.py",
    ),
    (
        "bilevel/linear/factor.py",
        "takes = (size > coarse) | (new_size < size)",
        "takes = new_size < size",
        "tests/bilevel/test_linear.py",
    ),
    (
        "bilevel/linear/factor.py",
        "(size > coarse) & (stall < PATIENCE)",
        "new_size < size",
        "tests/bilevel/test_linear.py",
    ),
    (
        "defenses/sanitise/_votes.py", "((apart <= radius) | (apart <= radius + rounding))",
        "(apart <= radius + rounding)", "tests/defenses/test_relabel.py",
    ),
    (
        "defenses/sanitise/_quotas.py", "low = (score <= floor) | (score", "low = (score",
        "tests/defenses/test_relabel.py",
    ),
    (
        "bilevel/solvers/sparse/fista.py", "jnp.where(flat, eps**0.5, 0)",
        "jnp.where(flat, 0.0, 0)", "tests/benchmarks/test_fuzz_parts.py",
    ),
)
