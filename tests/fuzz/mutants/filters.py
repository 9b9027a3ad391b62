"""How the code behind `pruning.ledger.filters` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = ()
