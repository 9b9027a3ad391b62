"""How the code behind `pruning.ledger.convergence` is broken: (id, file, a text that stands once in it, another)."""

SPLITTING, PROXIMAL = "textbook/splitting.py", "textbook/proximal.py"
MUTANTS = (
    ("D14", SPLITTING, "lambda v, _: project_l1_ball(v, radius)", "lambda v, rho: project_l1_ball(v, radius / rho)"),
    ("D14", PROXIMAL, "xp.zeros_like(w))) - radius) / count", "xp.zeros_like(w))) - radius) / (count + 1)"),
    ("D15", SPLITTING, "lambda v, _: keep_largest(v, k)", "lambda v, _: keep_largest(v, k + 1)"),
    ("D15", SPLITTING, "q = X.T @ y / n", "q = X.T @ y"),
    (
        "D15",
        SPLITTING,
        "return SplitSolution(x, z, u, rho, len(primal)",
        "return SplitSolution(z, x, u, rho, len(primal)",
    ),
)
