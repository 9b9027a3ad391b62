"""Optimal brain surgeon: deletion with the best answer of all other weights, one by one and in blocks."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
