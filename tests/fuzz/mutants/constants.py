"""How the code behind `pruning.ledger.constants` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S3-F11a", "pruning/surgery/folding.py", "else new.b.data + b", "else new.b.data - b"),
    (
        "S3-F11a",
        "pruning/surgery/constants.py",
        "return (x.uneven | pads(layer)) & x.nonzero()",
        "return x.uneven & x.nonzero()",
    ),
    (
        "S3-F11a",
        "pruning/surgery/constants.py",
        "return x.constant | stopped, x.uneven & ~stopped",
        "return stopped, x.uneven & ~stopped",
    ),
    ("S3-F11b", "pruning/surgery/folding.py", "new.bias_map = added + asarray", "new.bias_map = 0 * added + asarray"),
    (
        "S3-F11b",
        "pruning/surgery/constants.py",
        '(each.uneven and border == "refuse")',
        '(each.uneven and border == "fold")',
    ),
    ("S3-F11c", "pruning/surgery/constants.py", "np.repeat(x.constant, pixels)", "np.tile(x.constant, pixels)"),
    (
        "S3-F11c",
        "pruning/surgery/folding.py",
        "emitted.trace.roots[site.inputs[column]] in gone for",
        "emitted.trace.roots[site.inputs[column]] not in gone for",
    ),
    ("S3-F11c", "pruning/surgery/folding.py", "else new.b.data + b", "else new.b.data - b"),
    ("S3-F11d", "pruning/surgery/constants.py", "(layer.count_padding and pads(layer))", "pads(layer)"),
    ("S3-F11d", "pruning/surgery/constants.py", "x.uneven | (x.nonzero() & (layer", "x.uneven & (x.nonzero() & (layer"),
    ("S3-F11d", "nn/pooling.py", "self.geometry.pad(x, -math.inf)", "self.geometry.pad(x)"),
    ("C6", "pruning/surgery/folding.py", "b if self.layer.b is None else new.b.data + b", "b"),
    ("C6", "pruning/surgery/folding.py", "return W * asarray(np.reshape(dead, W.shape), like=W)", "return W"),
)
