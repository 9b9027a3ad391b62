"""How the code behind `pruning.ledger.group_penalty` is broken: (id, file, a text that stands once in it, another)."""

PENALTY, FAMILIES = "pruning/penalties/group_lasso.py", "pruning/penalties/families.py"
CERTIFICATES = "textbook/certificates.py"

MUTANTS = (
    ("S1-F23", FAMILIES, "return xp.sqrt(sum(squares.values()))", "return sum(squares.values())"),
    ("S1-F23", FAMILIES, "if family.weighted else 1.0", "if not family.weighted else 1.0"),
    ("S1-F23", PENALTY, "xp.where(size > 0, size, xp.ones_like(size))\n        for", "size\n        for"),
    (
        "D10a",
        PENALTY,
        'threshold = _size("a step", step) * family.strength',
        'threshold = _size("a step", step) + family.strength',
    ),
    ("D10a", PENALTY, "alive = size > threshold", "alive = size > 0"),
    ("D10", PENALTY, "step = sgd.learning_rate / (1 - sgd.momentum)", "step = sgd.learning_rate"),
    ("D10", PENALTY, "alive = size > threshold", "alive = size > 0"),
    (
        "D9",
        CERTIFICATES,
        "_norms(c, arrays) / as_weights(weights, arrays)",
        "_norms(c, arrays) * as_weights(weights, arrays)",
    ),
    ("D9", CERTIFICATES, "return np.sqrt(_dots(v, v, groups))", "return np.cbrt(_dots(v, v, groups))"),
)
