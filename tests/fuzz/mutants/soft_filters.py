"""How the code behind `pruning.ledger.soft_filters` is broken: (id, file, a text that stands once in it, another)."""

SOFT = "pruning/pipeline/soft_filters.py"
MUTANTS = (
    ("D65", SOFT, "sorted(set(range(n)) - set(stay[name]))", "sorted(set(stay[name]))"),
    ("D65", SOFT, "asarray(alive * 1.0, like=u.data)", "asarray(0.5 + 0.5 * alive, like=u.data)"),
    ("D66", SOFT, '"zeroed": sum(map(len, self.zeroed.values()))', '"zeroed": len(self.zeroed)'),
    ("D66", SOFT, "sorted(set(range(n)) - set(stay[name]))", "sorted(set(stay[name]))"),
)
