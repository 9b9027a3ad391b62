"""How wide each layer shall be: methods that choose the numbers of filters of a whole net together.

`principal_filters` asks the spectrum of a layer's responses, `layer_compensation` ranks the filters of all layers
together; `widths` turns one ranking into the filters that stay.  `from_scratch` ranks gates over random weights: it
chooses widths before anything was trained.  `transformable` learns the widths by gradient descent, with `width_mix`, a
layer of several widths, and `width_cost`, the expected cost of such layers.  `guided` makes new nets from what the
stages of pruned ones keep, `stage_patterns` has the averages that were published.
"""

from pruning.architectures import (
    from_scratch,
    guided,
    layer_compensation,
    principal_filters,
    stage_patterns,
    transformable,
    width_cost,
    width_mix,
    widths,
)

__all__ = [
    "from_scratch",
    "guided",
    "layer_compensation",
    "principal_filters",
    "stage_patterns",
    "transformable",
    "width_cost",
    "width_mix",
    "widths",
]
