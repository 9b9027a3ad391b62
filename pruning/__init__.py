"""Pruning: what a weight is worth, which ones go, and what that does to the loss.

A method is one file: ``pruning.scores.<method>`` has ``saliency(net, ...)``, low where a weight is cheap to delete.
"""

from pruning import (
    channels,
    counts,
    filters,
    masks,
    penalties,
    pipeline,
    reconstruction,
    schedules,
    scores,
    sparse,
    surgery,
)

__all__ = [
    "channels",
    "counts",
    "filters",
    "masks",
    "penalties",
    "pipeline",
    "reconstruction",
    "schedules",
    "scores",
    "sparse",
    "surgery",
]
