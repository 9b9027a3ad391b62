"""How the code behind `pruning.ledger.self_adaptive` is broken: (id, file, a text that stands once in it, another)."""

LAYER = "pruning/dynamic/self_adaptive.py"
THROUGH = "pruning/dynamic/straight_through.py"
MUTANTS = (
    ("D140", LAYER, "(v > 0) & (v < 1), 1.2", "(v > -1) & (v < 2), 1.2"),
    ("D140", LAYER, "1.2 * Sigmoid().df(s)", "Sigmoid().df(s)"),
    ("D140", LAYER, "soft * relaxed(self.s) + (1 - soft) * decisions(self.s)", "relaxed(self.s)"),
    ("D140", LAYER, "gv = sum_positions(gy * self.a)", "gv = sum_positions(gy * self.a * self.v[:, None, None, :])"),
    ("D141", LAYER, "sum(layer.size() * i * o for", "sum(layer.size() * o for"),
    ("D141", LAYER, "return [layers[0].conv.c_in, *n_out[:-1]]",
     "return [layer.conv.c_in for layer in layers]"),
    ("D141", LAYER, "[*read[1:], 0.0]", "[0.0 for _ in read]"),
    ("D141", LAYER, "2 * self.strength * self.excess", "self.strength * self.excess"),
    ("D141", LAYER, "math.prod(self.conv.geometry.kernel) *", "1 *"),
    ("D142", THROUGH, "* (2 * b - 1) *", "* b *"),
    ("D142", THROUGH, "b * opened[:, None] + (1 - b) * closed[:, None]",
     "(1 - b) * opened[:, None] + b * closed[:, None]"),
    ("D142", THROUGH, "np.prod(np.delete(p, i, axis=0), axis=0)", "np.prod(p, axis=0)"),
    ("D142", THROUGH, "KINK = math.log(11)", "KINK = math.log(9)"),
)  # fmt: skip
