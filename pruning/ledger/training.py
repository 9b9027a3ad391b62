"""The pipeline around pruning: initialisation, optimizer, masks that hold, equal budgets for scratch training."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
