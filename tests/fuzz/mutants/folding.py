"""How the code behind `pruning.ledger.folding` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S3-F10", "pruning/surgery/removal.py", "-1).any(axis=0)).tolist()", "-1).all(axis=0)).tolist()"),
    ("S3-F10", "nn/windows.py", "positions[k % size]) for row, k", "positions[k // size]) for row, k"),
    ("S3-F10", "pruning/surgery/resizing.py", "if channel in there] for group", "if channel not in there] for group"),
    (
        "S3-F10",
        "pruning/surgery/removal.py",
        "cut_like(layer, [(rows, kept)], rows)",
        "cut_like(layer, [(rows, kept[::-1])], rows)",
    ),
    (
        "S3-F12",
        "pruning/surgery/constants.py",
        "np.any(matrix[rows[stay[rows]]] != 0, axis=0)",
        "np.any(matrix[rows[stay[rows]]] == 0, axis=0)",
    ),
    (
        "S3-F12",
        "pruning/channels/tracing.py",
        "for labels in (one, other) for label, out",
        "for labels in (one,) for label, out",
    ),
    (
        "S3-F12",
        "pruning/channels/members.py",
        "group * per_group + k // area for k",
        "group * per_group + k % per_group for k",
    ),
    (
        "D16",
        "nn/batchnorm.py",
        "zeros(layer.W.shape[:1], like=s) if layer.b is None else layer.b.data",
        "zeros(layer.W.shape[:1], like=s)",
    ),
    (
        "D16",
        "nn/batchnorm.py",
        "return self.gamma.data / xp.sqrt(self.running_variance + self.eps)",
        "return self.gamma.data / xp.sqrt(self.running_variance)",
    ),
    (
        "D16b",
        "nn/batchnorm.py",
        "return self.gamma.data / xp.sqrt(self.running_variance + self.eps)",
        "return self.gamma.data / xp.sqrt(self.running_variance)",
    ),
    ("D16b", "pruning/surgery/folding.py", "first, layers[i] = layers[front], Identity()", "first = layers[front]"),
    ("D16b", "pruning/surgery/folding.py", "layers[front] = fold_pair(first, layer)", "layers[front] = first"),
)
