"""How the code behind `pruning.ledger.path` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("S1-F10b", "textbook/exact/kinks.py", "drop, i = self.next_drop(sizes, velocity)", "drop, i = self.L, -1"),
    ("S1-F10b", "textbook/exact/kinks.py", "velocity = signs * self.solve(t)", "velocity = self.solve(t)"),
    ("S1-F10b", "textbook/exact/homotopy.py", "return self.lam(lams) * self.X.shape[0]", "return self.lam(lams)"),
    ("S1-F11", "textbook/proximal.py", "xp.sign(w) * (below - theta)", "xp.sign(w) * below"),
    (
        "S1-F11",
        "textbook/proximal.py",
        "xp.zeros_like(w))) - radius) / count",
        "xp.zeros_like(w))) - radius**2) / count",
    ),
    ("S1-F11", "textbook/exact/working_set.py", "L, r, q = n * lam, y, X.T @ y", "L, r, q = n * lam / 2, y, X.T @ y"),
)
