"""How the code behind `pruning.ledger.arms` is broken: (id, file, a text that stands once in it, another)."""

CONTROLS = "pruning/pipeline/controls.py"
NEW_WEIGHTS = "pruning/pipeline/new_weights.py"
MUTANTS = (
    ("D204", CONTROLS, '"fine-tuned": (small, fine, lowest)', '"fine-tuned": (small, fine, rate)'),
    ("D204", CONTROLS, '"scratch-E": (fresh, e, rate)', '"scratch-E": (fresh, fine, rate)'),
    ("D204", CONTROLS, '"scratch-B": (fresh, b, rate)', '"scratch-B": (redrawn(small, rng, init), b, rate)'),
    ("D204", CONTROLS, '"scratch-B": (fresh, b, rate)', '"scratch-B": (fresh, e, rate)'),
    ("D204", CONTROLS, "return b if left == size else", "return b if True else"),
    ("D205", NEW_WEIGHTS, "(math.sqrt(mask.mean()) if density else 1)", "1"),
    ("D205", NEW_WEIGHTS, "math.sqrt(mask.mean())", "mask.mean()"),
    ("D205", NEW_WEIGHTS, "drawn = drawn * mask / ", "drawn = drawn / "),
    ("D205", NEW_WEIGHTS, "_fill(module.b, 0.0)", "pass"),
    ("D205", NEW_WEIGHTS, "0 * module.running_variance + 1", "1 * module.running_variance"),
)
