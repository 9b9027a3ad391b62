"""How the code behind `pruning.ledger.training` is broken: (id, file, a text that stands once in it, another)."""

MASKS, FOLDING, BUDGET = "pruning/masks.py", "pruning/surgery/folding.py", "pruning/pipeline/scratch_budget.py"

MUTANTS = (
    ("S0-A1", "nn/optimizers.py", "parameter.data *= parameter.mask", "parameter.grad *= parameter.mask"),
    ("S0-A1", MASKS, "parameters[name].mask = mask", "parameters[name].mask = None"),
    ("S0-A1", MASKS, "np.lexsort((scores, alive))", "np.lexsort((-scores, alive))"),
    ("S0-A1", MASKS, "parameters[name].data = parameters[name].data * mask", "pass"),
    ("S0-A1", MASKS, "delete = round(sparsity * len(scores))", "delete = int(sparsity * len(scores))"),
    ("S0-F11", FOLDING, "new.bias_map = added + asarray(new.bias_map, like=added)", "new.bias_map = 0 * added"),
    (
        "S0-F11",
        FOLDING,
        "_linear_part(layer, share).forward(emitted.inputs[site.name].x)",
        "_linear_part(layer, share).forward(0 * emitted.inputs[site.name].x)",
    ),
    ("S0-F12", BUDGET, "Fraction(before, after)", "Fraction(after, before)"),
    ("S0-F12", BUDGET, "tuple(round(r * each) for each in whole.milestones)", "whole.milestones"),
    ("S0-F12", BUDGET, "Budget(round(r * whole.epochs)", "Budget(int(r * whole.epochs)"),
)
