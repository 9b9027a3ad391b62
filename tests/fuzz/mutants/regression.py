"""How the code behind `pruning.ledger.regression` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    (
        "S1-F1",
        "textbook/units.py",
        "zeros_like(array), array - means - left), means",
        "zeros_like(array), array), means",
    ),
    ("S1-F1", "textbook/unit_problem.py", "float(self.y_mean) - means", "float(self.y_mean) + means"),
    (
        "S1-F1",
        "textbook/regression.py",
        "intercept=problem.constant(rounded),\n    )\n\n\ndef minimum",
        "\n    )\n\n\ndef minimum",
    ),
    (
        "S1-F2",
        "textbook/regression.py",
        "np.linalg.lstsq(Z, y, rcond=None)",
        "np.linalg.lstsq(Z.T @ Z, Z.T @ y, rcond=None)",
    ),
    (
        "S1-F2",
        "textbook/regression.py",
        "return np.ldexp(gamma, -units), int(rank)",
        "return np.ldexp(gamma, units), int(rank)",
    ),
    (
        "S1-F2",
        "textbook/regression.py",
        "U, s, V = np.linalg.svd(Z, full_matrices=False)  #",
        "return np.ldexp(gamma, -units), rank  #",
    ),
    ("S1-F3", "textbook/sensitivity.py", "moved[i] += step_i", "moved += step_i"),
    (
        "S1-F3",
        "textbook/sensitivity.py",
        "(_value(f, moved) - nominal) / taken",
        "(_value(f, moved) - nominal) / abs(taken)",
    ),
    ("S1-F3", "textbook/sensitivity.py", "moved = x.copy()", "moved = x"),
    ("S1-F8", "textbook/regression.py", "system = G + 2 * n * lam * np.eye", "system = G + n * lam * np.eye"),
    ("S1-F8", "textbook/regression.py", "G = X.T @ X if p <= n else X @ X.T", "G = X.T @ X if p <= n else X @ X.T / n"),
    ("S1-F8", "textbook/regression.py", "scaled(lam, -2 * problem.i)", "scaled(lam, -problem.i)"),
)
