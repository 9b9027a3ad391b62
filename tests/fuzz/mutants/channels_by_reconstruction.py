"""How the code behind `pruning.ledger.channels_by_reconstruction` is broken: (id, file, a text in it, another)."""

THINET = "pruning/reconstruction/thinet.py"
MOMENTS = "pruning/reconstruction/moments.py"

MUTANTS = (
    ("S0-A3", THINET, "(2 * q - 2 * sums + np.diag(G))", "(np.diag(G) + 0 * q)"),
    ("S0-A3", THINET, "int(np.argmin(added))", "int(np.argmax(added))"),
    ("S0-A3", THINET, "sums = sums - G[:, gone[-1]]", "sums = sums + 0.0"),
    ("D40", MOMENTS, "self.energy - 2 * self.q[kept].sum()", "self.energy - self.q[kept].sum()"),
    ("D40", MOMENTS, "(self.C * self.W).sum(axis=0)", "(self.W @ self.A * self.W).sum(axis=0)"),
    ("D40", MOMENTS, "pseudo_inverse(self.G[np.ix_(kept, kept)])", "pseudo_inverse(self.G)[np.ix_(kept, kept)]"),
    ("D40", MOMENTS, "pseudo_inverse(self.A[np.ix_(columns, columns)])",
     "pseudo_inverse(self.A)[np.ix_(columns, columns)]"),
    ("D41", THINET, "(2 * q - 2 * sums + np.diag(G))", "(q - sums + np.diag(G))"),
    ("D41", THINET, "(2 * q - 2 * sums + np.diag(G))", "(2 * q - 2 * sums)"),
    ("D41", THINET, "(2 * q - 2 * sums + np.diag(G))", "(2 * G.sum(axis=1) - 2 * sums + np.diag(G))"),
)  # fmt: skip
