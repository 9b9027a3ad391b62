"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import (
    admm,
    families,
    gradual_thresholds,
    group_lasso,
    ista_scales,
    projections,
    scaling_factors,
    slimming,
    variational_dropout,
)

__all__ = [
    "admm",
    "families",
    "gradual_thresholds",
    "group_lasso",
    "ista_scales",
    "projections",
    "scaling_factors",
    "slimming",
    "variational_dropout",
]
