"""What a weight of a trained net is worth: one module a method, each with ``saliency(net, ...) -> {name: array}``."""

from pruning.scores import magnitude, obd, obs

__all__ = ["magnitude", "obd", "obs"]
