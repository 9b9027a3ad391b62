"""Regression with few coefficients: norms, sensitivities, least squares, ridge, best subsets and matching pursuit."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
