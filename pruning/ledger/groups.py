"""The group lasso and structured sparsity: blocks, penalties on groups of weights, and their proximal steps."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
