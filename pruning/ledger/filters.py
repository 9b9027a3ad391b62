"""Filter pruning by the sums of absolute weights: scores, greedy selection, shortcuts, sensitivity."""

from pruning.ledger.core import Statement

STATEMENTS: tuple[Statement, ...] = ()
