"""Bugs to plant in `bilevel`: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "bilevel/learners/fair_logistic.py", "groups - (share @ groups)[None, :]",
        "groups - jnp.mean(groups, axis=0)[None, :]", "tests/bilevel/test_fair_logistic.py",
    ),
    (
        "bilevel/learners/kernels.py", "weight @ x / jnp", "0 * weight @ x / jnp",
        "tests/bilevel/test_real_tables.py",
    ),
    (
        "bilevel/learners/_units.py", "bias - self.origin @ w", "bias",
        "tests/bilevel/test_real_tables.py",
    ),
    (
        "bilevel/problems/product.py", "jnp.sum(self.factor * self.factor, axis=1)",
        "jnp.sum(self.factor, axis=1)", "tests/bilevel/test_real_tables.py",
    ),
    (
        "bilevel/solvers/qp/active_set.py", "interval = (frozen.gamma <= 0)",
        "interval = (frozen.gamma < 0)", "tests/bilevel/test_real_tables.py",
    ),
    (
        "bilevel/derivatives/implicit.py", "        -rhs,", "        rhs,",
        "tests/bilevel/test_smooth.py",
    ),
    (
        "bilevel/solvers/smooth/newton.py", "definite = jnp.isfinite(chol[0, 0])",
        "definite = jnp.isfinite(chol[0, 0]) | True", "tests/test_hostile.py",
    ),
    (
        "bilevel/learners/_checks.py", "jnp.all(weight >= 0) & jnp.any(weight > 0)",
        "jnp.any(weight > 0)", "tests/test_hostile.py",
    ),
    (
        "bilevel/solvers/path/descent.py", 'root(inputs[0]) if name == "sqrt" else inputs',
        "inputs", "tests/bilevel/test_hostile_paths.py",
    ),
    (
        "bilevel/_certify.py", "jnp.where(degenerate | ~solved, jnp.inf, bound)",
        "jnp.where(degenerate | ~solved, jnp.inf, bound / 100)",
        "tests/benchmarks/experiments/test_certificate_fuzz.py",
    ),
    (
        "bilevel/_certify.py", "zero=solved & (norm(gradient) <= bound)",
        "zero=solved & (norm(gradient) == 0)", "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify.py", "zero=solved & (norm(gradient) <= bound)",
        "zero=norm(gradient) <= bound", "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify.py", "kink_margin=jnp.min(jnp.abs(kinks),", "kink_margin=jnp.min(kinks,",
        "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify.py", "_norm_by_power(matvec, r) * _norm_by_power(back, r)",
        "_norm_by_power(matvec, r)", "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify.py", "sampled + eps * size", "eps * size",
        "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify_path.py", "exact_size) <= SAFETY * rounding)", "exact_size) <= bound)",
        "tests/bilevel/test_certificate_path.py",
    ),
    (
        "bilevel/_certify_path.py", "rounding = jnp.max(moved) + eps", "rounding = eps",
        "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/penalties/box.py", "jnp.where(face > 0, -slope, slope)", "slope",
        "tests/bilevel/test_proximal.py",
    ),
    (
        "bilevel/penalties/box.py", "jnp.minimum(w - self.lower, self.upper - w)",
        "w - self.lower", "tests/bilevel/test_proximal.py",
    ),
    (
        "bilevel/stochastic/stocbio.py", "rows(jax.random.fold_in(series_key, index))",
        "rows(series_key)", "tests/bilevel/test_stochastic.py",
    ),
    (
        "bilevel/stochastic/amigo.py", "v, rows(key)), outer_w)",
        "v, rows(adjoint_key)), outer_w)", "tests/bilevel/test_stochastic.py",
    ),
    (
        "bilevel/stochastic/_method.py", "direction(here, jax.random.fold_in(key, index))",
        "direction(here, key)", "tests/bilevel/test_stochastic.py",
    ),
    (
        "bilevel/solvers/constrained/interior_point.py", "lam >= -force", "lam >= force",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/solvers/constrained/interior_point.py", "g > length", "g > -length",
        "tests/bilevel/test_constrained_edges.py",
    ),
    (
        "bilevel/adapters/_foreign.py", "jnp.where(converged, CONVERGED, MAX_STEPS)",
        "jnp.int32(CONVERGED)", "tests/bilevel/test_adapters.py",
    ),
    (
        "bilevel/adapters/jaxopt.py", "state.error <= solver.tol", "jnp.bool_(True)",
        "tests/bilevel/test_adapters.py",
    ),
    (
        "bilevel/adapters/optimistix.py", "solution.result == optimistix.RESULTS.successful",
        "jnp.bool_(True)", "tests/bilevel/test_adapters.py",
    ),
    ("bilevel/_ascent.py", "max(over - 1, 1)", "max(over, 1)", "tests/bilevel/test_maximize.py"),
    (
        "bilevel/_maximize.py", "best_gradient, best_warm, optimizer.init(s.z)),",
        "best_gradient, best_warm, s.optimizer),", "tests/bilevel/test_maximize.py",
    ),
    (
        "bilevel/_maximize.py", "evaluated(s.z, s.warm, s.total)",
        "evaluated(s.z, s.warm, s.step)", "tests/bilevel/test_draws.py",
    ),
    (
        "bilevel/_members.py", "Info(jnp.max(info.result)", "Info(jnp.min(info.result)",
        "tests/bilevel/test_draws.py",
    ),
    (
        "bilevel/learners/huber.py", "self.delta, self.l2_bias, positive=2)",
        "self.delta, self.l2_bias)", "tests/bilevel/test_huber.py",
    ),
    (
        "bilevel/learners/kernels.py", "jnp.log(jnp.where(base == 0, 1, jnp.abs(base)))",
        "jnp.log(jnp.abs(base))", "tests/bilevel/test_svm.py",
    ),
    (
        "bilevel/learners/svm.py", "self.C * jnp.sum(data.weight)", "self.C * data.rows",
        "tests/bilevel/test_logistic.py",
    ),
    (
        "bilevel/_certify_path.py", "jnp.sqrt(n * jnp.mean((directions",
        "jnp.sqrt(jnp.mean((directions", "tests/bilevel/test_certificate_path.py",
    ),
    (
        "bilevel/stochastic/f2sa.py", "walk(penalised, y, rates.adjoint",
        "walk(penalised, y, rates.inner", "tests/bilevel/test_stochastic_rates.py",
    ),
    (
        "bilevel/study/_method.py", "size = float(norm(b))", "size = float(norm(a))",
        "tests/bilevel/test_study.py",
    ),
    (
        "bilevel/solvers/path/_path.py", "jnp.int32(self.steps - 1)", "jnp.int32(self.steps)",
        "tests/bilevel/test_hostile_paths.py",
    ),
    (
        "bilevel/penalties/non_negative.py", 'require_strength("strength", self.strength)', "pass",
        "tests/bilevel/test_proximal.py",
    ),
    (
        "bilevel/learners/network.py", "scale = data.rows / jnp.sum(data.weight)",
        "scale = jnp.ones_like(data.weight[0])", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/learners/network.py", "lambda key: jax.random.permutation(key, rows)",
        "lambda _: jax.random.permutation(key, rows)", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/learners/network.py", "not changed and not self._draws(data)",
        "not changed", "tests/bilevel/test_module_adapters.py",
    ),
    (
        "bilevel/networks/_convolution.py", "kernel = _padded(kernel, axis, wide - size)",
        "kernel = _padded(kernel, 0, wide - size)", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/_certify_path.py", "error_bound=jnp.where(solved, bound, jnp.inf),",
        "error_bound=bound,", "tests/bilevel/test_certificate_path.py",
    ),
    (
        "bilevel/_certify_path.py",
        "zero=solved & (jnp.maximum(norm(gradient), exact_size) <= SAFETY * rounding)",
        "zero=solved & (norm(gradient) <= SAFETY * rounding)",
        "tests/bilevel/test_certificate_path.py",
    ),
    (
        "bilevel/_checkpoint.py",
        "saved.dtype != dtype or saved.shape[1:] != wanted.shape[1:] or saved.ndim != wanted.ndim",
        "saved.dtype != dtype or saved.ndim != wanted.ndim", "tests/bilevel/test_checkpoint.py",
    ),
    (
        "bilevel/linear/damped.py", "if not self.shift > 0:", "if self.shift < 0:",
        "tests/bilevel/test_linear.py",
    ),
    (
        "bilevel/learners/network.py", "return passes * (rows // self._size(rows))",
        "return passes * -(-rows // self._size(rows))", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/learners/network.py", "scale = data.rows / jnp.sum(data.weight)",
        "scale = data.rows / jnp.sum(data.weight > 0)", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/learners/on_features.py",
        "        x = _floating(self.model.features(data.x))\n        return Data(x, data.y,"
        " data.weight.astype(x.dtype))",
        "        x = self.model.features(data.x)\n        return Data(x, data.y, data.weigh"
        "t.astype(x.dtype))", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/learners/_ensemble.py", "    learner.check(data)\n    return", "    return",
        "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/linear/neumann.py", "lax.fori_loop(1, self.terms, body",
        "lax.fori_loop(0, self.terms, body", "tests/bilevel/test_linear.py",
    ),
    (
        "bilevel/stochastic/amigo.py",
        "outer_z, outer_w = outer_gradients(problem.outer, z, w, outer_rows)",
        "outer_z, outer_w = outer_gradients(problem.outer, z, at.inner, outer_rows)",
        "tests/bilevel/test_stochastic_rates.py",
    ),
    (
        "bilevel/stochastic/_loop.py", "weight = (TAIL + 1) / (count + TAIL).astype(z.dtype)",
        "weight = (TAIL + 1) / (state.step + TAIL).astype(z.dtype)",
        "tests/bilevel/test_stochastic_runs.py",
    ),
    (
        "bilevel/study/check.py", "moved, converged and moved <= tol, message)",
        "moved, moved <= tol, message)", "tests/bilevel/test_study.py",
    ),
    (
        "bilevel/study/lag.py",
        "name, count, relative(solution, exact), relative(gradient, certificate.gradient)",
        "name, count, relative(exact, solution), relative(certificate.gradient, gradient)",
        "tests/bilevel/test_study.py",
    ),
    (
        "bilevel/adapters/equinox.py",
        "made = jax.vmap(lambda row, key: module(row, key=key))(x, keys)",
        "made = jax.vmap(lambda row: module(row, key=keys[0]))(x)",
        "tests/bilevel/test_module_adapters.py",
    ),
    (
        "bilevel/networks/_layers.py",
        "    parts = x.reshape(n, h, w, groups, c // groups)\n    parts = parts - parts.mea"
        "n((1, 2, 4), keepdims=True)\n    variance = jnp.mean(parts**2, (1, 2, 4), keepdims"
        "=True)",
        "    parts = x.reshape(n, h, w, c // groups, groups)\n    parts = parts - parts.mea"
        "n((1, 2, 3), keepdims=True)\n    variance = jnp.mean(parts**2, (1, 2, 3), keepdims"
        "=True)", "tests/bilevel/test_network.py",
    ),
    (
        "bilevel/_certify.py",
        "gradient = jax.tree.map(lambda b: b[0], both)",
        "gradient = jax.tree.map(\n        lambda d, b: d + b[0],\n        direct,"
        " jax.vmap(pull_parts)((0 * ones, corrected, zero))[1],\n    )",
        "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/solvers/qp/_shrinking.py", "slope < 0) | ~", "slope > 0) | ~",
        "tests/bilevel/test_shrinking.py",
    ),
    (
        "bilevel/solvers/qp/_shrinking.py", "qp.q[index] + factor[index] @ (held @ factor)",
        "qp.q[index]", "tests/bilevel/test_shrinking.py",
    ),
    (
        "bilevel/solvers/qp/active_set.py", "goes_on &= small | full", "goes_on &= small",
        "tests/bilevel/test_svm.py",
    ),
    (
        "bilevel/_sweep/sweep.py", ' and "cells" in outcome',
        "", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/sweep.py", "tuple(swept[key] for key in items)",
        "tuple(swept.values())", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/sweep.py", "            future.cancel()",
        "            future.done()", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/sweep.py", "if deaths[key] < DEATHS",
        "if deaths[key] <= DEATHS", "tests/bilevel/test_sweep_input.py",
    ),
    (
        "bilevel/_sweep/_code.py", "bool(jax.config.jax_enable_x64)",
        "True", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/_perform.py", "jax.enable_x64(x64)",
        "jax.enable_x64(True)", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/_settings.py", '{"path": value.as_posix()}',
        "value.as_posix()", "tests/bilevel/test_sweep_input.py",
    ),
    (
        "bilevel/_sweep/_cells.py", 'array.astype(array.dtype.newbyteorder("<"))',
        "array", "tests/bilevel/test_sweep.py",
    ),
    (
        "bilevel/_sweep/_store.py", 'part = self.path / f"{name}.part"',
        "part = self.path / name", "tests/bilevel/test_sweep_input.py",
    ),
    (
        "bilevel/_sweep/_store.py", "if there is not None and kept:",
        "if there is None:", "tests/bilevel/test_sweep_input.py",
    ),
    (
        "bilevel/_sweep/_processes.py", "            del self._workers[thread]\n",
        "", "tests/bilevel/test_sweep_kills.py",
    ),
    (
        "bilevel/solvers/sparse/fista.py", "if not penalty.separable or w.size > MEASURED:",
        "if w.size > 0:", "tests/bilevel/test_proximal_units.py",
    ),
    (
        "bilevel/_data.py", "device_put(a.copy())", "device_put(a)",
        "tests/bilevel/test_hostile_functions.py",
    ),
    (
        "bilevel/learners/kernels.py", "return jnp.inner(a, b)", "return a @ b.T",
        "tests/bilevel/test_svm.py",
    ),
    (
        "bilevel/learners/_units.py", "    x, share, l2 = lax.stop_gradient((x, share, l2))\n",
        "", "tests/bilevel/test_memory.py",
    ),
    (
        "bilevel/learners/network.py", "self.augment is not None or self.activity is not None",
        "self.augment is not None", "tests/attacks/test_sponge.py",
    ),
    (
        "bilevel/solvers/_moments.py", "total = _of_rows(x[-left:]", "total = _of_rows(x[:left]",
        "tests/bilevel/test_moments.py",
    ),
    (
        "bilevel/_members.py", "return objective if key is None else objective.keyed(key)",
        "return objective", "tests/attacks/test_align.py",
    ),
    (
        "bilevel/losses.py", "jnp.maximum(self._behind(y, f)[0], -self.margin)",
        "self._behind(y, f)[0]", "tests/bilevel/test_carlini_wagner.py",
    ),
    (
        "bilevel/_together.py",
        "return jnp.mean(jnp.stack(values)), (warm, whole)",
        "return jnp.sum(jnp.stack(values)), (warm, whole)",
        "tests/attacks/test_collide.py",
    ),
    (
        "bilevel/_together.py",
        "p.keyed(k) for p, k",
        "p for p, k",
        "tests/attacks/test_collide.py",
    ),
    (
        "bilevel/solvers/smooth/anderson.py", "w = unravel(end.best)", "w = unravel(end.w)",
        "tests/bilevel/test_fixed_point.py",
    ),
    (
        "bilevel/solvers/path/projected_gradient.py", "jnp.max(jnp.sum(jnp.abs(Q), axis=1))",
        "jnp.max(jnp.sum(Q, axis=1))", "tests/bilevel/test_projected_gradient.py",
    ),
    (
        "bilevel/solvers/sparse/working_set.py", "(weights @ problem.rows**2) * (weights @",
        "jnp.mean(problem.rows**2, axis=0) * (weights @", "tests/bilevel/test_lasso.py",
    ),
    (
        "bilevel/learners/softmax.py", "(data.y < self.classes)", "(data.y <= self.classes)",
        "tests/test_hostile.py",
    ),
    (
        "bilevel/derivatives/truncated.py", "first = solver.steps - self.last", "first = 0",
        "tests/bilevel/test_hostile_paths.py",
    ),
    (
        "bilevel/_certify.py", "jnp.minimum(*reach)", "reach[0]",
        "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_certify.py", "worst(posed.result, point.result, finished)",
        "worst(posed.result, point.result)", "tests/bilevel/test_certificate_fields.py",
    ),
    (
        "bilevel/_hosts.py", "zlib.crc32(array.tobytes(), digest)", "zlib.crc32(array.tobytes())",
        "tests/bilevel/test_batch.py",
    ),
    (
        "bilevel/_checkpoint.py", " or saved.ndim != wanted.ndim", "",
        "tests/bilevel/test_checkpoint.py",
    ),
    (
        "bilevel/study/_method.py", "else float(norm(a) > 0)", "else 0.0",
        "tests/bilevel/test_study.py",
    ),
    ("bilevel/_together.py", "in infos))", "in infos[:1]))", "tests/test_failures.py"),
)  # fmt: skip
