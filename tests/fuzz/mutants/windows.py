"""How the code behind `pruning.ledger.windows` is broken: (id, file, a text that stands once in it, another)."""

WINDOWS, CONV = "nn/windows.py", "nn/conv.py"

MUTANTS = (
    (
        "S1-F19b",
        WINDOWS,
        "padded[channels, rows, columns, :] += cols[target",
        "padded[channels, rows, columns, :] = cols[target",
    ),
    (
        "S1-F19b",
        WINDOWS,
        "return padded[:, top : H - bottom, left : W - right, :]",
        "return padded[:, bottom : H - top, left : W - right, :]",
    ),
    ("S1-F19b", WINDOWS, "top, left = i * DH + first * SH, j * DW", "top, left = i * DH + first * SH, j * DH"),
    ("S1-F19d", WINDOWS, "room = size + before + after - d * (k - 1) - 1", "room = size + before + after - d * k"),
    ("S1-F19d", WINDOWS, "sizes.append(room // s + 1)", "sizes.append(-(-room // s) + 1)"),
    (
        "C1",
        WINDOWS,
        "(slice(row, row + 1), slice(k // size, k // size + 1), positions[k % size])",
        "(slice(row, row + 1), slice(k % C, k % C + 1), positions[k // C])",
    ),
    (
        "C1",
        CONV,
        "rows = get_array_module(W).reshape(W, (self.c_out, -1))",
        "rows = get_array_module(W).reshape(W, (-1, self.c_out)).T",
    ),
)
