"""How the code behind `pruning.ledger.recursion` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F4", "nn/linear.py", "ha @ (self.x * self.x).T", "ha @ abs(self.x).T"),
    ("S0-F4", "nn/linear.py", "xp.sum(ha, axis=1)", "xp.mean(ha, axis=1)"),
    ("S0-F5a", "nn/linear.py", "(self.W.data * self.W.data).T @ ha", "self.W.data.T @ ha"),
    (
        "S0-F5a",
        "nn/activations.py",
        "df * df * hy + self.d2f(self.a) * gy",
        "df * df * hy + self.d2f(self.a) * df * gy",
    ),
    ("S0-F5a", "nn/activations.py", "return -2 * self.f(a) * self.df(a)", "return 2 * self.f(a) * self.df(a)"),
    ("D2a", "nn/linear.py", "return W.T @ ga, W.T @ HaW", "return W.T @ ga, HaW.T @ W"),
    ("D2a", "nn/activations.py", "df[:, None, :] * Hy * df[None, :, :]", "df[:, None, :] * Hy"),
    ("D2a", "nn/activations.py", "diagonal_matrices(self.d2f(self.a) * gy)", "0"),
)
