"""How the code behind `pruning.ledger.boundaries` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F6", "nn/activations.py", "df * df * hy + self.d2f(self.a) * gy", "df * df * hy - self.d2f(self.a) * gy"),
    ("S0-F6", "nn/losses.py", "ones_like(self.y) * (2 / self.y.shape[-1])", "ones_like(self.y) * (1 / len(self.y))"),
    ("S0-F6", "nn/activations.py", "self.A * self.S * self.S * Tanh().d2f", "self.A * self.S * Tanh().d2f"),
    (
        "S0-F6",
        "nn/activations.py",
        "return -self.df(a) * get_array_module(a)",
        "return self.df(a) * get_array_module(a)",
    ),
    ("S0-F6", "nn/activations.py", "return Sigmoid().df(a)", "return Sigmoid().f(a)"),
    ("D3a", "nn/losses.py", "(diagonal_matrices(p) - p[:, None, :] * p[None, :, :])", "diagonal_matrices(p)"),
    ("D3a", "nn/losses.py", "(self._target_sums() * self.p - self.t)", "(self.p - self.t)"),
    ("D3a", "nn/losses.py", "shifted = y - xp.max(y, axis=0, keepdims=True)", "shifted = y"),
    ("D3b", "nn/losses.py", "(diagonal_matrices(p) - p[:, None, :] * p[None, :, :])", "(diagonal_matrices(p * p))"),
    ("D3b", "nn/losses.py", "(self._target_sums() * self.p - self.t)", "(self.t - self.p)"),
)
