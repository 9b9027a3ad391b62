"""What a weight of a trained net is worth: one module a method, each with ``saliency(net, ...) -> {name: array}``."""

from pruning.scores import activation, chance, filter_norm, fisher, gates, magnitude, nisp, obd, obs, taylor

__all__ = ["activation", "chance", "filter_norm", "fisher", "gates", "magnitude", "nisp", "obd", "obs", "taylor"]
