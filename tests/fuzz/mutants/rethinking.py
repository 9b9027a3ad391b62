"""How the code behind `pruning.ledger.rethinking` is broken: (id, file, a text that stands once in it, another)."""

GUIDED = "pruning/architectures/guided.py"
TABLES = "pruning/architectures/stage_patterns.py"
BUDGET = "pruning/pipeline/scratch_budget.py"
MUTANTS = (
    ("D180", BUDGET, "        r = Fraction(at_most)", "        r = Fraction(1)"),
    ("D180", BUDGET, "at_most is not None and r > at_most", "at_most is not None and r < at_most"),
    ("D180", BUDGET, "tuple(round(r * each) for each in whole.milestones)", "whole.milestones"),
    ("D181", GUIDED, "return math.floor(x + HALF)", "return math.ceil(x)"),
    ("D181", GUIDED, "one[0], one[1] = one[0] + left, one[1] + n", "one[0], one[1] = left, n"),
    ("D181", GUIDED, "Fraction(left, n) for stage", "1 - Fraction(left, n) for stage"),
    ("D182", GUIDED, "sums[stage] = sums.get(stage, 0) + there", "sums[stage] = sums.get(stage, 0) + there.T"),
    ("D182", GUIDED, "kernels.get(stage, 0) + mask.shape[0] * mask.shape[1]", "mask.shape[0] * mask.shape[1]"),
    ("D182", GUIDED, "_nearest(Fraction(str(share)) * kernels)", "int(Fraction(str(share)) * kernels)"),
    ("D183", TABLES, "# stage, i, percent, j\n", "\n    P = P[::-1]\n"),
    (
        "D183",
        TABLES,
        "[0.885, 0.891, 0.889, 0.409, 0.420, 0.415, 0.032,",
        "[0.885, 0.891, 0.889, 0.409, 0.420, 0.415, 0.302,",
    ),
    ("D183", TABLES, "P[s, :, k, :]", "P[s, k, :, :]"),
    ("D184", GUIDED, "gone * math.prod(layers[name].output[1:])", "gone * math.prod(layers[name].output)"),
    ("D184", GUIDED, "weights, macs = weights - gone", "weights, macs = weights + gone"),
    ("D184", GUIDED, "order.index(sizes[name][0]) + 1", "len(order) - order.index(sizes[name][0])"),
    ("D184", TABLES, "[0.861, 0.856, 0.858, 0.507,", "[0.861, 0.856, 0.585, 0.507,"),
)
