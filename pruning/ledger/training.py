"""The pipeline around pruning: initialisation, optimizer, masks that hold, and equal budgets for training from scratch."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
