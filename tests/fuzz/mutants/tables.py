"""How the code behind `pruning.ledger.tables` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    (
        "S4-F11a",
        "nn/models/vggs.py",
        "Linear(head, classes, rng, dtype=dtype)]\n    return",
        "Linear(head, classes + 1, rng)]\n    return",
    ),
    (
        "S4-F11a",
        "nn/models/vggs.py",
        "512, 512, 512, 0, 512, 512, 512, 0),\n    19",
        "512, 512, 512, 0, 512, 512, 0),\n    19",
    ),
    ("S4-F11a", "pruning/counts.py", "if rule.biases or key", "if not rule.biases or key"),
    ("S4-F11b", "pruning/filters.py", "math.floor(n * (1", "math.ceil(n * (1"),
    ("S4-F11b", "nn/models/resnets.py", "stride = 2 if c_out > c_in else 1", "stride = 1"),
    ("S4-F11b", "nn/models/resnets.py", "conv_bn_relu(channels, 16, 3, rng", "conv_bn_relu(channels, 16, 5, rng"),
    ("S4-F11c", "pruning/filters.py", "math.floor(n * (1", "round(n * (1"),
    ("S4-F11c", "nn/models/resnets.py", "Linear(64, classes, rng", "Linear(64, classes + 1, rng"),
    ("S4-F11d", "pruning/counts.py", "rule.projections or not projection", "rule.projections or projection"),
    ("S4-F11d", "pruning/counts.py", 'projection or index == "shortcut"', "projection"),
    (
        "S4-F11d",
        "nn/models/resnets.py",
        "conv_bn_relu(3, 64, 7, rng, 2, dtype)",
        "conv_bn_relu(3, 64, 7, rng, 1, dtype)",
    ),
    ("S0-A2", "pruning/filters.py", "math.floor(n * (1", "math.ceil(n * (1"),
    ("S0-A2", "pruning/surgery/resizing.py", '"c_out": len(outputs), "groups"', '"c_out": layer.c_out, "groups"'),
    ("S0-A2", "pruning/filters.py", "unit * times", "unit * (times + 1)"),
)
