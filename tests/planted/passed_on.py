"""Bugs to plant in `bilevel`, of what is lost or mixed up on its way from one part to another:
codes, records, settings, sizes and units. As in `planted.bilevel`.
"""

LEARNERS = "tests/bilevel/test_learners.py"
PROBLEMS = "tests/bilevel/test_half_constraints.py"
FIGURES = "tests/bilevel/test_study_figures.py"
STOCHASTIC = "tests/bilevel/test_stochastic.py"
OUTER, WRONG = "problem.outer_data, problem.outer_batch", "problem.outer_data, problem.inner_batch"

MUTANTS = (
    (
        "bilevel/learners/_learner.py",
        "report = training.report if trained.report is None else trained.report",
        "report = trained.report if training.report is None else training.report", LEARNERS,
    ),
    (
        "bilevel/linear/gmres.py", "return x, left, better, steps + taken",
        "return x, left, better, steps + 1", "tests/bilevel/test_linear.py",
    ),
    (
        "bilevel/problems/box_qp.py", "if (self.e is None) != (self.b is None):",
        "if self.e is not None and self.b is None:", PROBLEMS,
    ),
    (
        "bilevel/problems/qp.py", "if (matrix is None) != (vector is None):",
        "if matrix is not None and vector is None:", PROBLEMS,
    ),
    (
        "bilevel/solvers/constrained/_kkt_solver.py",
        "short = jnp.where(state.interior >= self.max_steps, MAX_STEPS, ACTIVE_SET)",
        "short = ACTIVE_SET", "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/solvers/qp/active_set.py",
        "at_bound = jnp.where(_face.pinned(qp), jnp.inf, jnp.where(sets.upper, -slope, slope))",
        "at_bound = jnp.where(sets.upper, -slope, slope)", "tests/bilevel/test_box_qp.py",
    ),
    (
        "bilevel/solvers/sparse/_orthant.py", "sign = q.side(w).astype(jnp.int8)",
        "sign = jnp.sign(w).astype(jnp.int8)", "tests/bilevel/test_lasso.py",
    ),
    *(
        (f"bilevel/solvers/path/{name}.py",
         "jnp.where(residual <= self.tol, CONVERGED, MAX_STEPS)", "jnp.int32(CONVERGED)",
         "tests/bilevel/test_path_tolerance.py")
        for name in ("projected_gradient", "proximal_gradient")
    ),
    *(
        (f"bilevel/stochastic/{method}.py", f"{kind}({OUTER}, {which})",
         f"{kind}({WRONG}, {which})", STOCHASTIC)
        for method, kind, which in (
            ("f2sa", "draw", "outer_key"), ("amigo", "draw", "outer_key"),
            ("stocbio", "draw", "outer_key"), ("soba", "draw", "outer_key"),
            ("saba", "outer_rows = block", "j"),
        )
    ),
    (
        "bilevel/study/_plots.py", "x, y = 1e3 * row.seconds, max(row.error, FLOOR)",
        "x, y = row.seconds, max(row.error, FLOOR)", FIGURES,
    ),
    (
        "bilevel/study/_plots.py", "axes.plot([x, x], [y, max(row.bound, FLOOR)]",
        "axes.plot([x, x], [FLOOR, max(row.bound, FLOOR)]", FIGURES,
    ),
    (
        "bilevel/study/_plots.py", "x = [max(row.inner_error, FLOOR) for row in of_name]",
        "x = [max(row.gradient_error, FLOOR) for row in of_name]", FIGURES,
    ),
    (
        "bilevel/study/compare.py", 'f"{1e3 * row.seconds:.3g}"', 'f"{row.seconds:.3g}"', FIGURES,
    ),
    ("bilevel/study/compare.py", "row.memory / 1e6", "row.memory / 1e3", FIGURES),
    (
        "bilevel/study/lag.py", '"error of w": f"{row.inner_error',
        '"error of w": f"{row.gradient_error', FIGURES,
    ),
)  # fmt: skip
