"""How the code behind `pruning.ledger.conventions` is broken: (id, file, a text that stands once in it, another)."""

LOSSES, MASKS = "nn/losses.py", "pruning/masks.py"

MUTANTS = (
    ("C2", LOSSES, "xp.sum((t - y) * (t - y)) / y.shape[-1]", "xp.mean((t - y) * (t - y))"),
    ("C2", LOSSES, "return 2 * (self.y - self.t) / self.y.shape[-1]", "return (self.y - self.t) / self.y.shape[-1]"),
    ("C2", "nn/batches.py", "(stop - start) / N", "step / (N + -N % step)"),
    ("C7", "nn/activations.py", "astype(a > 0, a.dtype)", "astype(a >= 0, a.dtype)"),
    ("C7", "nn/pooling.py", "left = left - part", "left = left - 0 * part"),
    (
        "C7",
        MASKS,
        "np.lexsort((scores, alive))[:delete]",
        "np.lexsort((-np.arange(len(scores)), scores, alive))[:delete]",
    ),
)
