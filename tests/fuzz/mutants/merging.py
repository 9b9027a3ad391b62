"""How the code behind `pruning.ledger.merging` is broken: (id, file, a text that stands once in it, another)."""

MERGING = "pruning/reconstruction/neuron_merging.py"
REFITTING = "pruning/reconstruction/refitting.py"
MOMENTS = "pruning/reconstruction/moments.py"
MUTANTS = (
    ("D201", MERGING, "xp.sum(a * a, axis=0)[None, :]", "xp.sum(a * a, axis=0)[:, None]"),
    ("D201", MERGING, " / a.shape[0] * ", " * "),
    ("D201", MERGING, "xp.sum(a * a, axis=0)", "xp.sum(a, axis=0) ** 2"),
    ("D202", MERGING, "takes_over[:, i] += takes_over[:, j]", "pass"),
    ("D202", MERGING, "reader.W.data = second.W.data @ total", "pass"),
    ("D202", MERGING, "get_array_module(W).concat([W, layer.b.data[:, None]], axis=1)", "W"),
    ("D202b", MERGING, "xp.sum(a * a, axis=0)", "xp.sum(a, axis=0) ** 2"),
    ("D202b", MERGING, "takes_over[:, i] += takes_over[:, j]", "takes_over[:, i] -= takes_over[:, j]"),
    (
        "D203",
        REFITTING,
        "moments.refit(kept), moments)",
        "moments.W[:, moments.columns(moments.checked(kept))], moments)",
    ),
    ("D203", REFITTING, "(kept))] * beta", "(kept))] * beta**2"),
    ("D203", MOMENTS, "pseudo_inverse(self.G[np.ix_(kept, kept)]) @", "np.diag(1 / np.diag(self.G)[kept]) @"),
)
