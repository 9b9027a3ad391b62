"""How the code behind `pruning.ledger.counts` is broken: (id, file, a text that stands there once, another text)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = ()
