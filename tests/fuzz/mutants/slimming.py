"""How the code behind `pruning.ledger.slimming` is broken: (id, file, a text that stands once in it, another)."""

SLIM = "pruning/penalties/slimming.py"
GROUPS = "pruning/penalties/group_lasso.py"
MUTANTS = (
    ("S0-F9", SLIM, "Family({name: (0,)}, nonnegative(strength", "Family({name: ()}, nonnegative(strength"),
    ("S0-F9", SLIM, 'found = {inside(name, "gamma"): norm.gamma', 'found = {inside(name, "gamma"): norm.beta'),
    ("D70", GROUPS, "step = sgd.learning_rate / (1 - sgd.momentum)", "step = sgd.learning_rate"),
    ("D70", GROUPS, "xp.where(alive, 1 - threshold", "xp.where(alive, 1 + threshold"),
    ("D71", SLIM, "gamma.data = gamma.data * 0 + value", "gamma.data = gamma.data * 0 + value**2"),
    ("D71", GROUPS, "step = sgd.learning_rate / (1 - sgd.momentum)", "step = sgd.learning_rate"),
    ("S0-F10", SLIM, "key=lambda pair: pair[0]", "key=lambda pair: -pair[0]"),
    ("S0-F10", SLIM, "return total - filters.kept(total, share)", "return total - filters.kept(total, share) + 1"),
    ("D72", SLIM, "left = _left(sizes, removed, guard=1)", "left = _left(sizes, removed, guard=0)"),
    ("D72", SLIM, "_left(sizes, _removed(sizes, share), guard=0)", "_left(sizes, _removed(sizes, share), guard=1)"),
    ("D73", SLIM, "gamma.data = gamma.data * asarray(stays", "gamma.data = gamma.data * asarray(~stays"),
    ("D73", SLIM, "surgery.fold_constants(apart, rows, input_shape, border)", "apart"),
    ("D74", "pruning/ledger/slimming.py", "/ np.sum(weights)", "/ len(weights)"),
    ("D74", "pruning/ledger/slimming.py", "weights @ np.array", "weights[::-1] @ np.array"),
    ("D74", "pruning/architectures/stage_patterns.py", "(0.861, 0.718, 0.575,", "(0.861, 0.781, 0.575,"),
    (
        "D74",
        "pruning/architectures/stage_patterns.py",
        "(10, 20, 30, 40, 50, 60, 70),",
        "(70, 60, 50, 40, 30, 20, 10),",
    ),
)
