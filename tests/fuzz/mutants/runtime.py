"""How the code behind `pruning.ledger.runtime` is broken: (id, file, a text that stands once in it, another)."""

PROCESS = "pruning/dynamic/decision_process.py"
RUNTIME = "pruning/dynamic/runtime.py"
MUTANTS = (
    ("D143", PROCESS, "ahead = tables[-1].max(axis=-1)[history]", "ahead = tables[-1].mean(axis=-1)[history]"),
    ("D143", PROCESS, "sums / np.maximum(images, 1)", "sums / len(process.seen[0])"),
    ("D143", PROCESS, "process.rewards[l] + ahead)", "process.rewards[l] + 0 * ahead)"),
    ("D143", PROCESS, "target += max(self.tables[l + 1][history].tolist())", "target += 0"),
    ("D143", PROCESS, "+= (target - Q[pair]) / n_tried[pair]", "+= (target + Q[pair]) / n_tried[pair]"),
    ("D143", PROCESS, "Q[tuple(history)].argmax(axis=-1)", "Q[tuple(history)].argmin(axis=-1)"),
    ("D144", RUNTIME, "np.outer(share, share) if l", "np.outer(1 + 0 * share, share) if l"),
    ("D144", RUNTIME, "share = np.arange(1, pairs[0][1].groups + 1)", "share = np.arange(pairs[0][1].groups)"),
    ("D144", RUNTIME, "return [full[name] *", "return [1.0 *"),
)  # fmt: skip
