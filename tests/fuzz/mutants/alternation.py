"""How the code behind `pruning.ledger.alternation` is broken: (id, file, a text that stands once in it, another)."""

NEAREST = "pruning/reconstruction/approximation.py"

MUTANTS = (
    ("D11", NEAREST, "W @ A[:, columns] @ inverse", "W[:, columns]"),
    ("D11", NEAREST, "i * size + j for i", "i + j * channels for i"),
    ("D12", NEAREST, "W @ A[:, columns] @ inverse", "W[:, columns]"),
    ("D12", NEAREST, "np.sum(D @ A * D)", "np.sum(D * D)"),
)
