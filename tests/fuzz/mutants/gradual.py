"""How the code behind `pruning.ledger.gradual` is broken: (id, file, a text that stands once in it, another)."""

GRADUAL = "pruning/pipeline/gradual.py"
SCHEDULES = "pruning/schedules.py"
THRESHOLDS = "pruning/penalties/gradual_thresholds.py"
MUTANTS = (
    ("D194", SCHEDULES, "((1 - r) ** power)", "(1 - r)"),
    ("D194", SCHEDULES, "round(keep * (start / keep)", "round(start * (start / keep)"),
    ("D194", GRADUAL, "if step % self.every == 0:", "if True:"),
    ("D194", GRADUAL, "1 - min(keep, left) / total", "1 - min(keep + 1, left) / total"),
    ("D194", GRADUAL, "min(1.0, step / self.last)", "min(1.0, step / (self.last + 2))"),
    ("D195", SCHEDULES, "(1 - i / rounds) ** 3", "(1 - i / rounds) ** 2"),
    ("D195", SCHEDULES, "final + (initial - final) *", "final - final *"),
    ("D195", SCHEDULES, "** 3 for i in range(1, rounds)]", "** 3 for i in range(rounds - 1)]"),
    ("D200", THRESHOLDS, "if step % self.every == 0:", "if True:"),
    ("D200", THRESHOLDS, "dead = size <= tau * scales", "dead = size * size <= tau * scales"),
    ("D200", THRESHOLDS, "kept if u.mask is None else kept * u.mask", "kept if u.mask is None else 0 * kept + 1"),
    ("D200", THRESHOLDS, "tau = self.threshold(step)", "tau = self.threshold(self.every)"),
)
