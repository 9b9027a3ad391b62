"""The alternating direction method of multipliers: its steps as printed and as meant, projections, convergence."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
