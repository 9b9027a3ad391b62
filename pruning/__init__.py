"""Pruning: what a weight is worth, which ones go, and what that does to the loss.

A method is one file, in the room of its kind.  What all methods share stands at the top; read it in this order:

========================  ============================================================================================
`pruning.masks`           which weights live: scores become zeros and ones, and a mask stays on a parameter
`pruning.schedules`       how sparsity grows from step to step
`pruning.counts`          parameters and multiply-accumulates, each under a convention that has a name
`pruning.scores`          what a weight or a filter of a trained net is worth: ``<method>.saliency(net, ...)``
`pruning.pipeline`        how pruning and training take turns
`pruning.channels`        who makes, ties and reads a channel
`pruning.surgery`         channels, columns and blocks really removed: a smaller net of the same function
`pruning.filters`         from scores of filters to those that stay
`pruning.sparse`          what zeros save where they stay: formats, bytes and time
`pruning.penalties`       sparsity learnt while the net trains: group lasso, scaling factors, ADMM
`pruning.architectures`   how wide each layer shall be
`pruning.reconstruction`  which units go so that the next layer's output survives
`pruning.dynamic`         a net for each image: which channels are computed depends on the input
========================  ============================================================================================

`pruning.experiments` has what ``python -m pruning run`` runs; nothing here imports it.
"""

from pruning import (
    architectures,
    channels,
    counts,
    dynamic,
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
    "architectures",
    "channels",
    "counts",
    "dynamic",
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
