"""Architectures as functions (sizes, rng, ...) -> Module; rng=None builds an outline without data."""

from nn.models.perceptrons import mlp

__all__ = ["mlp"]
