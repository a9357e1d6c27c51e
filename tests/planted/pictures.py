"""Other columns, colours, sides and rows than pictures and figures of experiments name."""

NETWORKS = "tests/benchmarks/experiments/test_what_networks_are_given.py"
TARGETED = "tests/benchmarks/experiments/test_targeted_experiments.py"
FUZZ = "tests/benchmarks/experiments/test_certificate_fuzz.py"
PICTURES = "tests/benchmarks/test_pictures.py"
SCENES = "tests/benchmarks/test_scenes.py"

MUTANTS = tuple(
    ("benchmarks/" + file, old, new, tests)
    for file, old, new, tests in (
        (
            "data/scenes/faces.py", '0.5 * person["slant"] * side * u', '0.5 * person["slant"] * u',
            SCENES,
        ),
        (
            "data/scenes/faces.py", '0.5 * person["slant"] * side * u',
            '-0.5 * person["slant"] * side * u', SCENES,
        ),
        (
            "data/scenes/faces.py", 'lens = ellipse(x - side * person["apart"]',
            'lens = ellipse(x - person["apart"]', SCENES,
        ),
        (
            "data/scenes/faces.py", "ellipse(x - side * width, y, 0.09, 0.15)",
            "ellipse(x - width, y, 0.09, 0.15)", SCENES,
        ),
        ("data/scenes/faces.py", "u - 0.25 * eye * pose.side", "u - 0.25 * eye * side", SCENES),
        (
            "experiments/model_defenses/februus.py", "((1 - mask) * shown + 0.5 * mask)[..., 0]",
            "(mask * shown + 0.5 * (1 - mask))[..., 0]", NETWORKS,
        ),
        (
            "experiments/model_defenses/februus.py", "shown = of.shown[some]",
            "shown = of.shown[:5]", NETWORKS,
        ),
        (
            "experiments/model_defenses/februus.py", "options.thresholds[-1])",
            "options.thresholds[0])", NETWORKS,
        ),
        (
            "experiments/model_defenses/neural_cleanse.py",
            "suspects.tolist() == ([TARGET] if infected else [])",
            "(TARGET in suspects) == infected", NETWORKS,
        ),
        (
            "experiments/model_defenses/neural_cleanse.py",
            "suspects.tolist() == ([TARGET] if infected else [])",
            "infected == bool(suspects.size)", NETWORKS,
        ),
        (
            "experiments/targeted/frogs.py", "hits = ~found.right[clean.right]",
            "hits = ~found.right", TARGETED,
        ),
        (
            "experiments/targeted/frogs.py", "hits = ~found.right[clean.right]",
            "hits = found.right[clean.right]", TARGETED,
        ),
        (
            "experiments/targeted/frogs.py", "float(np.mean(clean.error))",
            "float(np.mean(found.error))", TARGETED,
        ),
        (
            "experiments/targeted/frogs.py", "/ np.linalg.norm(there, axis=1)",
            "/ np.linalg.norm(here, axis=1)", TARGETED,
        ),
        (
            "experiments/targeted/frogs.py", "np.mean(change**2, axis=1)", "np.mean(change**2)",
            TARGETED,
        ),
        (
            "fuzz/programs.py",
            """        q, lower, upper, b, strength = z
        Q = fixed["Q0"] + strength * np.eye(len(q))
        found = programs.box_qp""",
            """        q, lower, upper, b, strength = z
        Q = fixed["Q0"]
        found = programs.box_qp""",
            FUZZ,
        ),
        (
            "fuzz/programs.py",
            """        q, b, G, h, strength = z
        Q = fixed["Q0"] + strength * np.eye(len(q))
        found""",
            '        q, b, G, h, strength = z\n        Q = fixed["Q0"]\n        found', FUZZ,
        ),
        (
            "fuzz/programs.py", "found = programs.box_qp(Q, q, lower, upper,",
            "found = programs.box_qp(Q, q, upper, lower,", FUZZ,
        ),
        (
            "fuzz/programs.py",
            """        value = mean_square(fixed["x_val"] @ found.x, fixed["y_val"])
        value = value + 0.1 * (np.sum(found.equal) + np.sum(found.unequal))""",
            """        value = mean_square(fixed["x_val"] @ found.x, fixed["y_val"])
        value = value + 0.1 * np.sum(found.unequal)""",
            FUZZ,
        ),
        ("fuzz/programs.py", 'f["share"], strength, q,', 'f["share"], 0 * strength, q,', FUZZ),
        (
            "pictures/restarts.py", '(below, "test_err", "clean_test_err")',
            '(below, "test_err", "clean_loss")', PICTURES,
        ),
        ("pictures/restarts.py", '"bound_err", "starts"', '"test_err", "starts"', PICTURES),
        (
            "pictures/svm_2d.py", "((-1, style.BLUE), (1, style.RED))",
            "((-1, style.RED), (1, style.BLUE))", PICTURES,
        ),
        (
            "pictures/svm_2d.py", 'scene.error, "validation error"',
            'scene.hinge, "validation error"', PICTURES,
        ),
        (
            "pictures/svm_2d.py", '((scene.clean, "dashed"), (scene.poisoned, "solid"))',
            '((scene.clean, "solid"), (scene.poisoned, "dashed"))', PICTURES,
        ),
        (
            "pictures/one_by_one.py", '("fresh_err", "fresh_flip_err")',
            '("fresh_err", "flip_err")', PICTURES,
        ),
        (
            "pictures/label_sanitisation.py", '("soft", "_defended", RED',
            '("aware", "_defended", RED', PICTURES,
        ),
        (
            "pictures/label_sanitisation.py", 'cells = f"clean{defended}_err"',
            'cells = f"clean_err"', PICTURES,
        ),
        ("pictures/lasso_features.py", 'f"{name}_stability"', '"attack_stability"', PICTURES),
        ("pictures/roni_spam.py", '("ham_lost_roni_err", "+"', '("ham_lost_err", "+"', PICTURES),
        (
            "pictures/badnets_mnist.py", 'column(mine, "clean_success"), ":"',
            'column(mine, "success"), ":"', PICTURES,
        ),
        (
            "pictures/optimised_trigger.py", 'column(rows, "clean_success", kind=kind)',
            'column(rows, "success", kind=kind)', PICTURES,
        ),
        ("pictures/backdoor_arena.py", '("accuracy", "Blues_r"', '("success", "Blues_r"', PICTURES),
        (
            "pictures/arena.py", '("adapted_err", "adapted to it"',
            '("unaware_err", "adapted to it"', PICTURES,
        ),
        ("pictures/transfer.py", 'target, "flip_test_err")', "target)", PICTURES),
        (
            "pictures/svm_gradient.py", 'cases, "difference_noise", style.QUIET',
            'cases, "certified_error", style.QUIET', PICTURES,
        ),
        (
            "pictures/svm_gradient.py", 'entry("o", style.BLUE, "our', 'entry("o", style.RED, "our',
            PICTURES,
        ),
        ("pictures/svm_mnist.py", '("flip_test_err", "control', '("test_err", "control', PICTURES),
        (
            "pictures/targeted_mnist.py", 'row["flip_rest_err"] - row["clean_rest_err"]',
            'row["rest_err"] - row["clean_rest_err"]', PICTURES,
        ),
        (
            "pictures/neural_cleanse.py", '[row["median"] for row in some]',
            '[row["pixels"] for row in some]', PICTURES,
        ),
        (
            "pictures/februus.py", '("stamped", "heat", "masked", "restored")',
            '("stamped", "heat", "restored", "masked")', PICTURES,
        ),
        (
            "pictures/clean_label.py", '("before", base[k], digits), ("after", moved[k], digits)',
            '("before", moved[k], digits), ("after", base[k], digits)', PICTURES,
        ),
        (
            "pictures/polytope.py", "(base, poison, shown, target), strict",
            "(base, target, shown, poison), strict", PICTURES,
        ),
        ("pictures/dilemma.py", 'attacker, "trimmed_test_mse"', 'attacker, "test_mse"', PICTURES),
        (
            "pictures/cnn_mnist.py", '"fresh_err": "fresh weights"', '"same_err": "fresh weights"',
            PICTURES,
        ),
        ("pictures/fairness.py", '("fnr_0", "false neg', '("test_err", "false neg', PICTURES),
        ("pictures/last_layer.py", '("implicit", BLUE, "o")', '("influence", BLUE, "o")', PICTURES),
        (
            "pictures/trim.py", '("huber_test_mse", BLUE, "Huber")',
            '("ransac_test_mse", BLUE, "Huber")', PICTURES,
        ),
        (
            "pictures/toy_backdoor.py", '("test_err", "clean error", BLUE)',
            '("success", "clean error", BLUE)', PICTURES,
        ),
        (
            "pictures/sponge.py", '"energy": ("energy, of full", RED)',
            '"fired": ("energy, of full", RED)', PICTURES,
        ),
    )
)  # fmt: skip
