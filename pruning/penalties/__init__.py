"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import (
    admm,
    adversarial,
    beta_bernoulli,
    factorised_l0,
    families,
    gradual_thresholds,
    group_lasso,
    hard_concrete,
    ista_scales,
    l0,
    projections,
    scaling_factors,
    slimming,
    variational_dropout,
)

__all__ = [
    "admm",
    "adversarial",
    "beta_bernoulli",
    "factorised_l0",
    "families",
    "gradual_thresholds",
    "group_lasso",
    "hard_concrete",
    "ista_scales",
    "l0",
    "projections",
    "scaling_factors",
    "slimming",
    "variational_dropout",
]
