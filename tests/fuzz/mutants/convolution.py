"""How the code behind `pruning.ledger.convolution` is broken: (id, file, a text that stands once in it, another)."""

WINDOWS, CONV = "nn/windows.py", "nn/conv.py"

MUTANTS = (
    (
        "S1-F19a",
        WINDOWS,
        "padded[:, top : top + H, left : left + W, :] = x",
        "padded[:, bottom : bottom + H, left : left + W, :] = x",
    ),
    ("S1-F19a", WINDOWS, "top, left = i * DH + first * SH, j * DW", "top, left = i + first * SH, j * DW"),
    ("S1-F19a", WINDOWS, "slice(k, C * size, size)", "slice(k * C, k * C + C)"),
    ("S1-F19a", CONV, "rows[g * per_group : (g + 1) * per_group, :]", "rows[:per_group, :]"),
    (
        "S1-F19c",
        WINDOWS,
        "padded[channels, rows, columns, :] += cols[target",
        "padded[channels, rows, columns, :] = cols[target",
    ),
    ("S1-F19c", CONV, "self.b.grad = sum_rows(ga)", "self.b.grad = sum_rows(ga) / ga.shape[-1]"),
    (
        "S1-F19c",
        CONV,
        "W_group.T @ self._matrix(ga_group, rows), target",
        "W_group[:, ::-1].T @ self._matrix(ga_group, rows), target",
    ),
    (
        "S1-F19c",
        CONV,
        "self.W.grad = self.to_weights(ga, self.padded)",
        "self.W.grad = self.to_weights(ga, self.padded) / ga.shape[-1]",
    ),
)
