"""How the code behind `pruning.ledger.from_scratch` is broken: (id, file, a text that stands once in it, another)."""

GATES = "pruning/architectures/from_scratch.py"
MUTANTS = (
    ("D135", GATES, "slope = 2 * self.strength", "slope = self.strength"),
    ("D135", GATES, "(self.mean() - self.target) / sum(", "(self.target - self.mean()) / sum("),
    ("D135", GATES, "sum(math.prod(g.shape) for g in self.gates)", "max(math.prod(g.shape) for g in self.gates)"),
    ("D135", GATES, "xp.where(g.data > 0, g.data, 0 * g.data)", "xp.where(g.data > -1, g.data, 0 * g.data)"),
    ("D135", GATES, "(self.mean() - self.target) ** 2", "abs(self.mean() - self.target)"),
    ("D136", GATES, "(k, high) if cost(largest(values, k)) <= most", "(k, high) if cost(largest(values, k)) < most"),
    ("D136", GATES, "return largest(values, low)", "return largest(values, k)"),
    ("D136", GATES, 'np.concatenate([*values.values()])), kind="stable")',
     'np.concatenate([*values.values()]))[::-1], kind="stable")'),
    ("D136", GATES, "np.where(first, np.inf, ", "np.where(first, 0.0, "),
    ("D137", GATES, "for g in self.gates]) != 0", "for g in self.gates]) > 0.5"),
    ("D137", GATES, "return float(np.mean(np.concatenate([to_numpy(g.data) for g in self.gates])))",
     "return float(np.mean([np.mean(to_numpy(g.data)) for g in self.gates]))"),
)  # fmt: skip
