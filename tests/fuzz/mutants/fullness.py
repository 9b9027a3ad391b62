"""How the code behind `pruning.ledger.fullness` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    (
        "S3-F13",
        "pruning/surgery/purification.py",
        "np.mean(energies[columns] != 0)",
        "np.mean(self.live(group)[:, columns] != 0)",
    ),
    (
        "S3-F13",
        "pruning/surgery/purification.py",
        "np.mean(energies[columns] != 0)",
        "np.median(energies[columns] != 0)",
    ),
    (
        "S3-F13",
        "pruning/surgery/purification.py",
        "np.mean(energies[columns] != 0)",
        "np.sum(energies[columns] != 0) / len(energies)",
    ),
    ("C5", "pruning/surgery/purification.py", "eta < rule.fullness and", "eta <= rule.fullness and"),
    ("C5", "pruning/surgery/purification.py", "eta < rule.fullness and", "1 - eta < rule.fullness and"),
    ("C5", "pruning/surgery/purification.py", "np.mean(energies[columns] != 0)", "np.min(energies[columns] != 0)"),
    (
        "S3-F14",
        "pruning/surgery/purification.py",
        "!= 0), np.mean(energies[columns])",
        "!= 0), np.sum(energies[columns])",
    ),
    (
        "S3-F14",
        "pruning/surgery/purification.py",
        "energies = np.sum(self.live(group) ** 2, axis=0)",
        "energies = np.sum(abs(self.live(group)), axis=0)",
    ),
)
