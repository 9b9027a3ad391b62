"""Sparsity that is learnt while the net trains: penalties and constraints on its weights."""

from pruning.penalties import group_lasso

__all__ = ["group_lasso"]
