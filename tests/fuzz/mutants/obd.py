"""How the code behind `pruning.ledger.obd` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F6", "nn/activations.py", "df * df * hy + self.d2f(self.a) * gy", "df * df * hy - self.d2f(self.a) * gy"),
    ("S0-F6", "nn/losses.py", "ones_like(self.y) * (2 / self.y.shape[-1])", "ones_like(self.y) * (1 / len(self.y))"),
)
