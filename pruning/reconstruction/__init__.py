"""Which units or channels go, so that the next layer's output survives: one module a method."""

from pruning.reconstruction import neuron_merging

__all__ = ["neuron_merging"]
