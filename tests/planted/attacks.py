"""Bugs to plant in `attacks`: (file, text, text with the bug, tests that must fail)."""

MUTANTS = (
    (
        "attacks/goals/_rows.py", "jnp.sum(weight * loss) / jnp.sum(weight)",
        "jnp.sum(weight * loss)", "tests/attacks/test_goals.py",
    ),
    (
        "attacks/capabilities/flip_labels.py", "boxed, soften(z, jnp.ones_like(z), total))",
        "boxed, soften(boxed, jnp.ones_like(z), total))", "tests/attacks/test_capabilities.py",
    ),
    (
        "attacks/capabilities/flip_labels.py", "boxed, soften(z, jnp.ones_like(z), total))",
        "boxed, boxed * total / jnp.sum(boxed))", "tests/attacks/test_capabilities.py",
    ),
    (
        "attacks/capabilities/reseed.py", "jnp.all(gradient == 0", "jnp.any(gradient == 0",
        "tests/attacks/test_capabilities.py",
    ),
    (
        "attacks/goals/targeted.py",
        "goal.kinks(model, world) for goal in (self.target, self.rest)",
        "goal.kinks(model, world) for goal in (self.rest,)", "tests/attacks/test_goals.py",
    ),
    (
        "attacks/domains/linf_ball.py", "self.radius * math.prod(self.centre.shape[1:]) ** 0.5",
        "self.radius", "tests/attacks/test_domains.py",
    ),
    (
        "attacks/goals/_rows.py", "jnp.sum(weight * loss) / jnp.sum(weight)",
        "jnp.mean(weight * loss)", "tests/attacks/test_goals.py",
    ),
    (
        "attacks/capabilities/insert_near.py", "self.model.decision(x) + self.radius",
        "self.model.decision(z.x) + self.radius", "tests/attacks/test_insert_near.py",
    ),
    (
        "attacks/goals/cancelling.py", "jnp.sum(data.weight) + penalty", "jnp.sum(data.weight)",
        "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/network_poisoning.py", "np.arange(slots) < index",
        "np.arange(slots) <= index", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/gradient_cancelling.py", "jnp.minimum(1, radius /",
        "jnp.minimum(1, 2 * radius /", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/capabilities/_capability.py", "rows = rows if weight is None else",
        "rows = rows if True else", "tests/attacks/test_recipes.py",
    ),
    (
        "attacks/recipes/gradient_cancelling.py", "goal = Cancelling(loss, l2)",
        "goal = Cancelling(loss)", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/gradient_descent_ascent.py",
        "(value, weights), gradient = jax.value_and_grad",
        "(value, _), gradient = jax.value_and_grad", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/network_poisoning.py",
        "goal = indiscriminate(validation.x, validation.y, learner.loss)",
        "goal = indiscriminate(train.x, train.y, learner.loss)",
        "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/network_poisoning.py", "labels[index : index + 1]).climb()",
        "labels[:1]).climb()", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/recipes/network_poisoning.py", "held = jnp.concatenate([done.x, start[index:]])",
        "held = start", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/goals/cancelling.py",
        "return jnp.sum(data.weight * losses) / jnp.sum(data.weight) + penalty",
        "return jnp.mean(losses) + penalty", "tests/attacks/test_network_poisoning.py",
    ),
    (
        "attacks/transfer.py",
        "return jnp.var(checked(values, codes))",
        "return jnp.var(checked(values, codes), ddof=1)",
        "tests/attacks/test_transfer.py",
    ),
    (
        "attacks/capabilities/insert_near.py",
        "return steepest(gradient, self.units(gradient), self.weight)",
        "return steepest(gradient, self.units(gradient))", "tests/attacks/test_insert_near.py",
    ),
    (
        "attacks/goals/penalised.py", "jnp.where(w == 0, jnp.inf, w)])", "w])",
        "tests/attacks/test_goals.py",
    ),
    (
        "attacks/recipes/regression_poisoning.py", "mean.dtype) @ root.T", "mean.dtype) @ root",
        "tests/benchmarks/experiments/test_regression_experiments.py",
    ),
    (
        "attacks/triggers/patch.py", "x * (1 - mask) + mask",
        "x + mask", "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/triggers/patch.py", "mask[-distance - row, -distance - column]",
        "mask[-distance - column, -distance + row]", "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/triggers/soft_patch.py", "soften(mask, jnp.ones_like(mask), area)",
        "soften(boxed, jnp.ones_like(mask), area)", "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/triggers/warp.py", "down[:, None] + moves[..., 0]",
        "down[:, None] - moves[..., 0]", "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/triggers/features.py", ".set(self.placed(pattern)",
        ".set(pattern[None]", "tests/attacks/test_triggers.py",
    ),
    (
        "attacks/capabilities/stamp.py", "(data.weight.dtype) * data.weight[self.rows]",
        "(data.weight.dtype)", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/capabilities/stamp.py", "return self.trigger.apply(z, x)",
        "return self.trigger.apply(self.trigger.like(x.dtype), x)", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/capabilities/stamp.py", " & (np.asarray(data.weight) > 0)",
        "", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/triggers/_trigger.py", "u * jnp.sign(g)",
        "u * g", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/label_maps.py", "return predicted.astype(y.dtype) != y",
        "return predicted.astype(y.dtype) == self.labels(y)", "tests/attacks/test_label_maps.py",
    ),
    (
        "attacks/label_maps.py", "changed if self.sources is None else changed & ",
        "changed if True else changed & ", "tests/attacks/test_label_maps.py",
    ),
    (
        "attacks/victims.py", "counted = right & labels.applies(test.y)",
        "counted = labels.applies(test.y)", "tests/attacks/test_victims.py",
    ),
    (
        "attacks/victims.py", "model.predict(shown)",
        "model.predict(test.x)", "tests/attacks/test_victims.py",
    ),
    (
        "attacks/victims.py", "for data in (world.train, attack.data)",
        "for data in (world.train, world.train)", "tests/attacks/test_victims.py",
    ),
    (
        "attacks/victims.py", "ddof=1",
        "ddof=0", "tests/attacks/test_victims.py",
    ),
    (
        "attacks/victims.py", "jnp.where(counted, test.weight, 0)",
        "jnp.where(counted, 1.0, 0)", "tests/attacks/test_victims.py",
    ),
    (
        "attacks/goals/backdoor.py", "shown(x_source, y_wanted, loss))",
        "goal.target)", "tests/attacks/test_stamp.py",
    ),
    (
        "attacks/goals/energy.py", "jnp.mean(s / (s + sigma), axis=1)",
        "jnp.sum(s / (s + sigma), axis=1)", "tests/attacks/test_sponge.py",
    ),
    (
        "attacks/sponge.py", "jnp.mean(jnp.where(chosen, each, 0))",
        "jnp.mean(each, where=chosen)", "tests/attacks/test_sponge.py",
    ),
    (
        "attacks/goals/colliding.py", "left.at[i].set(jnp.inf).at[:, j].set(jnp.inf)",
        "left.at[i].set(jnp.inf)", "tests/attacks/test_colliding.py",
    ),
    (
        "attacks/goals/colliding.py", "world.shown(self.x, key=key)", "self.x",
        "tests/attacks/test_colliding.py",
    ),
    (
        "attacks/capabilities/with_trigger.py", "x = self.reach.present(z, x, key=key)", "",
        "tests/attacks/test_colliding.py",
    ),
    (
        "attacks/goals/align.py", "world.shown(self.target.x, key=key)", "self.target.x",
        "tests/attacks/test_align.py",
    ),
    (
        "attacks/goals/align.py", "x = self.augment(key, x)", "self.augment(key, x)",
        "tests/attacks/test_align.py",
    ),
    (
        "attacks/goals/align.py", "jnp.where(square > 0, square, 1)", "square",
        "tests/attacks/test_align.py",
    ),
    (
        "attacks/goals/collide.py",
        "self.collision.distance(a, jnp.mean(b, axis=0))",
        "self.collision.distance(a, b[0])",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/collide.py",
        "return [jnp.mean(layer, axis=0) for layer in drawn]",
        "return [layer[0] for layer in drawn]",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/collide.py",
        "return -jnp.mean(jnp.stack(distances))",
        "return -distances[-1]",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/frogs.py",
        "jnp.mean(jnp.sum((here",
        "jnp.sum(jnp.sum((here",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/bullseye.py",
        "root / jnp.sqrt(jnp.sum(there**2))",
        "root / jnp.sum(there**2)",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/bullseye.py",
        "jnp.where(met, 1, square)",
        "square",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/polytope.py",
        "0 * one, jnp.inf * one",
        "0 * one, 0.5 * one",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/polytope.py",
        "result == CONVERGED, 0.5 * square",
        "result == CONVERGED, square",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/goals/resembling.py",
        "jnp.mean(jnp.sum(",
        "jnp.sum(jnp.sum(",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/domains/half_grey.py",
        "REACH = 0.499",
        "REACH = 0.502",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/domains/watermark.py",
        "(1 - share) * base + share",
        "base + share",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/domains/linf_ball.py",
        "jnp.sign(gradient) / math.prod(gradient.shape[1:]) ** 0.5",
        "jnp.sign(gradient) / gradient.shape[-1] ** 0.5",
        "tests/attacks/test_domains.py",
    ),
    (
        "attacks/recipes/collision.py",
        "if float(classes[0]) == float(label):",
        "if False:",
        "tests/attacks/test_collide.py",
    ),
    (
        "attacks/recipes/model_targeting.py",
        "each = gap - (new - old) +",
        "each = gap +",
        "tests/attacks/test_model_targeting.py",
    ),
    (
        "attacks/recipes/model_targeting.py",
        "losses(model, train) + old",
        "losses(model, train)",
        "tests/attacks/test_model_targeting.py",
    ),
    (
        "attacks/recipes/model_targeting.py",
        "jnp.where(pool.weight > 0, here - there, -jnp.inf)",
        "here - there",
        "tests/attacks/test_model_targeting.py",
    ),
    (
        "attacks/recipes/model_targeting.py",
        "ROUNDING = 1e3",
        "ROUNDING = 0.0",
        "tests/attacks/test_model_targeting.py",
    ),
    (
        "attacks/goals/disparity.py", "share=jnp.sum(weight, axis=0) / jnp.sum(weight),",
        "share=jnp.mean(inside.astype(f.dtype), axis=0),", "tests/attacks/test_fairness_goals.py",
    ),
    (
        "attacks/fairness/measures.py", "a * b / (a + b) ** 2", "a * b",
        "tests/attacks/test_fairness_goals.py",
    ),
    (
        "attacks/capabilities/_capability.py", "jnp.sum(weight != 0)", "jnp.sum(weight)",
        "tests/attacks/test_capabilities.py",
    ),
    (
        "attacks/capabilities/_capability.py", "jnp.sum(share * measured, axis=0, keepdims=True)",
        "jnp.mean(measured, axis=0, keepdims=True)", "tests/attacks/test_domains.py",
    ),
    (
        "attacks/domains/columns.py", "jnp.where(grouped, jnp.minimum(upper, 1), upper)", "upper",
        "tests/attacks/test_domains.py",
    ),
    (
        "attacks/goals/align.py", "world.poison.y, world.poison.weight)", "world.poison.y)",
        "tests/attacks/test_weights.py",
    ),
    (
        "attacks/recipes/anchoring.py", "near @ weight[rows]", "near.sum(axis=1)",
        "tests/attacks/test_weights.py",
    ),
    (
        "attacks/recipes/label_flips.py", "jnp.maximum(code, jnp.max(codes))",
        "jnp.maximum(code, codes[best])", "tests/test_failures.py",
    ),
    (
        "attacks/recipes/pruning_aware.py", "old - lower * bias", "old",
        "tests/defenses/test_repair.py",
    ),
    (
        "attacks/goals/combined.py", "[goal.kinks(model, world) for goal in self.goals]",
        "[goal.kinks(model, world) for goal in self.goals[:1]]",
        "tests/attacks/test_composite_goals.py",
    ),
    (
        "attacks/goals/combined.py", "for goal in self.goals:", "for goal in self.goals[:1]:",
        "tests/attacks/test_composite_goals.py",
    ),
    (
        "attacks/goals/combined.py", "goal.score(model, world, key=key) for",
        "goal.score(model, world) for", "tests/attacks/test_composite_goals.py",
    ),
    (
        "attacks/goals/targeted.py", "        self.rest.check(data)\n", "",
        "tests/attacks/test_composite_goals.py",
    ),
    (
        "attacks/_compose.py",
        "self.data, self.key)\n\n    def prepared", "self.data)\n\n    def prepared",
        "tests/attacks/test_leaves.py",
    ),
    (
        "attacks/_compose.py", "attack.goal, attack.data, attack.key)",
        "attack.goal, attack.data)", "tests/attacks/test_leaves.py",
    ),
    (
        "attacks/_compose.py", "self.data, key, self.memo)", "self.data, key)",
        "tests/attacks/test_leaves.py",
    ),
    (
        "attacks/fairness/protected.py", "np.full(max(columns) + 1, spacing)",
        "np.full(len(columns), spacing)", "tests/attacks/test_fairness.py",
    ),
    (
        "attacks/goals/cancelling.py", "jnp.sum(data.weight * losses) / jnp.sum(data.weight)",
        "jnp.mean(data.weight * losses)", "tests/attacks/test_weights.py",
    ),
    (
        "attacks/recipes/regression_poisoning.py", "share = train.weight / jnp.sum(train.weight)",
        "share = train.weight / train.rows", "tests/attacks/test_weights.py",
    ),
)  # fmt: skip
