"""The lasso by coordinate descent: its one-variable objective, its update, its dynamics."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
