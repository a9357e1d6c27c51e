"""Bugs of attacks that the fast tests did not see: what is refused, named and passed on."""

DOMAINS = "tests/attacks/test_edges_of_domains.py"
GOALS = "tests/attacks/test_edges_of_goals.py"
ROWS = "tests/attacks/test_edges_of_rows.py"

MUTANTS = (
    (
        "attacks/domains/box.py", 'require_shape(f"{name}.upper", self.upper, shape)',
        'require_shape(f"{name}.upper", self.lower, shape)', DOMAINS,
    ),
    (
        "attacks/domains/half_grey.py", "np.max(np.abs(levels - np.round(levels)), initial=0)",
        "np.max(levels - np.round(levels), initial=0)", DOMAINS,
    ),
    (
        "attacks/domains/_bounds.py", '(("lower", lower), ("upper", upper))', '(("lower", lower),)',
        DOMAINS,
    ),
    ("attacks/domains/_bounds.py", "at feature {where[-1]}", "at feature {where[0]}", DOMAINS),
    ("attacks/domains/_ball.py", "0 < float(radius) < np.inf", "0 < float(radius)", DOMAINS),
    (
        "attacks/domains/columns.py", "~np.isfinite(low) | ~np.isfinite(high)",
        "~np.isfinite(high)", DOMAINS,
    ),
    (
        "attacks/domains/columns.py", "np.isfinite(spacing) & (spacing >= 0)", "spacing >= 0",
        DOMAINS,
    ),
    ("attacks/domains/columns.py", "(low < high) & ~np.asarray(grouped)", "(low < high)", DOMAINS),
    ("attacks/domains/columns.py", "(ones == 1) | (optional & (ones == 0))", "ones == 1", DOMAINS),
    (
        "attacks/domains/columns.py", "np.all((lower == 0) | (lower == 1), axis=-1) & (", "(",
        DOMAINS,
    ),
    (
        "attacks/domains/columns.py", 'require_shape(f"{name}.upper", self.upper, shape)',
        'require_shape(f"{name}.upper", self.lower, shape)', DOMAINS,
    ),
    (
        "attacks/domains/columns.py", 'require_shape(f"{name}.spacing", self.spacing, shape[-1:])',
        'require_shape(f"{name}.spacing", self.spacing, self.spacing.shape)', DOMAINS,
    ),
    (
        "attacks/domains/columns.py", "if not 0 <= c < rows.shape[-1]]",
        "if not c < rows.shape[-1]]", DOMAINS,
    ),
    (
        "attacks/domains/columns.py",
        "jnp.where(real[(None,) * (z.ndim - 1)], z[..., index], -jnp.inf)", "z[..., index]",
        DOMAINS,
    ),
    (
        "attacks/domains/columns.py", "jnp.where(level > needed[", "jnp.where(level >= needed[",
        DOMAINS,
    ),
    ("attacks/triggers/_trigger.py", "    domain.check(row.shape)\n", "", DOMAINS),
    (
        "attacks/triggers/_trigger.py", "if not (low >= 0 and high <= 1):", "if not high <= 1:",
        DOMAINS,
    ),
    (
        "attacks/triggers/patch.py", "if need > min(shape[:2]):", "if need > max(shape[:2]):",
        DOMAINS,
    ),
    ("attacks/triggers/soft_patch.py", '0 < area < float("inf")', "0 < area", DOMAINS),
    (
        "attacks/triggers/soft_patch.py", "most = jnp.max(jnp.abs(gradient.mask))",
        "most = jnp.max(gradient.mask)", DOMAINS,
    ),
    (
        "attacks/triggers/soft_patch.py", "require_inside(picture, self.domain)",
        "require_inside(jnp.clip(picture, 0, 1), self.domain)", DOMAINS,
    ),
    ("attacks/triggers/warp.py", " or shape[0] < 2:", ":", DOMAINS),
    ("attacks/triggers/warp.py", " or shape[2] != 2", "", DOMAINS),
    ("attacks/triggers/added.py", "require_inside(self.pattern, self.domain)", "pass", DOMAINS),
    (
        "attacks/capabilities/_capability.py",
        "np.max(np.abs(np.asarray(leaf) - np.asarray(near)))",
        "np.max(np.asarray(leaf) - np.asarray(near))", DOMAINS,
    ),
    (
        "attacks/capabilities/_capability.py", "max(1.0, float(np.max(np.abs(np.asarray(leaf)))))",
        "max(1.0, float(np.max(np.asarray(leaf))))", DOMAINS,
    ),
    ("attacks/capabilities/_capability.py", "require_finite(weight=weight)", "pass", DOMAINS),
    (
        "attacks/capabilities/_capability.py", "jnp.result_type(leaf) != wanted.dtype", "False",
        DOMAINS,
    ),
    ("attacks/capabilities/_capability.py", "values[times > 1][0]", "values[0]", DOMAINS),
    ("attacks/capabilities/flip_labels.py", "labels[np.abs(labels) != 1][0]", "labels[0]", DOMAINS),
    ("attacks/capabilities/flip_labels.py", "isinstance(budget, bool) or ", "", DOMAINS),
    ("attacks/capabilities/insert_xy.py", "isinstance(rows, bool) or ", "", DOMAINS),
    (
        "attacks/capabilities/insert_xy.py", "XY(self.domain.units(z.x), self.targets.units(z.y))",
        "XY(self.domain.units(z.x), jnp.ones_like(z.y))", DOMAINS,
    ),
    (
        "attacks/capabilities/insert_xy.py",
        "return steepest(gradient, self.units(gradient), self.weight)",
        "return steepest(gradient, self.units(gradient))", DOMAINS,
    ),
    ("attacks/capabilities/evade.py", "self.domain.check(self.x.shape)", "pass", DOMAINS),
    ("attacks/capabilities/evade.py", "return self.project(self.x)", "return self.x", DOMAINS),
    (
        "attacks/capabilities/evade.py",
        'require_shapes("z", z, jax.ShapeDtypeStruct(x.shape, x.dtype))', "pass", DOMAINS,
    ),
    (
        "attacks/capabilities/perturb.py", "return self.project(data.x[self.rows])",
        "return data.x[self.rows]", DOMAINS,
    ),
    (
        "attacks/capabilities/stamp.py", "round(share * data.rows)", "int(share * data.rows)",
        DOMAINS,
    ),
    (
        "attacks/capabilities/stamp.py", "return self.trigger.units(z)", "return super().units(z)",
        DOMAINS,
    ),
    (
        "attacks/capabilities/with_trigger.py", "return self.reach.units(z)",
        "return super().units(z)", DOMAINS,
    ),
    (
        "attacks/capabilities/with_trigger.py", "return self.reach.scale(z, data)",
        "return super().scale(z, data)", DOMAINS,
    ),
    (
        "attacks/capabilities/with_trigger.py", "return self.reach.direction(gradient)",
        "return super().direction(gradient)", DOMAINS,
    ),
    (
        "attacks/goals/_goal.py", "expected {data.x.shape[1:]}, as in",
        "expected {x.shape[1:]}, as in", GOALS,
    ),
    ("attacks/goals/_rows.py", "not jnp.issubdtype(loss.dtype, jnp.floating)", "False", GOALS),
    ("attacks/goals/cancelling.py", 'check_labels(data.y, "y")', "pass", GOALS),
    ("attacks/goals/cancelling.py", "self.l2, key)", "self.l2)", GOALS),
    (
        "attacks/goals/collide.py", "there = _features(model, world.shown(self.x), self",
        "there = _features(model, self.x, self", GOALS,
    ),
    ("attacks/goals/colliding.py", "world.poison.rows > self", "world.poison.rows >= self", GOALS),
    (
        "attacks/goals/disparity.py", "0 < float(temperature) < np.inf", "0 < float(temperature)",
        GOALS,
    ),
    ("attacks/goals/disparity.py", "if not 0 <= g < number]", "if not g < number]", GOALS),
    ("attacks/goals/resembling.py", "require_finite(x=self.x)", "pass", GOALS),
    (
        "attacks/goals/unit.py", "if not 0 <= self.index <", "if not self.index <",
        "tests/attacks/test_unit.py",
    ),
    ("attacks/fairness/_groups.py", "row {missing[0]}; drop", "row {missing[-1]}; drop", ROWS),
    (
        "attacks/fairness/_groups.py", " in row {wrong[0]}, expected",
        " in row {wrong[-1]}, expected", ROWS,
    ),
    (
        "attacks/fairness/_groups.py", "no row is of group {empty[0]}",
        "no row is of group {empty[-1]}", ROWS,
    ),
    ("attacks/fairness/_groups.py", " or array.dtype == bool", "", ROWS),
    (
        "attacks/fairness/_groups.py",
        'found.setdefault("rows", f"group {g} has a single row: its rates are 0 or 1")',
        'found["rows"] = f"group {g} has a single row: its rates are 0 or 1"', ROWS,
    ),
    (
        "attacks/fairness/report.py",
        "np.all(np.isin(found, (-1, 1))) or np.all(np.isin(found, (0, 1)))",
        "np.all(np.isin(found, (-1, 0, 1)))", ROWS,
    ),
    (
        "attacks/fairness/report.py", "notes=tuple(scarce(groups, positive).values())",
        "notes=tuple(scarce(groups, selected).values())", ROWS,
    ),
    (
        "attacks/fairness/report.py", "{self.selection_rates[g]:.3f}, false neg",
        "{self.accuracies[g]:.3f}, false neg", ROWS,
    ),
    ("attacks/_frame_kinds.py", "np.abs(part[:, 0]) <= NEAR", "part[:, 0] <= NEAR", ROWS),
    ("attacks/_frame_kinds.py", "hot | (np.abs(part) <= NEAR)", "hot | (part <= NEAR)", ROWS),
    ("attacks/_frame_kinds.py", "axis=1) & (ones <= 1)", "axis=1)", ROWS),
    ("attacks/_frame_kinds.py", "& (whole >= 0) &", "&", ROWS),
    ("attacks/_frame_kinds.py", "& (whole < len(self.values))", "", ROWS),
    ("attacks/_frame_kinds.py", "(np.abs(codes - whole) <= NEAR)", "(codes - whole <= NEAR)", ROWS),
    ("attacks/_frame_kinds.py", "np.abs(values) > LARGEST", "values > LARGEST", ROWS),
    (
        "attacks/_frame_kinds.py", '_require(column.to_numpy(float) == values, name, f"does not',
        '_require(column.to_numpy(float) >= values, name, f"does not', ROWS,
    ),
    (
        "attacks/_frame_kinds.py", "        _require_present(series)\n        other = ",
        "        other = ", ROWS,
    ),
    ("attacks/_frame_kinds.py", "{missing[0]}; impute", "{missing[-1]}; impute", ROWS),
    ("attacks/frames.py", " or y.shape != x.shape[:1]:", ":", ROWS),
    ("attacks/frames.py", " and np.all(np.isfinite(y))", "", ROWS),
    (
        "attacks/frames.py", "first = sum(map(len, features.values()))", "first = len(features)",
        ROWS,
    ),
    (
        "attacks/label_maps.py", "    def named(self):\n        return self.given\n",
        "    def unnamed(self):\n        return self.given\n", ROWS,
    ),
    (
        "attacks/victims.py", "return max(0.0, float(each.mean() - half)), min(1.0",
        "return float(each.mean() - half), min(1.0", ROWS,
    ),
    ("attacks/victims.py", "jnp.sum(weight > 0).astype", "jnp.sum(counted).astype", ROWS),
    (
        "attacks/transfer.py", "sizes(jax.grad(attack)(z), order)", "sizes(jax.grad(attack)(z))",
        ROWS,
    ),
    (
        "attacks/transfer.py", "jax.grad(total)(x), order, axis=1)", "jax.grad(total)(x), axis=1)",
        ROWS,
    ),
    ("attacks/transfer.py", "or leaves[0].ndim == 0:", ":", ROWS),
    (
        "attacks/recipes/label_flips.py",
        "scores = jnp.where(jnp.isnan(scores), jnp.finfo(scores.dtype).min, scores)",
        "scores = jnp.where(jnp.isnan(scores), -jnp.inf, scores)", ROWS,
    ),
    (
        "attacks/recipes/_planted.py", '(favoured, "-1", self.refused))',
        '(favoured, "-1", self.accepted))', ROWS,
    ),
    ("attacks/recipes/anchoring.py", "if not radius >= 0:", "if radius < 0:", ROWS),
    ("attacks/recipes/anchoring.py", "shape, dtype, -1.0, 1.0)", "shape, dtype, 0.0, 1.0)", ROWS),
    ("attacks/recipes/feature_selection.py", "0 <= int(j) < features", "int(j) < features", ROWS),
    (
        "attacks/recipes/regression_poisoning.py", "b_flip(jnp.clip(model.decision(x), 0, 1))",
        "b_flip(model.decision(x))", ROWS,
    ),
    ("attacks/recipes/regression_poisoning.py", "+ 0.01 * jnp.eye", "+ 0.1 * jnp.eye", ROWS),
    (
        "attacks/recipes/gradient_cancelling.py", "(10 * jnp.maximum(norm(slope), 1e-30))",
        "(jnp.maximum(norm(slope), 1e-30))", ROWS,
    ),
    (
        "attacks/recipes/gradient_cancelling.py", "radius = size * norm(moving)",
        "radius = size * 1.0", ROWS,
    ),
    (
        "attacks/recipes/_recipe.py", "record=record, reseed=reseed, state=state, key=key",
        "record=record, reseed=reseed, state=state", ROWS,
    ),
    (
        "attacks/recipes/gradient_descent_ascent.py", 'require_count("steps", steps)', "steps",
        "tests/attacks/test_edges_of_attacks.py",
    ),
    (
        "attacks/recipes/feature_selection.py", "if not 1 <= count <= weights.size:",
        "if not count <= weights.size:", ROWS,
    ),
    (
        "attacks/recipes/feature_selection.py", "if not 0 < k < features:", "if not k < features:",
        ROWS,
    ),
    ("attacks/recipes/group_flips.py", "if not 0 <= share <= 1:", "if not share <= 1:", ROWS),
    (
        "attacks/capabilities/perturb.py",
        "self.domain.direction(steepest(gradient, self.units(gradient)), gradient)",
        "steepest(gradient, self.units(gradient))", DOMAINS,
    ),
    (
        "attacks/capabilities/evade.py",
        "self.domain.direction(steepest(gradient, self.units(gradient)), gradient)",
        "steepest(gradient, self.units(gradient))", DOMAINS,
    ),
    (
        "attacks/domains/columns.py", "return widths(*self._box(z), z)",
        "return widths(self.lower, self.upper, z)", DOMAINS,
    ),
    (
        "attacks/domains/columns.py", "self.spacing, self.groups, self.optional)",
        "self.spacing, self.groups)", DOMAINS,
    ),
    ("attacks/recipes/collision.py", "collision, layers, draws)", "collision, layers)", ROWS),
    ("attacks/recipes/collision.py", "goal, train, key=key)", "goal, train)", ROWS),
    (
        "attacks/recipes/collision.py", "compose(Fixed(network), reach",
        "compose(Fixed(networks[0]), reach", ROWS,
    ),
    (
        "attacks/recipes/collision.py", "made.start, ascent, steps) if len",
        "made.start, ascent, made.steps + 1) if len", ROWS,
    ),
    ("attacks/domains/columns.py", "(optional & (ones == 0))", "(ones == 0)", DOMAINS),
    ("attacks/domains/columns.py", "(ones == 1) | (", "(ones >= 1) | (", DOMAINS),
    (
        "attacks/capabilities/_capability.py", "if len(wanted.shape) == 2 else",
        "if len(wanted.shape) > 2 else", DOMAINS,
    ),
    (
        "attacks/fairness/report.py", "false negatives {self.false_negative_rates[g]",
        "false negatives {self.false_positive_rates[g]", ROWS,
    ),
    (
        "attacks/fairness/_groups.py", 'found.setdefault("positives"',
        'found.__setitem__("positives"', ROWS,
    ),
    (
        "attacks/recipes/_recipe.py", "record=record, reseed=reseed, state=state",
        "record=record, reseed=None, state=state", ROWS,
    ),
)  # fmt: skip
