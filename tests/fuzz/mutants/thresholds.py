"""How the code behind `pruning.ledger.thresholds` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("S1-F12", "textbook/proximal.py", "T = 1.5 * math.cbrt(lam) ** 2", "T = 1.5 * math.cbrt(lam)"),
    (
        "S1-F12",
        "textbook/proximal.py",
        "2 / 3 * w * (1 + xp.cos(2 / 3 * xp.acos(",
        "2 / 3 * w * (1 + xp.cos(1 / 3 * xp.acos(",
    ),
    ("S1-F12", "textbook/proximal.py", "-math.sqrt(0.5) * ratio**1.5", "math.sqrt(0.5) * ratio**1.5"),
    ("S1-F12", "textbook/proximal.py", "math.sqrt(2) * math.sqrt(lam)", "math.sqrt(lam)"),
    (
        "S1-F13",
        "textbook/proximal.py",
        "w - xp.minimum(xp.maximum(w, -lam), lam)",
        "w - xp.minimum(xp.maximum(w, -lam / 2), lam / 2)",
    ),
    ("S1-F13", "textbook/proximal.py", "w - xp.minimum(xp.maximum(w, -lam), lam)", "w - xp.minimum(w, lam)"),
    (
        "S1-F13",
        "textbook/proximal.py",
        "w - xp.minimum(xp.maximum(w, -lam), lam)",
        "xp.minimum(xp.maximum(w, -lam), lam)",
    ),
)
