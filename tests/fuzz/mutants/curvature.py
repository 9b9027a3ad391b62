"""How the code behind `pruning.ledger.curvature` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F5b", "nn/linear.py", "(self.W.data * self.W.data).T @ ha", "self.W.data.T @ ha"),
    ("S0-F5b", "nn/activations.py", "df * df * hy + self.d2f(self.a) * gy", "df * df * hy"),
    ("D1", "nn/curvature/__init__.py", 'gy if rule == "obd" else 0 * gy', "gy"),
    ("D1", "nn/curvature/squares.py", "(ga * ga) @ (layer.x * layer.x).T", "(ga @ layer.x.T) ** 2"),
    ("D2b", "nn/curvature/exact.py", "(W.T[:, None, :] @ HaW)[:, 0, :]", "(W * W).T @ diagonal(Ha)"),
    ("D2b", "nn/activations.py", "diagonal_matrices(self.d2f(self.a) * gy)", "diagonal_matrices(self.d2f(self.a))"),
)
