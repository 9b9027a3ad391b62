"""How the code behind `pruning.ledger.rates` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S4-F11e", "pruning/filters.py", "math.floor(n * (1 - Fraction(str(share))))", "int(n * (1 - share))"),
    ("S4-F11e", "pruning/filters.py", "max(1, math.floor", "max(0, math.floor"),
    ("S3-A1", "pruning/counts.py", "(Conv2d,), biases=False)", "(Conv2d, Linear), biases=False)"),
    ("S3-A1", "pruning/surgery/removal.py", "len(kept) == math.prod(module.W.shape[1:])", "len(kept) < 21"),
    ("S3-A1b", "pruning/counts.py", "(Conv2d,), biases=False)", "(Conv2d,), biases=False, projections=False)"),
    ("S3-A1b", "nn/models/resnets.py", "changes = stride > 1 or c_in != c_out", "changes = True"),
    ("S4-F10", "nn/branches.py", "concat([kept, nothing], axis=0)", "concat([nothing, kept], axis=0)"),
    (
        "S4-F10",
        "nn/models/resnets.py",
        "ZeroPadShortcut(c_out - c_in, stride) if c_out",
        "conv_bn(c_in, c_out, 1, rng, stride, dtype)[0] if c_out",
    ),
    (
        "S4-F10",
        "nn/branches.py",
        "kept = x[:, :: self.stride, :: self.stride, :]",
        "kept = x[:, self.stride - 1 :: self.stride, :: self.stride, :]",
    ),
)
