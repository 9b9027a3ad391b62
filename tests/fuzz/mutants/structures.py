"""How the code behind `pruning.ledger.structures` is broken: (id, file, a text that stands once in it, another)."""

PENALTY, FAMILIES, FORMATS = (
    "pruning/penalties/group_lasso.py",
    "pruning/penalties/families.py",
    "pruning/sparse/formats.py",
)

MUTANTS = (
    (
        "S1-F25a",
        FAMILIES,
        "return Family({name: (1,)}, strength, weighted)",
        "return Family({name: (0,)}, strength, weighted)",
    ),
    ("S1-F25a", FAMILIES, "return xp.sqrt(sum(squares.values()))", "return sum(squares.values())"),
    ("S1-F25a", FAMILIES, "return Family({name: ()} | dict", "return Family({name: (0,)} | dict"),
    ("S1-F25b", PENALTY, "name: target[name] - shrunk[name] for", "name: shrunk[name] - target[name] for"),
    ("S1-F25b", PENALTY, "shrunk = shrink(target, family, step)", "shrunk = shrink(shrunk, family, step)"),
    (
        "S1-F24",
        "nn/optimizers.py",
        "parameter.grad + decay * parameter.data",
        "parameter.grad + 2 * decay * parameter.data",
    ),
    ("S1-F24", PENALTY, "parameters[name].grad + spread(factor", "parameters[name].grad - spread(factor"),
    ("S1-F24", PENALTY, "for family, size in zip(families, sizes):", "for family, size in zip(families[:1], sizes):"),
    ("S1-F22", FORMATS, "np.nonzero(W.any(axis=1))[0]", "np.arange(W.shape[0])"),
    (
        "S1-F22",
        FORMATS,
        "rows, columns = np.nonzero(W.any(axis=1))[0], np.nonzero(W.any(axis=0))[0]",
        "rows, columns = np.nonzero(W.any(axis=1))[0], np.arange(W.shape[1])",
    ),
)
