"""The ledger, ``python -m pruning verify``: every formula of the sources on trial, right forms and wrong ones.

A topic is a file with ``STATEMENTS``, rows of `Formula` and `Claim` (`pruning.ledger.core`); `report` prints them.  A
new method adds its rows to the file of its topic, or a file of its own to the list below.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from pruning.ledger import (
    admm,
    convolution,
    counts,
    filters,
    group_penalty,
    groups,
    lasso,
    obd,
    obs,
    purification,
    regression,
    structures,
    training,
    windows,
)
from pruning.ledger.core import Claim, Form, Formula, Measured, Outcome, Statement, relative, run

__all__ = ["STATEMENTS", "Claim", "Form", "Formula", "Measured", "Outcome", "Statement", "chosen", "relative", "run"]

STATEMENTS: tuple[Statement, ...] = (
    *obd.STATEMENTS,
    *obs.STATEMENTS,
    *training.STATEMENTS,
    *regression.STATEMENTS,
    *lasso.STATEMENTS,
    *groups.STATEMENTS,
    *group_penalty.STATEMENTS,
    *structures.STATEMENTS,
    *windows.STATEMENTS,
    *convolution.STATEMENTS,
    *admm.STATEMENTS,
    *purification.STATEMENTS,
    *filters.STATEMENTS,
    *counts.STATEMENTS,
)
"""All rows, topic by topic."""


def chosen(ids: Sequence[str]) -> list[Statement]:
    """Return the statements with these ids, in the order of the ledger; all of them if none is named.

    Raises
    ------
    ValueError
        If there is no such id; it names the nearest ones.
    """
    known = {statement.id: statement for statement in STATEMENTS}
    for each in ids:
        if each not in known:
            near = get_close_matches(each.upper(), known, n=3, cutoff=0.0)
            raise ValueError(f"unknown statement {each!r}; the nearest ids are {', '.join(near)}")
    return [statement for statement in STATEMENTS if not ids or statement.id in ids]
