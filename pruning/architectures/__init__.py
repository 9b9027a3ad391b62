"""How wide each layer shall be: methods that choose the numbers of filters of a whole net together.

`principal_filters` asks the spectrum of a layer's responses, `layer_compensation` ranks the filters of all layers
together; `widths` turns one ranking into the filters that stay.  `guided` makes new nets from what the stages of
pruned ones keep, `stage_patterns` has the averages that were published.
"""

from pruning.architectures import guided, layer_compensation, principal_filters, stage_patterns, widths

__all__ = ["guided", "layer_compensation", "principal_filters", "stage_patterns", "widths"]
