"""How the code behind `pruning.ledger.subsets` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "S1-F5",
        "textbook/norms.py",
        "float(xp.sum((magnitude / largest) ** p)) ** (1 / p)",
        "float(xp.sum((magnitude / largest) ** p)) ** p",
    ),
    ("S1-F5", "textbook/norms.py", 'abs(as_floats(x, "x"))', 'as_floats(x, "x")'),
    ("S1-F5", "textbook/norms.py", "if largest == 0 or p == math.inf:", "if largest == 0 or p > 2:"),
    ("S1-Q1", "textbook/norms.py", "xp.astype(magnitude > 0, xp.float64)", "xp.astype(magnitude >= 0, xp.float64)"),
    (
        "S1-Q1",
        "textbook/norms.py",
        "if p == 0:\n        return float(xp.sum(xp.astype(magnitude > 0, xp.float64)))",
        "if p == 0:\n        return float(xp.sum(magnitude))",
    ),
    ("S1-F6", "textbook/matching_pursuit.py", "if error < least - ROUNDING", "if error > least - ROUNDING"),
    (
        "S1-F6",
        "textbook/matching_pursuit.py",
        "itertools.combinations(range(p), k)",
        "itertools.combinations(range(p - 1), k)",
    ),
    (
        "S1-F6",
        "textbook/matching_pursuit.py",
        "fit = least_squares(X[:, support], y)",
        "fit = least_squares(X[:, support], y, intercept=True)",
    ),
    ("S1-F7", "textbook/matching_pursuit.py", "np.abs(X.T @ r) / norms", "np.abs(X.T @ r)"),
    ("S1-F7", "textbook/matching_pursuit.py", "r = r - z[m] * Q[:, m]", "r = scaled(y, -unit)"),
    ("S1-F7", "textbook/matching_pursuit.py", "q = q - Q[:, :m] @ h", "q = q - 0.5 * Q[:, :m] @ h"),
)
