"""How the code behind `pruning.ledger.l0` is broken: (id, file, a text that stands once in it, another)."""

GATES = "pruning/penalties/hard_concrete.py"
L0 = "pruning/penalties/l0.py"
MUTANTS = (
    ("D90", GATES, "self.beta * math.log(-self.gamma / self.zeta)", "self.beta * math.log(self.zeta / -self.gamma)"),
    ("D90", GATES, "self.beta * math.log((1 - self.gamma)", "math.log((1 - self.gamma)"),
    ("D91", GATES, "+ log_alpha) / self.beta", "+ log_alpha)"),
    ("D91", GATES, "(z > 0) & (z < 1)", "(z > -1) & (z < 2)"),
    ("D91", GATES, "Sigmoid().df(self.logit) / self.beta", "Sigmoid().df(self.logit)"),
    ("D92", GATES, "(z > 0) & (z < 1)", "(z > 0) & (z < 2)"),
    ("D92", GATES, "free * (self.zeta - self.gamma)", "free * (self.zeta + self.gamma)"),
    ("D93", GATES, "return _clipped(self._stretched(Sigmoid().f(self.log_alpha.data)))",
     "return self._stretched(Sigmoid().f(self.log_alpha.data))"),
    ("D93", GATES, "Sigmoid().f(self.log_alpha.data)))", "Sigmoid().f(self.log_alpha.data / self.beta)))"),
    ("D93", GATES, "self.beta * np.log(s / (1 - s))", "self.beta * np.log((1 - s) / s)"),
    ("D94", L0, "cost = family.strength * (numbers //", "cost = family.strength * (1 + 0 * numbers //"),
    ("D94", L0, "p * (1 - p) * self._cost(gate", "p * self._cost(gate"),
    ("D94", L0, "self.weight_decay / 2 * size * size", "self.weight_decay / 2 * size"),
    ("D95", L0, "rows.reshape(len(groups), -1, 1) *", ""),
    ("D95", L0, "between[-1].append(to_numpy(layer.open()))", "between[-1].append(to_numpy(layer.wholly_open()))"),
)  # fmt: skip
