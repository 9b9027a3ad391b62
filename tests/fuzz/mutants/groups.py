"""How the code behind `pruning.ledger.groups` is broken: (id, file, a text that stands once in it, another)."""

SOLVER, BLOCKS = "textbook/exact/grouped_working_set.py", "textbook/exact/blocks.py"
LOOP, PROX, CERTIFICATES = "textbook/coordinate_descent.py", "textbook/proximal.py", "textbook/certificates.py"

MUTANTS = (
    ("S1-F18", SOLVER, "for g in groups]), lam * weights)", "for g in groups]), lam / weights)"),
    ("S1-F18", SOLVER, "        c = X.T @ r / n", "        c = X.T @ r / (n - 1)"),
    (
        "S1-F18a",
        CERTIFICATES,
        "return to_numpy(X.T @ y) / X.shape[0], i + j",
        "return to_numpy(X.T @ y) / X.shape[1], i + j",
    ),
    ("S1-F18a", CERTIFICATES, "return np.sqrt(_dots(v, v, groups))", "return _dots(v, v, groups)"),
    ("S1-F18b", PROX, "return (1 - lam / size) * w", "return (1 - lam / (size + lam)) * w"),
    ("S1-F18b", PROX, "if size <= lam:", "if size <= 0:"),
    ("S1-F18c", LOOP, "return z * v / (d * v + lam)", "return z * v / (d + lam)"),
    ("S1-F18c", LOOP, "z = X_g.T @ r / n + d * blocks[g]", "z = X_g.T @ r / n + blocks[g]"),
    ("S1-F18c", LOOP, "curvatures.append(S * S / n)", "curvatures.append(S / n)"),
    ("D8", SOLVER, "r = y - w @ model.rows", "r = y + w @ model.rows"),
    ("D8", BLOCKS, "return np.sqrt(self.dots(a, a))", "return self.dots(a, a)"),
)
