"""How the code behind `pruning.ledger.admm` is broken: (id, file, a text that stands once in it, another)."""

ADMM, SPLITTING = "pruning/penalties/admm.py", "textbook/splitting.py"
MUTANTS = (
    ("S3-F4", SPLITTING, "x = prox_f(z - u, rho)", "x = prox_f(z + u, rho)"),
    ("S3-F4", SPLITTING, "prox_g(relaxed + u, rho)", "prox_g(relaxed - u, rho)"),
    ("S3-F4", SPLITTING, "u = u + relaxed - z", "u = u - relaxed + z"),
    ("S3-F6", SPLITTING, "(q + rho * v)) / (d + rho)", "(q + v)) / (d + rho)"),
    ("S3-F6", SPLITTING, "(X @ v - y)) / (d + rho))) / n", "(X @ v - y)) / (d + rho)))"),
    ("S3-F6", ADMM, "* (W.data - self.Y[name] + self.U[name])\n", "* (W.data - self.Y[name] - self.U[name])\n"),
    ("S3-F7", ADMM, "self._project(name, W.data + self.U[name])", "self._project(name, W.data)"),
    ("S3-F7", ADMM, "self._project(name, W.data + self.U[name])", "self._project(name, W.data - self.U[name])"),
    ("S3-F7", ADMM, "        self.Y = Y\n", "        Z = Y  # noqa: F841\n"),
    ("S3-F8", ADMM, "self.U[name] + W.data - Y[name]", "self.U[name] - W.data + Y[name]"),
    ("S3-F8", ADMM, "self.U[name] + W.data - Y[name]", "W.data - Y[name]"),
    ("S3-F8", ADMM, "self.U[name] + W.data - Y[name]", "self.U[name] + W.data - self.Y[name]"),
)
