"""How the code behind `pruning.ledger.filters` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S4-F5", "pruning/scores/filter_norm.py", "xp.sum(xp.abs(rows), axis=1) if", "xp.sum(rows, axis=1) if"),
    ("S4-F5", "pruning/scores/filter_norm.py", "if norm == 1 else", "if norm == 2 else"),
    ("S4-F5", "pruning/filters.py", "np.argsort(-values[", "np.argsort(values["),
    ("S4-F5", "pruning/filters.py", "math.floor(n * (1", "round(n * (1"),
    ("S4-F7", "pruning/filters.py", "largest(score(small, [name])", "largest(score(net, [name])"),
    ("S4-F7", "pruning/filters.py", "small = surgery.remove(net, keep)\n    return", "pass\n    return"),
    (
        "S4-F12",
        "pruning/filters.py",
        "largest(scores, {name: share}, sets)",
        "largest(scores, dict.fromkeys(names, share), sets)",
    ),
    ("S4-F12", "pruning/filters.py", "np.argsort(-values[", "np.argsort(values["),
)
