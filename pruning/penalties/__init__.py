"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import admm, families, group_lasso

__all__ = ["admm", "families", "group_lasso"]
