"""How the code behind `pruning.ledger.purification` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS = (
    (
        "S3-F15",
        "pruning/surgery/purification.py",
        "eta < rule.fullness and sigma < rule.energy",
        "eta < rule.fullness or sigma < rule.energy",
    ),
    (
        "S3-F15",
        "pruning/surgery/purification.py",
        "self.keep[np.ix_(group, weak)] = False",
        "self.keep[np.ix_(group, weak)] = True",
    ),
    ("S3-F15", "pruning/surgery/purification.py", "and size < rule.filter", "and size > rule.filter"),
    ("S3-F15", "pruning/surgery/purification.py", "< rule.column", "<= rule.column"),
    ("S3-F15", "pruning/surgery/purification.py", "eta < rule.fullness", "eta <= rule.fullness"),
    ("S3-F15", "pruning/surgery/purification.py", "sigma < rule.energy", "sigma <= rule.energy"),
    ("S3-F15", "pruning/surgery/purification.py", "and size < rule.filter", "and size <= rule.filter"),
    (
        "S3-F15",
        "pruning/surgery/purification.py",
        "[:, [channel not in dead for channel in channels.tolist()]]",
        "",
    ),
    (
        "S3-F15b",
        "pruning/surgery/purification.py",
        "read, dead = outputs | _read(layers, trace)",
        "read, dead = _read(layers, trace)",
    ),
    (
        "S3-F15b",
        "pruning/surgery/purification.py",
        "zip(channels, np.any(self.live(group), axis=0).tolist())",
        "zip(channels, np.all(self.live(group), axis=0).tolist())",
    ),
    (
        "S3-F15c",
        "pruning/surgery/purification.py",
        "while left != (left := sum(int(layer.keep.sum()) for layer in layers.values())):",
        "for left in range(1):",
    ),
    ("S3-F15c", "pruning/surgery/purification.py", "if not layers[name].lives():", "if name not in layers:"),
)
