"""Which units or channels go, so that the next layer's output survives: one module a method."""

from pruning.reconstruction import (
    approximation,
    elimination,
    enumeration,
    lasso_channels,
    moments,
    neuron_merging,
    thinet,
)
from pruning.reconstruction.refitting import refitted, rescaled

__all__ = [
    "approximation",
    "elimination",
    "enumeration",
    "lasso_channels",
    "moments",
    "neuron_merging",
    "refitted",
    "rescaled",
    "thinet",
]
