"""A net for each image: which channels are computed is decided anew for every input.

`self_adaptive` has a small module beside each convolution that decides in one step, and is trained with the net;
`straight_through` says what the gradient is worth that such decisions are trained with; `runtime` makes one layer after
the other a step of a `decision_process`, whose rewards are accuracy and cost.
"""

from pruning.dynamic import decision_process, runtime, self_adaptive, straight_through

__all__ = ["decision_process", "runtime", "self_adaptive", "straight_through"]
