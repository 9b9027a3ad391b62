"""How the code behind `pruning.ledger.counts` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    ("C8", "pruning/counts.py", "biases=False,\n        projections=False", "biases=True,\n        projections=False"),
    ("C8", "pruning/counts.py", "(Conv2d, Linear),\n", "(Module,),\n"),
    ("C8", "pruning/counts.py", "(Conv2d, Linear),\n", "(Conv2d,),\n"),
    ("S4-F1", "nn/windows.py", "room // s + 1", "room // s + 2"),
    ("S4-F1", "nn/windows.py", "top, left = i * DH + first * SH, j * DW", "top, left = j * DH + first * SH, i * DW"),
    ("S4-F1", "nn/conv.py", "        return (self.c_out, *size)", "        return (self.c_in, *size[::-1])"),
    (
        "S4-F2",
        "pruning/counts.py",
        "(math.prod(module.W.shape[1:]) + biases) *",
        "(math.prod(module.W.shape) + biases) *",
    ),
    ("S4-F2", "pruning/counts.py", "+ biases) * math.prod(output)", "+ biases) * output[0] * math.prod(shape[1:])"),
    ("S4-F2", "nn/conv.py", "shape = c_in // groups, *self.geometry.kernel", "shape = c_in, *self.geometry.kernel"),
    ("S4-F3", "pruning/counts.py", "+ biases) * math.prod(output)", "+ biases) * output[0] * math.prod(shape[1:])"),
    ("S4-F3", "pruning/surgery/resizing.py", '"c_out": len(outputs), "groups"', '"c_out": layer.c_out, "groups"'),
    ("S4-F3", "pruning/counts.py", "math.prod(module.W.shape[1:]) + biases", "math.prod(module.W.shape[2:]) + biases"),
    ("S4-F4", "pruning/counts.py", "+ biases) * math.prod(output)", "+ biases) * output[0] * math.prod(shape[1:])"),
    (
        "S4-F4",
        "pruning/surgery/resizing.py",
        'sizes: dict[str, Any] = {"c_in": len(inputs)',
        'sizes: dict[str, Any] = {"c_in": layer.c_in',
    ),
    ("S4-F4", "pruning/counts.py", "math.prod(module.W.shape[1:]) + biases", "math.prod(module.W.shape[2:]) + biases"),
)
