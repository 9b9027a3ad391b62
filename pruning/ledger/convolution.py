"""Convolution as a matrix product: im2col, its adjoint, both sweeps back, and second derivatives."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
