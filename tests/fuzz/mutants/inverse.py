"""How the code behind `pruning.ledger.inverse` is broken: (id, file, a text that stands once in it, another)."""

OBS, MATRIX = "pruning/scores/obs.py", "nn/curvature/matrix.py"

MUTANTS = (
    ("S0-F8c", MATRIX, "P @ B @ xp.linalg.solve(I + J.T @ P @ B, P.T)", "P @ B @ P.T"),
    ("S0-F8c", MATRIX, "solve(I + J.T @ P @ B, P.T)", "solve(I + B @ J.T @ P, P.T)"),
    ("S0-F8c", MATRIX, "[:, :, 0] / (ridge + damping)", "[:, :, 0] * (ridge + damping)"),
    ("S0-F8d", OBS, "invert(2 / x.shape[1] * (x @ x.T), damping)", "invert(2 / x.shape[1] * (x @ x.T), damping + 0.1)"),
    ("S0-F8d", OBS, "delete(W[i, :], Hinv, Q)[0][None, :]", "delete(W[0, :], Hinv, Q)[0][None, :]"),
    ("S1-F20", "pruning/scores/obd.py", "h[name], 0) * u.data * u.data / 2", "h[name], 0) * abs(u.data)"),
    ("S1-F20", "pruning/scores/obd.py", "change = h[name] * u * u / 2", "change = h[name] * u * u"),
    ("S1-F20", "nn/linear.py", "ha @ (self.x * self.x).T", "ha @ abs(self.x).T"),
)
