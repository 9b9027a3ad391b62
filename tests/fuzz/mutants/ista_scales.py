"""How the code behind `pruning.ledger.ista_scales` is broken: (id, file, a text that stands once in it, another)."""

SCALES = "pruning/penalties/ista_scales.py"
BOTH = "factor * norm.gamma.data, factor * norm.beta.data"
MUTANTS = (
    ("D7", SCALES, BOTH, "factor * norm.gamma.data, norm.beta.data"),
    ("D7", SCALES, "rho * cost)", "rho)"),
    ("D7b", SCALES, BOTH, "norm.gamma.data / factor, norm.beta.data / factor"),
    ("D7b", SCALES, "reader.W.data = reader.W.data / _spread", "reader.W.data = reader.W.data * _spread"),
    ("D7b", SCALES, "if isinstance(module, Conv2d | Linear) and any(read[name]):", "if False:"),
    ("D7c", SCALES, "total += sum(", "total += 2 * sum("),
    ("D7c", SCALES, " + maps[maker.name]", ""),
    ("D7c", SCALES, 'own = math.prod(dict(maker.layer.named_parameters())["W"].shape[1:])', "own = 0"),
)
