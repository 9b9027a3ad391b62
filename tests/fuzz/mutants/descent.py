"""How the code behind `pruning.ledger.descent` is broken: (id, file, a text that stands once in it, another)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = ()
