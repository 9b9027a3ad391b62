"""How the code behind `pruning.ledger.obs` is broken: (id, file, a text that stands once in it, another)."""

OBS, MATRIX = "pruning/scores/obs.py", "nn/curvature/matrix.py"

MUTANTS = (
    ("S0-F8a", OBS, "s = u * u / (2 * xp.where(h > 0, h, 1.0))", "s = u * u / xp.where(h > 0, h, 1.0)"),
    ("S0-F8a", OBS, "u = u - xp.take(u, Q, axis=0) @ solved", "u = u + xp.take(u, Q, axis=0) @ solved"),
    ("S0-F8a", MATRIX, "_scatter(V / (h + damping) @ V.T", "_scatter(V * (h + damping) @ V.T"),
    ("S0-F8b", OBS, "float(u_Q @ _solve(M, u_Q[:, None])[:, 0]) / 2", "float(u_Q @ M @ u_Q) / 2"),
    ("S0-F8b", OBS, "Hinv = Hinv - rows.T @ solved", "Hinv = Hinv - 0 * rows.T @ solved"),
    ("S0-F8e", "pruning/scores/obd.py", "h[name], 0) * u.data * u.data / 2", "h[name], 0) * u.data * u.data"),
    ("S0-F8e", MATRIX, "G = G + weight * (J @ JB.T)", "G = G + 4 * weight * (J @ JB.T)"),
    ("S0-F8f", OBS, "u, Hinv = delete(u, Hinv, [q])", "u, _ = delete(u, Hinv, [q])"),
    ("S0-F8f", OBS, "s = xp.where(deletable > 0, saliencies(u, Hinv)", "s = xp.where(deletable > 0, u * u"),
)
