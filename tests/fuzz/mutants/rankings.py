"""How the code behind `pruning.ledger.rankings` is broken: (id, file, a text that stands once in it, another)."""

NISP = "pruning/scores/nisp.py"
FILTERS = "pruning/architectures/principal_filters.py"
WIDTHS = "pruning/architectures/widths.py"
COMPENSATION = "pruning/architectures/layer_compensation.py"
TAYLOR = "pruning/scores/taylor.py"
MUTANTS = (
    ("D35", NISP, "(abs(layer.W.data).T @ s,)", "(layer.W.data.T @ s,)"),
    ("D35", NISP, "layer.to_input(abs(layer.W.data), s)", "layer.to_input(layer.W.data, s)"),
    ("D35", NISP, "abs(layer.factor()), shape", "layer.factor(), shape"),
    ("D35", NISP, "abs(layer.factor()), shape", "abs(layer.factor()) ** 2, shape"),
    (
        "D35",
        NISP,
        "layer.scatter([s for _ in layer.geometry.positions()], layer.padded.shape)",
        "layer.scatter([s / 4 for _ in layer.geometry.positions()], layer.padded.shape)",
    ),
    (
        "D35",
        NISP,
        "layer.scatter([s for _ in layer.geometry.positions()], layer.padded.shape)",
        "layer.backward(s)",
    ),
    ("D35", NISP, "sum_positions(sweep.scores[layers[place]])[:, 0]", "sweep.scores[layers[place]][:, ..., 0]"),
    ("D36", NISP, "(abs(layer.W.data).T @ s,)", "(layer.W.data.T @ s,)"),
    ("D36", NISP, "(abs(layer.W.data).T @ s,)", "((layer.W.data**2).T @ s,)"),
    ("D36", NISP, "asarray(values[..., None], like=y", "asarray(values[..., None] / 2, like=y"),
    ("D37", NISP, "(abs(layer.W.data).T @ s,)", "((layer.W.data**2).T @ s,)"),
    ("D37", TAYLOR, "yield {name: z * g for", "yield {name: g for"),
    ("D37", TAYLOR, "yield {name: z * g for", "yield {name: z for"),
    ("D38", FILTERS, "centred = A - A.mean(axis=1, keepdims=True)\n    values", "centred = A\n    values"),
    ("D38", FILTERS, "tau - ROUNDING)) + 1", "tau - ROUNDING)) + 2"),
    ("D38", FILTERS, "round(C * entropy / np.log(C))", "round(C * entropy)"),
    ("D38", FILTERS, "round(C * entropy / np.log(C))", "round(C - C * entropy / np.log(C))"),
    ("D39", COMPENSATION, "score + float(constants[name])", "score - float(constants[name])"),
    ("D39", COMPENSATION, "score + float(constants[name])", "score * float(constants[name])"),
    ("D39", WIDTHS, "max(1, n - gone.count(name))", "max(1, n - gone.count(name) - 1)"),
    ("D39", WIDTHS, "(low, middle) if enough(middle) else (middle, high)", "(middle, high)"),
)
