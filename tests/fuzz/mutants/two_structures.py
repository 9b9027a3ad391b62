"""How the code behind `pruning.ledger.two_structures` is broken: (id, file, a text that stands once in it, another)."""

ADMM, PROJECTIONS = "pruning/penalties/admm.py", "pruning/penalties/projections.py"
MUTANTS = (
    ("S3-F1", ADMM, "self.U[name] + W.data - Y[name]", "self.U[name] - W.data + Y[name]"),
    ("S3-F1", PROJECTIONS, "by_rows = keep_largest_rows(", "by_rows = xp.asarray("),
    ("S3-F1", PROJECTIONS, "xp.any(keep_largest_columns(kept, cols) != 0", "xp.any(kept != 0"),
    ("D13", PROJECTIONS, "keep_largest_columns(kept, cols) != 0", "keep_largest_columns(V, cols) != 0"),
    ("D13", PROJECTIONS, "xp.where(kept_columns[None, :], V, xp.zeros_like(V)), rows)", "V, rows)"),
    ("D13", PROJECTIONS, "energies.index(max(energies))", "energies.index(min(energies))"),
)
