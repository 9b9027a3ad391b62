"""How the code behind `pruning.ledger.rows_and_columns` is broken: (id, file, a text in it, another)."""

ROWS_AND_COLUMNS = "pruning/pipeline/rows_and_columns.py"
MUTANTS = (
    ("D198", ROWS_AND_COLUMNS, "[alive] / freed[alive]", "[alive]"),
    ("D198", ROWS_AND_COLUMNS, "freed = freed + np.bincount(", "freed = freed + 0 * np.bincount("),
    ("D198", ROWS_AND_COLUMNS, "self.keep[reader][:, owner == k] = False", "pass"),
    ("D198", ROWS_AND_COLUMNS, "if alive.sum() > 1:", "if alive.sum() > 2:"),
    ("D199", ROWS_AND_COLUMNS, "self.keep[reader][:, owner == k] = False", "pass"),
    ("D199", ROWS_AND_COLUMNS, "if name in self.rows and b is not None:", "if False:"),
)
