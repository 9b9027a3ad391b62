"""How the code behind `pruning.ledger.lasso` is broken: (id, file, a text that stands there once, another text)."""

MUTANTS: tuple[tuple[str, str, str, str], ...] = ()
