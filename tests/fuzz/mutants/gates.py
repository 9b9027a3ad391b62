"""How the code behind `pruning.ledger.gates` is broken: (id, file, a text that stands once in it, another)."""

GATES = "pruning/scores/gates.py"
ROWS_AND_COLUMNS = "pruning/pipeline/rows_and_columns.py"
MUTANTS = (
    ("D196", GATES, "gates[name] = gates[name] + _by_entry(bias, parameters[bias])", "pass"),
    ("D196", GATES, "sum(A, axis=0)", "mean(A, axis=0)"),
    ("D196", GATES, "return u.data * u.grad", "return abs(u.data * u.grad)"),
    ("D196", GATES, "return u.data * u.grad", "return u.grad"),
    ("D197", ROWS_AND_COLUMNS, "to_numpy(gate).astype(float) ** 2", "to_numpy(gate).astype(float)"),
    ("D197", ROWS_AND_COLUMNS, "(1 - self.memory) * new", "self.memory * new"),
    (
        "D197",
        ROWS_AND_COLUMNS,
        "squares if key not in self.means else",
        "(1 - self.memory) * squares if key not in self.means else",
    ),
)
