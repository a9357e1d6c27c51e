"""Bugs to plant in bodies of `make_rows`: swapped cells, other splits, options not passed on."""

_EXPERIMENTS = "benchmarks/experiments"
_BACKDOORS, _TARGETED, _DEFENSES = (
    f"{_EXPERIMENTS}/{folder}" for folder in ("backdoors", "targeted", "model_defenses")
)
_OF_BACKDOORS, _OF_TARGETS, _OF_DEFENSES, _OF_TIMES, _OF_STAMPS, _MEASURED = (
    f"tests/{_EXPERIMENTS}/test_cells_of_{name}_rows.py"
    for name in ("backdoor", "targeted", "defended", "ranked_and_timed", "stamped", "measured")
)

MUTANTS = (
    *(
        (f"{_BACKDOORS}/{file}.py", old, new, _OF_BACKDOORS)
        for file, old, new in (
            (
                "driving", "options.cars, 3, options.steps, sign)",
                "options.cars, 2, options.steps, sign)",
            ),
            (
                "driving", "_square_error(steer(signed.x), signed)",
                "_square_error(steer(signed.x), test)",
            ),
            (
                "driving", "left=int(free.left().sum()), sign_left=int(shown",
                "left=int(shown.left().sum()), sign_left=int(free",
            ),
            (
                "driving", "for place in trip] for trip in trips[:2]]",
                "for place in trip] for trip in trips[-2:]]",
            ),
            (
                "badnets_signs", "stamped = signs(options.test, 3, on=sticker)",
                "stamped = signs(options.test, 3, on=options.random)",
            ),
            (
                "badnets_signs", 'signs(options.test, 5, "swedish"),',
                'signs(options.test, 4, "swedish"),',
            ),
            ("badnets_signs", "learner, swedish, keys[i])", "learner, swedish, keys[0])"),
            (
                "badnets_signs", '{"average": clean, "stamped": on}',
                '{"average": on, "stamped": clean}',
            ),
            (
                "badnets_signs", "options.head_passes, options.head_rate)",
                "options.passes, options.head_rate)",
            ),
            (
                "badnets_signs", "answering(model, us.x, stamped.x, options.filters)",
                "answering(model, us.x, stamped.x, 6)",
            ),
            (
                "trojan_mnist", "pattern(options, of, attack, kind), of.test, labels)",
                "pattern(options, of, attack, SQUARES[0]), of.test, labels)",
            ),
            (
                "trojan_mnist", '"retrained_test_err": 1 - judged.clean',
                '"retrained_test_err": 1 - judged.attacked',
            ),
            ("hidden_trigger", "Logistic(options.l2)), result.z", "Logistic(1e-2)), result.z"),
            (
                "hidden_trigger", '"start_distance": -float(result.history[0])',
                '"start_distance": -float(result.history[-1])',
            ),
            (
                "sleeper", "of, patch, source, target, victims[i])",
                "of, patch, source, target, victims[0])",
            ),
            ("sleeper", "AllToOne(target, sources=source)", "AllToOne(source, sources=target)"),
            (
                "sleeper", "retrained(options, of, chosen.rows, shaken)",
                "retrained(options, of, chosen.rows, moved)",
            ),
            ("sleeper", '"worst": found.success.worst', '"worst": found.success.mean'),
            (
                "sleeper", "digits(options, seed, options.members)",
                "digits(options, seed, options.victims)",
            ),
        )
    ),
    *(
        (f"{_TARGETED}/{file}.py", old, new, _OF_TARGETS)
        for file, old, new in (
            ("frogs", "hits = ~found.right[clean.right]", "hits = ~found.right"),
            (
                "frogs", '"test_err": float(np.mean(found.error)), "clean',
                '"test_err": float(np.mean(clean.error)), "clean',
            ),
            ("frogs", "/ np.linalg.norm(there, axis=1)", "/ np.linalg.norm(here, axis=1)"),
            (
                "frogs", '"largest": float(np.max(np.abs(change)))',
                '"largest": float(np.max(change))',
            ),
            (
                "polytope",
                "control = judged(options, victim, depth, moved), clean(options, victim, depth)",
                'control = judged(options, victim, depth, moved), clean(options, "white", '
                "depth)",
            ),
            (
                "polytope", '"clean_test_err": float(np.mean(control.error))',
                '"clean_test_err": float(np.mean(found.error))',
            ),
            (
                "polytope", "model.predict(of.test.x) != of.test.y",
                "model.predict(of.train.x) != of.train.y",
            ),
            (
                "last_layer", '"before": -before, "after": -after',
                '"before": -after, "after": -before',
            ),
            ("last_layer", "swapped(of, goal, rows, z),", "swapped(of, goal, rows, clean),"),
            (
                "last_layer", "first, level), of.train.x[first])",
                "first, level), of.targets.x[:1])",
            ),
            (
                "metapoison", "seconds=_each(matched_cost, chosen)",
                "seconds=_each(met_cost, chosen)",
            ),
            ("metapoison", "        restarts=options.restarts,\n", ""),
            (
                "metapoison", "digits(options, seed, match.members)",
                "digits(options, seed, options.members)",
            ),
            (
                "poisoning_benchmark", 'unaware = crafted(options, attack, "none", seed)',
                "unaware = crafted(options, attack, defense, seed)",
            ),
            (
                "poisoning_benchmark", "of = judged(options, unaware, known",
                "of = judged(options, knows or unaware, known",
            ),
            (
                "poisoning_benchmark", "jnp.asarray(train.x[drawn.base]), jnp.asarray(start)",
                "jnp.asarray(start), jnp.asarray(train.x[drawn.base])",
            ),
            (
                "poisoning_benchmark", "np.asarray(x)), seconds / setting.trials)",
                "np.asarray(x)), seconds)",
            ),
            (
                "poisoning_benchmark", "trials(setting, seed), known, DEFENSES[defense])",
                "trials(setting, seed), known)",
            ),
        )
    ),
    *(
        (f"{_DEFENSES}/{file}.py", old, new, _OF_DEFENSES)
        for file, old, new in (
            ("tabor", '"recall": float(match.recall)', '"recall": float(match.precision)'),
            (
                "tabor", "audit = method(search=TriggerSearch(rounds=options.rounds))",
                "audit = method(search=TriggerSearch())",
            ),
            ("tabor", "{k} ({index[k]:.1f})", "{k} ({figure[k]:.1f})"),
            ("i_bau", "strong = Ball(options.radius, rate=1e5", "strong = Ball(3.0, rate=1e5"),
            (
                "i_bau", "strong.worst(repaired.architecture, repaired",
                "strong.worst(repaired.architecture, model",
            ),
            ("i_bau", "solver=Picard(options.ascents)", "solver=Picard(5)"),
            ("i_bau", "slope(of, by(ball, five), False)", "slope(of, by(ball, authors), False)"),
            ("i_bau", "float(found @ along) - expected", "float(exact @ along) - expected"),
            (
                "strip", "model = trained(rows.poisoned, of.passes, seed)",
                "model = trained(rows.train, of.passes, seed)",
            ),
            ("strip", '"recovered": after.recovered', '"recovered": before.recovered'),
            (
                "activation_clustering", 'more["before"], more["after"] = adapted',
                'more["after"], more["before"] = adapted',
            ),
            (
                "activation_clustering", 'if kind in ("blended", "adapted"):',
                'if kind == "blended":',
            ),
            (
                "activation_clustering", "victim(of, seed + 1000, infected",
                "victim(of, seed, infected",
            ),
            (
                "activation_clustering", "jnp.asarray(means[wanted[some]])",
                "jnp.asarray(means[y[some]])",
            ),
        )
    ),
    *(
        (f"{_EXPERIMENTS}/{file}.py", old, new, _OF_TIMES)
        for file, old, new in (
            (
                "audit/row_ranking", "where_changed = parts.train.like[changed.changed[0]]",
                "where_changed = changed.changed[0]",
            ),
            (
                "audit/row_ranking", "max(1, round(options.rate * ready",
                "max(1, round(options.flipped * ready",
            ),
            (
                "audit/row_ranking", "rows, split, options.folds).items()",
                "rows, split, 5).items()",
            ),
            ("audit/row_ranking", "-forest.score_samples(rows.x)", "forest.score_samples(rows.x)"),
            ("audit/row_ranking", "1 - mine, others - mine,", "others - mine, 1 - mine,"),
            (
                "hypergradients/raw_tables", "validation, rng, options.steps)",
                "validation, rng, 20)",
            ),
            (
                "hypergradients/raw_tables", "counts.get(k, 0) + found.get(k, 0) for",
                "found.get(k, 0) for",
            ),
            (
                "scale/scaling", '"hypergradient_ms": 1e3 * (both - training)',
                '"hypergradient_ms": 1e3 * both',
            ),
            (
                "scale/scaling", "train, validation = made(rows, options.features)",
                "validation, train = made(rows, options.features)",
            ),
            (
                "scale/throughput", "environment=_environment(devices))",
                "environment=_environment(1))",
            ),
            (
                "scale/restarts", '_err": best_of(wrong[name], v, k)',
                '_err": best_of(wrong[name], wrong[name], k)',
            ),
            ("scale/restarts", "ours(DEFAULT, train.rows + 1)", "ours(DEFAULT, train.rows)"),
            (
                "scale/restarts", '"clean_test_err": test_error(starts[:0])',
                '"clean_test_err": test_error(starts)',
            ),
            ("scale/restarts", '"cpu_seconds": cpu / options.starts', '"cpu_seconds": cpu'),
        )
    ),
    *(
        (f"{_EXPERIMENTS}/{file}.py", old, new, _OF_STAMPS)
        for file, old, new in (
            ("backdoors/badnets_mnist", "of.keys[:many])", "of.keys)"),
            (
                "backdoors/badnets_mnist", "first(clean_victims(options), many)",
                "clean_victims(options)",
            ),
            ("backdoors/badnets_mnist", "distance=options.distance)\n", "distance=4)\n"),
            (
                "backdoors/badnets_mnist", "judge(clean, of.test, shown, labels)",
                "judge(fitted, of.test, shown, labels)",
            ),
            (
                "backdoors/badnets_mnist", "for victims in (clean, fitted)\n",
                "for victims in (fitted, clean)\n",
            ),
            (
                "backdoors/badnets_mnist", 'f"{name}_low": low, f"{name}_high": high',
                'f"{name}_low": high, f"{name}_high": low',
            ),
            (
                "backdoors/optimised_trigger", "composed(of, Logistic(options.l2))",
                "composed(of, Logistic(0.01))",
            ),
            (
                "backdoors/optimised_trigger", 'error(attack, found["random"])',
                "error(attack, found[kind])",
            ),
            (
                "backdoors/optimised_trigger", "victims(attack, found[kind], of.test, LABELS)",
                "victims(attack, found[kind], of.validation, LABELS)",
            ),
            (
                "backdoors/sponge", 'fired(model, x)["fired"], "fired": fired(model, z)',
                'fired(model, z)["fired"], "fired": fired(model, x)',
            ),
            (
                "backdoors/sponge", "enumerate(trained(options, train, 0.0))",
                "enumerate(trained(options, train, 1.0))",
            ),
            (
                "backdoors/toy_backdoor", '"l2": float(learner.l2), "share": share',
                '"l2": float(options.l2), "share": share',
            ),
            (
                "backdoors/toy_backdoor", "        reach = copies(of, share)\n",
                "        reach = copies(of, options.share)\n",
            ),
            (
                "backdoors/toy_backdoor", "x - x[y > 0].mean(0), x - x[y < 0].mean(0))",
                "x - x.mean(0), x - x.mean(0))",
            ),
            (
                "targeted/gradient_matching",
                "read(options, of, chosen, shaken(options, of, chosen))",
                "read(options, of, chosen, moved)",
            ),
            (
                "targeted/gradient_matching", "digits(options, seed, options.members)",
                "digits(options, seed, options.restarts)",
            ),
            (
                "model_defenses/backdoor_arena", '"knows": name in attacker.knows',
                '"knows": attack in attacker.knows',
            ),
            (
                "model_defenses/backdoor_arena", "rows = of.rows.poisoned\n",
                "rows = of.rows.clean\n",
            ),
            (
                "model_defenses/backdoor_arena",
                "learner = make(Fixed(of.model, LOSS), of)\n        return "
                "learner.fit(of.rows.clean",
                "learner = make(Fixed(of.model, LOSS), of)\n        return "
                "learner.fit(of.rows.poisoned",
            ),
        )
    ),
    *(
        (f"{_EXPERIMENTS}/{file}.py", old, new, _MEASURED)
        for file, old, new in (
            (
                "hypergradients/compilations", '"second_s": second["seconds"]',
                '"second_s": other["seconds"]',
            ),
            (
                "hypergradients/compilations", '"cached_loaded": int(fresh["loaded"])',
                '"cached_loaded": int(first["loaded"])',
            ),
            (
                "hypergradients/compilations",
                "in_a_process_of_its_own(case, options, times=1, cache=folder)\n        cached",
                "cached",
            ),
            (
                "hypergradients/memory", "_difference(answer, unrolled)",
                "_difference(unrolled, answer)",
            ),
            (
                "hypergradients/memory", "elif answer is not None and mode in LEVELS:",
                "elif answer is not None:",
            ),
            ("hypergradients/memory", 'for mode in MODES if', 'for mode in reversed(MODES) if'),
            (
                "networks/network_speed", "steps = count * options.passes * (TRAIN",
                "steps = options.passes * (TRAIN",
            ),
            ("networks/network_speed", '"test_err": None, **cells,', '**cells, "test_err": None,'),
            (
                "svm/svm_gradient", '"least_alpha": alpha.min(), "most_alpha": alpha.max()',
                '"least_alpha": alpha.max(), "most_alpha": alpha.min()',
            ),
            (
                "svm/svm_gradient", "printed_formula(attack, parts.validation, z",
                "printed_formula(attack, parts.train, z",
            ),
            ("svm/svm_gradient", "rng([options.seed, split, points])", "rng([split, points])"),
            (
                "hypergradients/hypergradients", '"reference": row.name == study.reference',
                '"reference": row is study.rows[0]',
            ),
            (
                "hypergradients/hypergradients", '"certified": row.bound', '"certified": row.angle',
            ),
            (
                "hypergradients/hypergradient_peers", "cells = row(task, method, options.seconds)",
                "cells = row(task, method, 1.0)",
            ),
            (
                "tuning/hyperparameters", "split(options.data, options.seed + number, options",
                "split(options.data, number, options",
            ),
            (
                "tuning/hyperparameters", "by_hypergradient(data, (d,), options.steps)",
                "by_hypergradient(data, (d + 1,), options.steps)",
            ),
        )
    ),
)  # fmt: skip
