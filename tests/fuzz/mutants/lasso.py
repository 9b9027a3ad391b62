"""How the code behind `pruning.ledger.lasso` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("C3", "textbook/exact/working_set.py", "L, r, q = n * lam, y, X.T @ y", "L, r, q = 2 * n * lam, y, X.T @ y"),
    ("C3", "textbook/exact/sign_fixed.py", "dpotrs(R, (g - L * s)[A])[0]", "dpotrs(R, (g - L)[A])[0]"),
    ("C3", "textbook/exact/sign_fixed.py", "s = np.sign(np.where(zero, g, w))", "s = np.sign(np.where(zero, -g, w))"),
    ("S1-F10", "textbook/certificates.py", "float(np.max(np.abs(c))), exponent", "float(np.max(c)), exponent"),
    ("S1-F10", "textbook/certificates.py", "to_numpy(X.T @ y) / X.shape[0], i + j", "to_numpy(X.T @ y), i + j"),
    (
        "S1-F10",
        "textbook/exact/working_set.py",
        "newton(problem, L, slack, UNFINISHED",
        "newton(problem, L / 2, slack, UNFINISHED",
    ),
    ("S1-Q3", "textbook/exact/working_set.py", "L, r, q = n * lam, y, X.T @ y", "L, r, q = 0.1 * lam, y, X.T @ y"),
    (
        "S1-Q3",
        "textbook/exact/working_set.py",
        "weight = data.X, data.y, float(data.lam(lam))",
        "weight = data.X, data.y, 0.0",
    ),
)
