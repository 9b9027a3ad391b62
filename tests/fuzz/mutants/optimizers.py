"""How the code behind `pruning.ledger.optimizers` is broken: (id, file, a text that stands once in it, another)."""

SGD, INIT = "nn/optimizers.py", "nn/initializers.py"

MUTANTS = (
    ("S0-A5a", SGD, "g = g + self.momentum * v if self.nesterov else v", "g = v if self.nesterov else v"),
    ("S0-A5a", SGD, "            v += g\n", "            v += (1 - self.momentum) * g\n"),
    ("S0-A5a", SGD, "parameter.grad + decay * parameter.data", "parameter.grad + decay"),
    ("S0-A5b", INIT, "math.sqrt(2 / _fan_in(shape))", "math.sqrt(1 / _fan_in(shape))"),
    ("S0-A5b", INIT, "return math.prod(shape[1:])", "return shape[1]"),
    (
        "S0-A5c",
        SGD,
        "sum(epoch >= milestone for milestone in epochs)",
        "sum(epoch > milestone for milestone in epochs)",
    ),
    ("S0-A5c", SGD, "rate * by ** sum(", "rate * by * sum("),
)
