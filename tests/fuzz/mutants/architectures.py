"""How the code behind `pruning.ledger.architectures` is broken: (id, file, a text that stands once in it, another)."""

FILTERS = "pruning/architectures/principal_filters.py"
WIDTHS = "pruning/architectures/widths.py"
COMPENSATION = "pruning/architectures/layer_compensation.py"
MUTANTS = (
    ("D38", FILTERS, "centred = A - A.mean(axis=1, keepdims=True)\n    values", "centred = A\n    values"),
    ("D38", FILTERS, "tau - ROUNDING)) + 1", "tau - ROUNDING)) + 2"),
    ("D38", FILTERS, "round(C * entropy / np.log(C))", "round(C * entropy)"),
    ("D38", FILTERS, "round(C * entropy / np.log(C))", "round(C - C * entropy / np.log(C))"),
    ("D39", COMPENSATION, "score + float(constants[name])", "score - float(constants[name])"),
    ("D39", COMPENSATION, "score + float(constants[name])", "score * float(constants[name])"),
    ("D39", WIDTHS, "max(1, n - gone.count(name))", "max(1, n - gone.count(name) - 1)"),
    ("D39", WIDTHS, "(low, middle) if enough(middle) else (middle, high)", "(middle, high)"),
)
