"""How the code behind `pruning.ledger.layers` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("S0-F3", "nn/conv.py", "self.to_weights(ha, self.padded * self.padded)", "self.to_weights(ha, self.padded)"),
    ("S0-F3", "nn/conv.py", "self.b.hess_diag = sum_rows(ha)", "self.b.hess_diag = sum_rows(ha * ha)"),
    ("D6a", "nn/conv.py", "self.to_input(self.W.data * self.W.data, ha)", "self.to_input(self.W.data, ha)"),
    ("D6a", "nn/conv.py", "self.to_weights(ha, self.padded * self.padded)", "self.to_weights(ha, abs(self.padded))"),
    ("D6b", "nn/pooling.py", "self._spread(self.share * self.share * hy)", "self._spread(self.share * hy)"),
    ("D6b", "nn/pooling.py", "self.spread(share * share * ha)", "self.spread(share * ha)"),
    (
        "D6b",
        "nn/pooling.py",
        "return self.backward(gy), self.backward(hy)",
        "return self.backward(gy), self.backward(hy / 4)",
    ),
    ("D6b", "nn/batchnorm.py", "scale * scale * h", "scale * h"),
)
