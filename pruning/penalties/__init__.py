"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import admm, group_lasso, group_lasso_steps, projections

__all__ = ["admm", "group_lasso", "group_lasso_steps", "projections"]
