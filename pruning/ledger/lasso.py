"""The lasso: soft thresholds, coordinate descent, its scalings, and its path."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
