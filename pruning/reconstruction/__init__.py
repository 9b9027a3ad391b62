"""Which units or channels go, so that the next layer's output survives: one module a method."""

from pruning.reconstruction import approximation, neuron_merging

__all__ = ["approximation", "neuron_merging"]
