"""How the code behind `pruning.ledger.scaling_factors` is broken: (id, file, a text that is there once, another)."""

FACTORS = "pruning/penalties/scaling_factors.py"
FAMILIES = "pruning/penalties/families.py"
FOLDING = "pruning/surgery/folding.py"
SCALE = "nn/scale.py"
GROUP = "replace(family, strength=(1 - part) * family.strength)"
MUTANTS = (
    ("D60", FACTORS, "v = z - s + momentum * v\n", "v = z + momentum * v\n"),
    ("D60", FACTORS, "step * strength)\n", "strength)\n"),
    ("D60", FACTORS, "clipped = xp.maximum(new, xp.zeros_like(new))", "clipped = new"),
    ("D61", FACTORS, "clipped = xp.maximum(new, xp.zeros_like(new))", "clipped = new"),
    ("D61", FACTORS, "return z + momentum * v, v", "return z - momentum * v, v"),
    ("D62", FAMILIES, f"return [*singles, {GROUP}]", f"return [{GROUP}, *singles]"),
    ("D62", FAMILIES, GROUP, "family"),
    ("D63", FOLDING, "(layer.gamma, layer.beta) if isinstance", "(layer.gamma,) if isinstance"),
    ("D63", FACTORS, "and not to_numpy(scale.s.data).any()]", "and to_numpy(scale.s.data).any()]"),
    ("D64", FACTORS, ".sum(abs(s.data))", ".sum(s.data * s.data)"),
    ("D64", SCALE, "self.factor()[:, None] * self.rows, shape", "self.rows, shape"),
)
