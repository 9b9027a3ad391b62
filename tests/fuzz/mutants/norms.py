"""How the code behind `pruning.ledger.norms` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S4-F8", "nn/branches.py", "return y + z", "return y"),
    ("S4-F8", "pruning/scores/filter_norm.py", "xp.sum(xp.abs(rows), axis=1) if", "xp.sum(-xp.abs(rows), axis=1) if"),
    (
        "S4-F9",
        "pruning/surgery/resizing.py",
        "_by_row(layer, layer.channels, outputs)",
        "_by_row(layer, layer.channels, list(range(len(outputs))))",
    ),
    (
        "S4-F9",
        "pruning/surgery/resizing.py",
        "_by_row(layer, layer.channels, outputs)",
        "_by_row(layer, layer.channels, outputs[::-1])",
    ),
    ("S4-F9", "pruning/surgery/resizing.py", "*layer.named_buffers()]", "]"),
    (
        "D17",
        "nn/batchnorm.py",
        "self.gamma.data / xp.sqrt(self.running_variance + self.eps)",
        "self.gamma.data / xp.sqrt(self.running_variance)",
    ),
    (
        "D17",
        "nn/batchnorm.py",
        "folded.W.data = layer.W.data * xp.reshape(s",
        "folded.W.data = layer.W.data * xp.reshape(s * s",
    ),
)
