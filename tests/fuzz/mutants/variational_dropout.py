"""How the code behind `pruning.ledger.variational_dropout` is broken: (id, file, a text that stands once, another)."""

DROPOUT = "pruning/penalties/variational_dropout.py"
MUTANTS = (
    ("D75", DROPOUT, ".log(theta * theta + TINY)", ".log(2 * theta * theta + TINY)"),
    ("D75", DROPOUT, "return 2 * rho - get_array_module", "return rho - get_array_module"),
    (
        "D75a",
        DROPOUT,
        "self.product(self.S, self.seen() * self.seen(), None)",
        "self.product(self.S, self.seen(), None)",
    ),
    (
        "D75a",
        DROPOUT,
        "self.to_weights(2 * self.gv, self.seen() * self.seen())",
        "self.to_weights(2 * self.gv, self.seen())",
    ),
    ("D75a", DROPOUT, "+ 2 * self.image * self.to_input", "+ self.image * self.to_input"),
    ("D75b", DROPOUT, "self.log_alpha() < self.threshold", "self.log_alpha() > self.threshold"),
    (
        "D75b",
        DROPOUT,
        "layer.W.data, layer.W.mask = self.W.data * kept, kept",
        "layer.W.data, layer.W.mask = self.W.data, kept",
    ),
    ("D76", DROPOUT, "return K1 - K1 * Sigmoid()", "return -K1 * Sigmoid()"),
    ("D76", DROPOUT, "w / (1 + w) / (1 + w)", "w / (1 + w)"),
    ("D76a", DROPOUT, "return asarray(-x * dawsn(x)", "return asarray(x * dawsn(x)"),
    ("D76a", DROPOUT, "dawsn(x * (1 + t) / 2)", "dawsn(x * (1 + t))"),
    ("D76a", DROPOUT, "far = log_x - DIGAMMA_HALF / 2", "far = log_x - DIGAMMA_HALF"),
    ("D76b", DROPOUT, "else self.ramp.value) / self.patterns", "else 1.0) / self.patterns"),
    ("D76b", DROPOUT, "layer.W.grad = layer.W.grad - pull", "layer.W.grad = layer.W.grad + pull"),
    ("D76b", DROPOUT, "- pull * theta / (theta", "- pull * abs(theta) / (theta"),
    ("D77", DROPOUT, "near = x * sum(", "near = 2 * x * sum("),
    ("D77", DROPOUT, "log_x = -(to_numpy(log_alpha)", "log_x = (to_numpy(log_alpha)"),
)
