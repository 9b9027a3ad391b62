"""Operations and weights: formulas per layer, what a filter saves, and the tables of the papers, digit by digit."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
