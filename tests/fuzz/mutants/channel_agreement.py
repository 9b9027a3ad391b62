"""How the code behind `pruning.ledger.channel_agreement` is broken: (id, file, a text that stands once, another)."""

THINET = "pruning/reconstruction/thinet.py"
MOMENTS = "pruning/reconstruction/moments.py"
SURGEON = "pruning/reconstruction/elimination.py"
LASSO = "pruning/reconstruction/lasso_channels.py"

MUTANTS = (
    (
        "D42",
        SURGEON,
        "inverse = inverse - rows.T @ np.linalg.solve(rows[:, blocks[i]], rows)",
        "inverse = inverse + 0.0",
    ),
    ("D42", SURGEON, "W = W - changes[i].T @ rows", "W = W + 0.0"),
    ("D42", SURGEON, "np.linalg.solve(inverse[np.ix_(block, block)], W", "(A[np.ix_(block, block)] @ W"),
    ("D42", SURGEON, "int(np.argmin(growth))", "int(np.argmax(growth))"),
    ("D43", MOMENTS, "(self.C * self.W).sum(axis=0)", "(self.C + self.W).sum(axis=0)"),
    ("D43", SURGEON, "int(np.argmin(growth))", "int(np.argmax(growth))"),
    ("D43", THINET, "int(np.argmin(added))", "int(np.argmax(added))"),
    ("D44", MOMENTS, "(self.C * self.W).sum(axis=0)", "(self.W * self.W).sum(axis=0)"),
    ("D44", LASSO, "np.argsort(-missing", "np.argsort(missing"),
    ("D44", THINET, "(2 * q - 2 * sums + np.diag(G))", "(0 * q - 2 * sums + np.diag(G))"),
    ("D45", MOMENTS, "self.B += square if x0 is x else x @ x0.T", "self.B += square"),
    ("D45", MOMENTS, "self.B += square if x0 is x else x @ x0.T", "self.B += square if x0 is x else x0 @ x.T"),
    ("D45", MOMENTS, "Y = W0 @ x0 if gap is None", "Y = W0 @ x if gap is None"),
)
