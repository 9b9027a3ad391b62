"""How the code behind `pruning.ledger.lagrangian` is broken: (id, file, a text that stands once in it, another)."""

ADMM = "pruning/penalties/admm.py"
MUTANTS = (
    ("S3-F5", ADMM, "* (W.data - self.Y[name] + self.U[name])\n", "* (W.data - self.Y[name] - self.U[name])\n"),
    ("S3-F5", ADMM, "self.rho[name] / 2 * square", "self.rho[name] * square"),
    ("S3-F5", ADMM, "_square(W.data - self.Y[name] + self.U[name])", "_square(W.data - self.Y[name] - self.U[name])"),
    ("C4", ADMM, "self.U[name] * (self.rho[name] / new[name])", "self.U[name] * 1.0"),
    ("C4", ADMM, "self.U[name] * (self.rho[name] / new[name])", "self.U[name] * (new[name] / self.rho[name])"),
    ("C4", ADMM, "self.U[name] + W.data - Y[name]", "self.U[name] + self.rho[name] * (W.data - Y[name])"),
)
