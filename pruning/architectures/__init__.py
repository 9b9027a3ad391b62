"""How wide each layer shall be: methods that choose the numbers of filters of a whole net together.

`principal_filters` asks the spectrum of a layer's responses, `layer_compensation` ranks the filters of all layers
together; `widths` turns both into what `pruning.filters` and `pruning.surgery` take.
"""

from pruning.architectures import layer_compensation, principal_filters, widths

__all__ = ["layer_compensation", "principal_filters", "widths"]
