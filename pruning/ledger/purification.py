"""Network purification and what it stands on: maps that are constants, folding, unused paths."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
