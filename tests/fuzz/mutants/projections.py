"""How the code behind `pruning.ledger.projections` is broken: (id, file, a text that stands once in it, another)."""

ADMM, PROJECTIONS, PROXIMAL = "pruning/penalties/admm.py", "pruning/penalties/projections.py", "textbook/proximal.py"
MUTANTS = (
    ("S3-F2", PROJECTIONS, "return lambda v: keep_largest(v, k)", "return lambda v: keep_largest(v, k - 1)"),
    ("S3-F2", PROJECTIONS, "keep_largest_columns(matrix(v), k)", "keep_largest_rows(matrix(v), k)"),
    ("S3-F2", PROJECTIONS, "C = v.shape[1]", "C = math.prod(v.shape[1:])"),
    ("S3-F3", ADMM, "W.data + self.U[name]) for name", "W.data + self.U[name] / self.rho[name]) for name"),
    ("S3-F3", ADMM, "W.data + self.U[name]) for name", "W.data - self.U[name]) for name"),
    ("S3-F9", PROXIMAL, "xp.sum((w / scale) ** 2, axis=1)", "xp.sum(xp.abs(w / scale), axis=1)"),
    ("S3-F9", PROXIMAL, "xp.sum((w / scale) ** 2, axis=1)", "xp.max((w / scale) ** 2, axis=1)"),
    ("S3-F9", PROXIMAL, "sizes > cutoff", "sizes < cutoff"),
)
