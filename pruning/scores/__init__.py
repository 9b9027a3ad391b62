"""What a weight of a trained net is worth: one module a method, each with ``saliency(net, ...) -> {name: array}``."""

from pruning.scores import chance, filter_norm, fisher, gates, magnitude, obd, obs

__all__ = ["chance", "filter_norm", "fisher", "gates", "magnitude", "obd", "obs"]
