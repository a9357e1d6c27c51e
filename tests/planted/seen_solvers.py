"""Bugs that no fast test saw in solvers, penalties and problems."""

BUGS = (
    (
        "solvers",
        "linear/cg.py",
        (
            ("max(100 * self.tol, loose(rhs)", "loose(rhs"),
            ("0) & positive & (steps < max_steps)", "0) & positive & (steps <= max_steps)"),
        ),
    ),
    ("solvers", "linear/gmres.py", (("max(100 * self.tol, loose(rhs)", "loose(rhs"),)),
    ("solvers", "linear/neumann.py", (("lax.fori_loop(0, 10,", "lax.fori_loop(0, 3,"),)),
    (
        "solvers",
        "linear/factor.py",
        (("steps <= self.max_refinements", "steps < self.max_refinements"),),
    ),
    ("solvers", "penalties/box.py", (("ends[0] <= ends[", "ends[0] < ends["),)),
    ("solvers", "penalties/elastic_net.py", (('        require_strength("l1", self.l1)\n', ""),)),
    (
        "solvers",
        "penalties/_penalty.py",
        (("jax.tree.leaves(strength):", "jax.tree.leaves(strength)[:1]:"),),
    ),
    (
        "solvers",
        "penalties/group_l1.py",
        (("(self._norms(w) > 0) | (self.strength == 0)", "self._norms(w) > 0"),),
    ),
    (
        "solvers",
        "problems/box_qp.py",
        (
            ("size * np.eye", "np.eye"),
            (" if Q.dtype.itemsize >= 8 else 1e-3", ""),
            ('"upper", "e"):', '"upper"):'),
            ("index {wrong[0]}", "index {wrong[-1]}"),
            ("wrong.size - 1", "wrong.size"),
        ),
    ),
    (
        "solvers",
        "solvers/each.py",
        (
            ("self.solver.symmetric", "True"),
            ("self.solver.converges", "True"),
        ),
    ),
    (
        "solvers",
        "solvers/qp/active_set.py",
        (
            ("face.position[-1] + 1}", "face.position[-1]}"),
            ("jnp.isfinite(qp.upper) & ", ""),
            ("qp.upper) & ~fixed", "qp.upper)"),
            ("_infeasible(qp),", "_infeasible(qp) & usual,"),
            (
                "jnp.where(e == 0, 0, e * qp.lower), jnp.where(e == 0, 0, e * qp.upper)",
                "e * qp.lower, e * qp.upper",
            ),
            ("= jnp.where(sets.free, jnp.minimum(x", "= jnp.where(sets.free, -jnp.minimum(x"),
            ("jnp.where(idle >", "jnp.where(idle <"),
            ("< 0)), sets.upper | (first & (idle >", "> 0)), sets.upper | (first & (idle <"),
            ("jnp.maximum(least, 0)", "least"),
            (" & ~jnp.isnan(qp.lower) & ~jnp.isnan(qp.upper)", ""),
            (" * (jnp.abs(b) + 1)", ""),
        ),
    ),
    (
        "solvers",
        "solvers/qp/_face.py",
        (
            ("/ jnp.where(e != 0, e, 1)", "* e"),
            ("(e != 0) & ~pinned(qp)", "e != 0"),
            ("jnp.maximum(count, 1) *", ""),
            (" + face.sigma * rhs.nu", ""),
        ),
    ),
    (
        "solvers",
        "solvers/qp/_shrinking.py",
        (
            (
                "found = Inside(sets, x, inside.nu, found.steps + inside.steps)",
                "found = Inside(sets, x, inside.nu, inside.steps)",
            ),
            ("inside._replace(steps=found.steps + inside.steps)", "inside"),
        ),
    ),
    (
        "solvers",
        "solvers/qp/_interior_point.py",
        (("y + solve(jnp.where", "y + 0 * solve(jnp.where"),),
    ),
    (
        "solvers",
        "solvers/sparse/_support.py",
        (
            ("(count > size)", "(count >= size)"),
            ("while 5 * k <= 4 *", "while k <="),
        ),
    ),
    (
        "interiors",
        "solvers/constrained/_kkt.py",
        (("J, rows, shrink", "J, rows * shrink, shrink"),),
    ),
    (
        "interiors",
        "solvers/constrained/_barrier.py",
        (
            ("jnp.where(better, unmet", "jnp.where(over, unmet"),
            ("total + local.cost", "total"),
            ("jnp.maximum(-g", "jnp.maximum(jnp.abs(g)"),
            ("mu / s])\n    unmet", "mu * s])\n    unmet"),
            ("_excess(local, s)", "local.c"),
        ),
    ),
    (
        "interiors",
        "solvers/sparse/fista.py",
        (
            (
                "jnp.where(largest > 0, jnp.finfo(w.dtype).eps * largest, 1)",
                "jnp.finfo(w.dtype).eps",
            ),
            ("largest, outside / steep", "steep, outside / largest"),
            ("steep = jnp.maximum(steep, jnp.max(jnp.abs(slope)))\n    ", ""),
            ("jax.grad(problem.loss)(problem.start, problem.args)", "0 * problem.start"),
            ("jnp.where(frozen.support.free, w, 0)", "w"),
            ("frozen, unravel(w),", "frozen, unravel(unknowns),"),
            ("stayed, count + 1", "stayed, count + 2"),
        ),
    ),
    (
        "interiors",
        "solvers/sparse/working_set.py",
        (
            ("take(self.low", "-take(self.high"),
            (" if self.bend is None else take(self.bend)", ""),
            ("(warm < 0) & jnp.isfinite(low)", "warm < 0"),
            (" & ~jnp.isnan(low) & ~jnp.isnan(high)", ""),
        ),
    ),
    ("interiors", "solvers/constrained/relaxed.py", (("(g < 0) & (lam > 0)", "lam > 0"),)),
    (
        "interiors",
        "solvers/constrained/_kkt_solver.py",
        (
            ("jnp.maximum(magnitude(dual), magnitude(residual)", "magnitude(dual"),
            (': end.total, "', ': end.updates, "'),
            ("warm = Warm(x,", "warm = Warm(end.x,"),
            (" / flat.units.x", ""),
        ),
    ),
    (
        "searches",
        "solvers/_renew.py",
        (
            (
                "return lax.while_loop(lambda state: state[1], once, (kept, where))[0]",
                "return once(kept)[0]",
            ),
        ),
    ),
    (
        "searches",
        "solvers/smooth/newton.py",
        (("last = short & (t == 1)", "last = short & (t == 0)"),),
    ),
    (
        "learners",
        "learners/_units.py",
        (
            ("mantissa_bits=0", "mantissa_bits=1"),
            ("lax.rsqrt(curvature)", "lax.rsqrt(2 * curvature)"),
        ),
    ),
)

MUTANTS = tuple(
    (f"bilevel/{file}", old, new, f"tests/bilevel/test_edges_of_{tests}.py")
    for tests, file, bugs in BUGS
    for old, new in bugs
)
