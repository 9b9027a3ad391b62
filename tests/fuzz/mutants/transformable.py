"""How the code behind `pruning.ledger.transformable` is broken: (id, file, a text that stands once in it, another)."""

MIX = "pruning/architectures/width_mix.py"
COST = "pruning/architectures/width_cost.py"
SEARCH = "pruning/architectures/transformable.py"
LOSSES = "nn/losses.py"
MUTANTS = (
    ("D160", MIX, "-(-(i + 1) * n // m)  # floor, ceil", "max(i * n // m + 1, (i + 1) * n // m)"),
    ("D160", MIX, "A[i, start:stop] = 1 / (stop - start)", "A[i, start:stop] = n / m / (stop - start)"),
    ("D160", MIX, "start, stop = i * n // m,", "start, stop = -(-i * n // m),"),
    ("D161", MIX, "(gp - xp.sum(p * gp)) / self.temperature", "(gp - xp.sum(p * gp))"),
    ("D161", MIX, "(gp - xp.sum(p * gp)) / self", "gp / self"),
    ("D161", MIX, "_softmax(chosen / self.temperature)", "_softmax(chosen)"),
    ("D161", MIX, "gp = xp.stack([xp.sum(gy * z) for z in self.stretched])",
     "gp = xp.stack([xp.sum(gy * z * z) for z in self.stretched])"),
    ("D162", MIX, "self.norms[k].forward(rows[: self.widths[k], :]) for k",
     "self.norms[-1].forward(rows)[: self.widths[k], :] for k"),
    ("D162", MIX, "[self.p[j] * gz for j, gz in enumerate(back)]", "back"),
    ("D162", MIX, "xp.take(a + asarray(g, like=x),", "xp.take(a,"),
    ("D162", MIX, "back = [A.T @ rows for A in self.A]", "back = [(A > 0).T @ rows for A in self.A]"),
    ("D163", COST, "return get_array_module(p).sum(p * asarray(mix.widths, like=p))", "return p[0] * 0 + mix.width"),
    ("D163", COST, "(asarray(mix.widths, like=p) - means[name])", "asarray(mix.widths, like=p)"),
    ("D163", COST, "math.prod(layer.W.shape) * math.prod(shape[1:])", "math.prod(layer.W.shape)"),
    ("D163", COST, "C, inputs = shape[0], outputs", "C, inputs = shape[0], shape[0]"),
    ("D164", SEARCH, "side * self.strength / float(self.cost.expected())", "side * self.strength"),
    ("D164", SEARCH, "side * self.strength / float", "-side * self.strength / float"),
    ("D164", SEARCH, "int(share < self.target - self.tolerance)", "int(share < self.target * (1 - self.tolerance))"),
    ("D164", SEARCH, "side = self.band.direction(self.cost.chosen() / self.cost.most)",
     "side = self.band.direction(float(self.cost.expected()) / self.cost.most)"),
    ("D165", LOSSES, "self.alpha * T * T * divergence", "self.alpha * T * divergence"),
    ("D165", LOSSES, "self.alpha * self.temperature * self.soft.backward()", "self.alpha * self.soft.backward()"),
    ("D165", LOSSES, "(1 - self.alpha) * self.hard.forward(y, labels)", "self.hard.forward(y, labels)"),
)  # fmt: skip
