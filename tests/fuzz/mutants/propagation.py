"""How the code behind `pruning.ledger.propagation` is broken: (id, file, a text that stands once in it, another)."""

NISP = "pruning/scores/nisp.py"
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
)
