"""How the code behind `pruning.ledger.descent` is broken: (id, file, a text that stands once in it, another)."""

FILE = "textbook/coordinate_descent.py"
DIVIDED = "new = soft_threshold(z_j, lam) / a_j"

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("S1-F15", FILE, "z_j = x_j @ r / n + a_j * beta[j]", "z_j = x_j @ r / n"),
    ("S1-F15", FILE, DIVIDED, "new = soft_threshold(z_j, 2 * lam) / a_j"),
    ("S1-F15", FILE, "r = y - X @ beta\n        gain = _sweep_columns", "r = y + 0\n        gain = _sweep_columns"),
    ("S1-F16", FILE, DIVIDED, "new = soft_threshold(z_j, lam)"),
    ("S1-F16", FILE, "z_j = x_j @ r / n + a_j * beta[j]", "z_j = x_j @ r / n + beta[j]"),
    ("S1-F17", FILE, DIVIDED, "new = soft_threshold(z_j / a_j, lam)"),
    ("S1-F17", FILE, "r -= difference * x_j", "r -= 0 * difference * x_j"),
    ("S1-F17", FILE, DIVIDED, "new = soft_threshold(z_j, lam)"),
)
