"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import admm, families, group_lasso, projections

__all__ = ["admm", "families", "group_lasso", "projections"]
