"""How the code behind `pruning.ledger.lasso_channels` is broken: (id, file, a text that stands once in it, another)."""

LASSO = "pruning/reconstruction/lasso_channels.py"
MOMENTS = "pruning/reconstruction/moments.py"
ROOTS = "pruning/reconstruction/roots.py"

MUTANTS = (
    ("S0-A4", MOMENTS, "self.C[:, columns] @ pseudo_inverse", "self.W[:, columns] @ pseudo_inverse"),
    ("S0-A4", LASSO, "np.argsort(-missing", "np.argsort(missing"),
    ("S0-A4", LASSO, "missing[beta != 0] = np.inf", "missing[beta != 0] = 0.0"),
    ("S1-F27", LASSO, "return beta * norms, W * shares", "return beta, W * shares"),
    (
        "S1-F27",
        LASSO,
        "np.sqrt(np.sum(W.reshape(len(W), len(beta), -1) ** 2",
        "(np.sum(W.reshape(len(W), len(beta), -1) ** 2",
    ),
    ("S1-F27", MOMENTS, "self.energy - 2 * self.q[kept].sum()", "self.energy - self.q[kept].sum()"),
    ("S1-F28", ROOTS, "np.sqrt(len(s) * s)", "np.sqrt(s)"),
    ("S1-F28", ROOTS, "V.T @ moments.q", "V.T @ moments.G.sum(axis=1)"),
    ("S1-F28", MOMENTS, "self.A * (self.W.T @ self.W)", "self.A * self.A"),
    ("S1-F28", MOMENTS, "(self.C * self.W).sum(axis=0)", "(self.C * self.C).sum(axis=0)"),
    ("S1-F30", LASSO, "return beta * norms, W * shares", "return beta / np.where(norms > 0, norms, 1), W * shares"),
    ("S1-F30", LASSO, "1 / np.where(norms > 0, norms, 1)", "1 / norms"),
)
