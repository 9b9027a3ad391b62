"""How the code behind `pruning.ledger.deletion` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("D190", "pruning/scores/magnitude.py", "get_array_module(u.data).abs(u.data)", "u.data"),
    (
        "D190",
        "pruning/masks.py",
        "keep[np.lexsort((scores, alive))[:delete]] = 0",
        "keep[np.lexsort((-scores, alive))[:delete]] = 0",
    ),
    ("D190", "pruning/masks.py", 'if scope == "global":', 'if scope == "layer":'),
    ("D191", "pruning/scores/fisher.py", "parameter.data * parameter.data * square", "parameter.data * square"),
    ("D191", "pruning/scores/fisher.py", 'get("square")', 'get("mean")'),
    (
        "D191",
        "nn/optimizers.py",
        'b2 * state.get("square", 0) + (1 - b2) * g * g',
        'b2 * state.get("square", 0) + (1 - b2) * g',
    ),
    ("D192", "pruning/scores/fisher.py", "parameter.data * parameter.data * square", "square"),
    ("D192", "pruning/scores/fisher.py", 'get("square")', 'get("mean")'),
    ("D193", "pruning/scores/chance.py", "rng.random(parameter.shape[0])", "np.sort(rng.random(parameter.shape[0]))"),
    (
        "D193",
        "pruning/scores/chance.py",
        "rng.random(parameter.shape[0])",
        "np.random.default_rng(0).random(parameter.shape[0])",
    ),
    ("D193", "pruning/scores/chance.py", "rng.random(parameter.shape[0])", "rng.random(parameter.shape[0]) < 0.5"),
)
