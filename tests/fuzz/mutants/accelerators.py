"""How the code behind `pruning.ledger.accelerators` is broken: (id, file, a text that stands once in it, another)."""

FILE = "pruning/sparse/accelerators.py"
MUTANTS = (
    ("D130", FILE, "np.maximum(1, -(-left // UNITS))", "-(-left // UNITS)"),
    ("D130", FILE, "np.maximum(1, -(-left // UNITS))", "np.maximum(1, left // UNITS)"),
    ("D130", FILE, "CHOICE = 256", "CHOICE = 512"),
    ("D130", FILE, "own.max(axis=1).sum()", "own.sum(axis=2).max(axis=1).sum()"),
    ("D131", FILE, "np.maximum(1, -(-left // UNITS))", "np.maximum(1, left // UNITS + 1)"),
    ("D131", FILE, "own.sum(axis=0).max()", "own.sum(axis=0).sum()"),
    ("D131", FILE, "positions * sum(dense(W) for W in matrices)", "sum(dense(W) for W in matrices)"),
    ("D132", FILE, "np.maximum(1, to_numpy(nonzeros))", "to_numpy(nonzeros)"),
    ("D132", FILE, ".sum(axis=0).max(axis=0))", ".max(axis=1).sum(axis=0))"),
    ("D132", FILE, "padded.reshape(rounds, UNITS, *numbers.shape[1:])",
     "padded.reshape(UNITS, rounds, *numbers.shape[1:]).swapaxes(0, 1)"),
    ("D133", FILE, "turns = -(-filters // FILTERS)", "turns = 1"),
    ("D133", FILE, "seen[name][0][0], name != first)", "seen[name][0][0], True)"),
    ("D133", FILE, "np.arange(0, x.shape[0], UNITS)", "np.arange(0, x.shape[0], 2 * UNITS)"),
    ("D133", FILE, "layer.geometry.pad(nonzeros)", "layer.geometry.pad(nonzeros, 16)"),
    ("D134", FILE, "(steps - 1) // FURTHEST + 1", "steps // FURTHEST + 1"),
    ("D134", FILE, "4 * entries / weights", "4 * k / weights"),
    ("D134", FILE, "ways / math.log(2) / weights", "ways / weights"),
    ("D134", FILE, "weights = k * (W.size // n)", "weights = k"),
)  # fmt: skip
