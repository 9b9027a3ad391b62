"""How the code behind `pruning.ledger.obd` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F1", "nn/curvature/tangents.py", "rga @ layer.x.T + ga @ self.rx[layer].T", "rga @ layer.x.T"),
    ("S0-F1", "nn/curvature/__init__.py", "weight * loss.backward_tangent(ry)", "loss.backward_tangent(ry) / 2"),
    ("S0-F1", "nn/curvature/exact.py", "(W.T[:, None, :] @ HaW)[:, 0, :]", "(W * W).T @ diagonal(Ha)"),
    ("S0-F1", "nn/activations.py", "diagonal_matrices(self.d2f(self.a) * gy)", "diagonal_matrices(0 * gy)"),
    ("S0-F2", "pruning/scores/obd.py", "change = h[name] * u * u / 2", "change = h[name] * u * u"),
    ("S0-F2", "pruning/scores/obd.py", "change - g[name] * u", "change + g[name] * u"),
    ("S0-F2", "pruning/pipeline/three_stages.py", "data * (mask - 1) for", "data * (1 - mask) for"),
    (
        "S0-F7a",
        "pruning/scores/obd.py",
        "maximum(h[name], 0) * u.data * u.data / 2",
        "maximum(h[name], 0) * u.data * u.data",
    ),
    ("S0-F7a", "nn/linear.py", "ha @ (self.x * self.x).T", "ha @ self.x.T"),
    ("S0-F7b", "pruning/scores/obd.py", "h[name], 0) * u.data * u.data / 2", "h[name], 0) * u.data / 2"),
    ("S0-F7b", "nn/linear.py", "(self.W.data * self.W.data).T @ ha", "abs(self.W.data).T @ ha"),
)
