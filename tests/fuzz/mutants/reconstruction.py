"""How the code behind `pruning.ledger.reconstruction` is broken: (id, file, a text that stands once, another)."""

NEAREST = "pruning/reconstruction/approximation.py"

MUTANTS = (
    ("S1-F20b", NEAREST, "np.linalg.svd(W @ _root(A), full", "np.linalg.svd(W, full"),
    ("S1-F20b", NEAREST, "np.sqrt(np.maximum(values, 0.0)) @ vectors.T", "np.maximum(values, 0.0) @ vectors.T"),
    ("S1-F20b", NEAREST, "[0][:, :rank]", "[0][:, -rank:]"),
    ("S1-F26", NEAREST, "np.sum(D @ A * D)", "np.sum(D * D)"),
    ("S1-F26", NEAREST, "i * size + j for i", "i + j * channels for i"),
    ("S1-F26", NEAREST, "W @ A[:, columns] @ inverse", "W[:, columns]"),
    ("S1-F29", NEAREST, "W @ A[:, columns] @ inverse", "W[:, columns]"),
    ("S1-F29", NEAREST, "W @ A[:, columns] @ inverse", "W[:, columns] @ A[np.ix_(columns, columns)] @ inverse"),
    ("S1-F29", NEAREST, "i * size + j for i", "i + j * channels for i"),
)
