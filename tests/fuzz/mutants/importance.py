"""How the code behind `pruning.ledger.importance` is broken: (id, file, a text that stands once in it, another)."""

TAYLOR = "pruning/scores/taylor.py"
MAPS = "pruning/channels/maps.py"
ACTIVATION = "pruning/scores/activation.py"
MUTANTS = (
    ("D30", TAYLOR, "{name: _mean(abs(g)) for", "{name: abs(_mean(g)) for"),
    ("D30", TAYLOR, "{name: sum_positions(zg) for", "{name: sum_positions(abs(zg)) for"),
    ("D30", TAYLOR, "yield {name: z * g for", "yield {name: g for"),
    ("D30", MAPS, "x_batch.shape[-1] * loss.backward()", "loss.backward()"),
    ("D30", MAPS, "while behind + 1 < len(chain) and", "while behind + 1 < 0 and"),
    ("D31", TAYLOR, "float(xp.sqrt(xp.sum(score * score)))", "float(xp.sum(abs(score)))"),
    ("D31", TAYLOR, "score / size if size else score", "score"),
    ("D31", TAYLOR, "score / size if size", "score * size if size"),
    ("D32", TAYLOR, "{name: _mean(g * g) for", "{name: _mean(g) ** 2 for"),
    ("D32", TAYLOR, "{name: sum_positions(zg) for", "{name: sum_positions(zg * zg) ** 0.5 for"),
    ("D33", TAYLOR, "{name: sum_positions(zg) for", "{name: sum_positions(zg) / zg[0, ..., 0].size for"),
    ("D33", TAYLOR, "yield {name: z * g for", "yield {name: z * abs(g) for"),
    ("D34", ACTIVATION, "each**0.5 for", "each for"),
    ("D34", ACTIVATION, "rows != 0, rows.dtype", "rows == 0, rows.dtype"),
    ("D34", ACTIVATION, "numbers.get(name, 0) + rows.shape[1]", "rows.shape[1]"),
    ("D34", ACTIVATION, "(rows - centre[name][:, None]) ** 2", "rows**2"),
    ("D34", MAPS, "while behind + 1 < len(chain) and", "while behind + 1 < 0 and"),
)
