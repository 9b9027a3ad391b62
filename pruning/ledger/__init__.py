"""The ledger, ``python -m pruning verify``: every formula of the sources on trial, right forms and wrong ones.

A topic is a file with ``STATEMENTS``, rows of `Formula` and `Claim` (module ``core``); `report` prints them.  A
new method adds its rows to the file of its topic, or a file of its own to the list below.
"""

from collections.abc import Sequence
from difflib import get_close_matches

from pruning.ledger import (
    accelerators,
    admm,
    adversarial,
    alternation,
    architectures,
    arms,
    boundaries,
    channel_agreement,
    channels_by_reconstruction,
    constants,
    conventions,
    convergence,
    convolution,
    counts,
    curvature,
    deletion,
    descent,
    factorised_l0,
    filters,
    folding,
    from_scratch,
    fullness,
    gates,
    gradual,
    group_penalty,
    groups,
    importance,
    inverse,
    ista_scales,
    l0,
    lagrangian,
    lasso,
    lasso_channels,
    layers,
    merging,
    norms,
    obd,
    obd_limits,
    obs,
    optimizers,
    path,
    projections,
    propagation,
    purification,
    rates,
    reconstruction,
    recursion,
    regression,
    rethinking,
    rows_and_columns,
    runtime,
    scaling_factors,
    self_adaptive,
    slimming,
    soft_filters,
    structures,
    subsets,
    tables,
    thresholds,
    training,
    transformable,
    two_structures,
    variational_dropout,
    windows,
)
from pruning.ledger.core import Claim, Form, Formula, Measured, Outcome, Statement, relative, run

__all__ = ["STATEMENTS", "Claim", "Form", "Formula", "Measured", "Outcome", "Statement", "chosen", "relative", "run"]

STATEMENTS: tuple[Statement, ...] = (
    *obd.STATEMENTS,
    *recursion.STATEMENTS,
    *boundaries.STATEMENTS,
    *curvature.STATEMENTS,
    *layers.STATEMENTS,
    *obd_limits.STATEMENTS,
    *obs.STATEMENTS,
    *inverse.STATEMENTS,
    *training.STATEMENTS,
    *optimizers.STATEMENTS,
    *conventions.STATEMENTS,
    *regression.STATEMENTS,
    *subsets.STATEMENTS,
    *thresholds.STATEMENTS,
    *lasso.STATEMENTS,
    *path.STATEMENTS,
    *descent.STATEMENTS,
    *groups.STATEMENTS,
    *group_penalty.STATEMENTS,
    *structures.STATEMENTS,
    *windows.STATEMENTS,
    *convolution.STATEMENTS,
    *lagrangian.STATEMENTS,
    *admm.STATEMENTS,
    *constants.STATEMENTS,
    *folding.STATEMENTS,
    *fullness.STATEMENTS,
    *convergence.STATEMENTS,
    *projections.STATEMENTS,
    *two_structures.STATEMENTS,
    *purification.STATEMENTS,
    *reconstruction.STATEMENTS,
    *lasso_channels.STATEMENTS,
    *channels_by_reconstruction.STATEMENTS,
    *channel_agreement.STATEMENTS,
    *alternation.STATEMENTS,
    *filters.STATEMENTS,
    *norms.STATEMENTS,
    *counts.STATEMENTS,
    *tables.STATEMENTS,
    *rates.STATEMENTS,
    *importance.STATEMENTS,
    *propagation.STATEMENTS,
    *architectures.STATEMENTS,
    *scaling_factors.STATEMENTS,
    *slimming.STATEMENTS,
    *variational_dropout.STATEMENTS,
    *ista_scales.STATEMENTS,
    *soft_filters.STATEMENTS,
    *l0.STATEMENTS,
    *factorised_l0.STATEMENTS,
    *accelerators.STATEMENTS,
    *self_adaptive.STATEMENTS,
    *runtime.STATEMENTS,
    *from_scratch.STATEMENTS,
    *transformable.STATEMENTS,
    *adversarial.STATEMENTS,
    *rethinking.STATEMENTS,
    *arms.STATEMENTS,
    *deletion.STATEMENTS,
    *gradual.STATEMENTS,
    *gates.STATEMENTS,
    *rows_and_columns.STATEMENTS,
    *merging.STATEMENTS,
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
