"""Bugs that no fast test saw in paths, smooth solvers and stochastic runs."""

BUGS = (
    (
        "paths",
        "solvers/path/picard.py",
        (
            ("(state, residual)", "state"),
            ("jnp.int32(self.steps)", "jnp.int32(self.steps - 1)"),
        ),
    ),
    ("paths", "solvers/path/_path.py", (("all_finite((w, residual)", "all_finite(w"),)),
    (
        "paths",
        "solvers/path/proximal_gradient.py",
        (
            ("all_finite((w, residual)", "all_finite(w"),
            ("jnp.int32(self.steps)", "jnp.int32(self.steps - 1)"),
            (
                "GMRES(precondition=False).solve(lambda v: pull(v)[0], lambda r: r",
                "self.backsolve(problem, frozen",
            ),
            ("ahead = k / (k + 3)", "ahead = k / (k + 2)"),
            ("w, _ = state", "_, w = state"),
            ("self.rate * forces", "forces"),
        ),
    ),
    (
        "paths",
        "solvers/path/projected_gradient.py",
        (
            ("x, _, nu = state\n        residual", "_, x, nu = state\n        residual"),
            ("/ (k + 3) * (x", "/ (k + 2) * (x"),
            ("_project(problem, jnp.zeros_like(problem.q))[0]", "jnp.zeros_like(problem.q)"),
            ("problem.upper - x", "x - problem.upper"),
            ("jnp.int32(self.steps)", "jnp.int32(self.steps - 1)"),
            ("all_finite((x, nu)", "all_finite(x"),
        ),
    ),
    (
        "paths",
        "solvers/path/clipped.py",
        (
            ("problem.key, index)", "problem.key, 0)"),
            ("jnp.mean(values)", "values[0]"),
        ),
    ),
    (
        "paths",
        "solvers/smooth/newton.py",
        (
            ('residual": scalars[3]}', 'residual": scalars[2]}'),
            ("jnp.sqrt(jnp.max(jnp.abs(hessian)", "jnp.max(jnp.abs(hessian"),
            ("<= self.tol) |", "<= rough) |"),
        ),
    ),
    ("paths", "solvers/smooth/newton_cg.py", (("rhs, self.cg_tol)", "rhs, self.step_tol)"),)),
    (
        "paths",
        "solvers/smooth/lbfgs.py",
        (
            ("step - 1 - i)", "step - i)"),
            ("(step + i) %", "(step + 1 + i) %"),
            ("1 / jnp.where(known, rho[last] *", "rho[last] / jnp.where(known,"),
            ("jnp.minimum(1.0, first)", "first"),
            ("* (alphas[k] -", "* (alphas[i] -"),
            ("self.rtol * norm(gradient", "jnp.asarray(self.rtol, value.dtype"),
            ("< self.max_steps", "<= self.max_steps"),
        ),
    ),
    (
        "paths",
        "solvers/smooth/_smooth.py",
        (
            ("(new_size <= size) | (-fall <= noise)", "new_size <= size"),
            ("(new_size <= size) | (-fall <= noise)", "-fall <= noise"),
            ("(fell | level | close) & jnp.isfinite(new_value)", "fell | level | close"),
            (
                "(-fall <= eps**0.5 * jnp.abs(value)) & (new_size <= 0.5 * size)",
                "new_size <= 0.5 * size",
            ),
            (" + 1e-4 * fall", ""),
            ("jnp.where(accepted, t, 0)", "t"),
        ),
    ),
    (
        "paths",
        "solvers/smooth/anderson.py",
        (
            ("self.damping * dr", "dr"),
            ("self.damping * r", "r"),
            (" * norm(end.best)", ""),
        ),
    ),
    (
        "stochastic",
        "stochastic/soba.py",
        (("problem.outer_batch, outer_key", "problem.outer_batch, inner_key"),),
    ),
    (
        "stochastic",
        "stochastic/amigo.py",
        (("problem.outer_batch, outer_key", "problem.outer_batch, cross_key"),),
    ),
    (
        "stochastic",
        "stochastic/stocbio.py",
        (
            ("problem.outer_batch, outer_key", "problem.outer_batch, cross_key"),
            ('        require_count("inner_steps", self.inner_steps)\n', ""),
        ),
    ),
    (
        "stochastic",
        "stochastic/f2sa.py",
        (
            ("problem.inner_batch, inner_key", "problem.inner_batch, outer_key"),
            (
                "rates.adjoint, self.inner_steps, walk_key)",
                "rates.adjoint, self.inner_steps, z_key)",
            ),
            ("return w, jnp.asarray", "return jax.tree.map(jnp.zeros_like, w), jnp.asarray"),
            ('        require_count("inner_steps", self.inner_steps)\n', ""),
        ),
    ),
    (
        "stochastic",
        "stochastic/saba.py",
        (
            ("problem.outer_batch, outer_key", "problem.outer_batch, inner_key"),
            ('inner", "outer")', 'inner",)'),
        ),
    ),
    (
        "stochastic",
        "stochastic/_loop.py",
        (
            (
                "jnp.minimum(begin.step + (index + 1) * every, last)",
                "begin.step + (index + 1) * every",
            ),
            ("jnp.where(good, mean + weight * (z - mean),", "mean + weight * (z -"),
            ("jnp.where(good, count, state.step)", "count"),
            (") if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf", ".astype(float))"),
            ("int(jnp.max(self.status", "int(jnp.min(self.status"),
            ('inner", "outer"', 'outer",'),
        ),
    ),
)

MUTANTS = tuple(
    (f"bilevel/{file}", old, new, f"tests/bilevel/test_edges_of_{tests}.py")
    for tests, file, bugs in BUGS
    for old, new in bugs
)
