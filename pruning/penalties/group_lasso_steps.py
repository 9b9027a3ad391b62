"""Two ways down the group lasso's penalty, as companions of training: proximal steps, and the authors' subgradient.

The first sets groups exactly to zero, the second leaves them hovering around it (`pruning.penalties.group_lasso`).
"""

from collections.abc import Callable, Sequence

from nn.backend import Array
from nn.companions import Companion
from nn.module import Module
from nn.optimizers import Optimizer
from pruning.penalties import group_lasso


class ProximalSteps(Companion):
    """After every step of SGD `group_lasso.proximal_step`, which shrinks all groups.

    Parameters
    ----------
    net, families, optimizer, prox : as for `group_lasso.proximal_step`; families may be empty, and nothing is done.

    Raises
    ------
    ValueError
        If the optimizer is of another net: its learning rate would set the threshold.
    """

    def __init__(
        self,
        net: Module,
        families: Sequence[group_lasso.Family],
        optimizer: Optimizer,
        prox: Callable[..., dict[str, Array]] = group_lasso.shrink_one_after_the_other,
    ):
        optimizer.check_net(net)
        self.net, self.families, self.optimizer, self.prox = net, list(families), optimizer, prox

    def after_step(self, step: int) -> None:
        """Shrink all groups."""
        group_lasso.proximal_step(self.net, self.families, self.optimizer, self.prox)

    def penalty(self) -> float:
        """Return the penalty, as `group_lasso.value`."""
        return group_lasso.value(self.net, self.families)


class Subgradients(Companion):
    """Adds the subgradient to every gradient, and sets single small weights to zero after the step.

    Parameters
    ----------
    net, families : as for `group_lasso.add_subgradient`.
    threshold : as for `group_lasso.zero_out`; 0 sets nothing to zero.
    """

    def __init__(self, net: Module, families: Sequence[group_lasso.Family], threshold: float = 1e-4):
        self.net, self.families, self.threshold = net, list(families), threshold

    def after_backward(self, step: int) -> None:
        """Add the subgradient."""
        group_lasso.add_subgradient(self.net, self.families)

    def after_step(self, step: int) -> None:
        """Set what is smaller than the threshold to zero."""
        group_lasso.zero_out(self.net, self.families, self.threshold)

    def penalty(self) -> float:
        """Return the penalty, as `group_lasso.value`."""
        return group_lasso.value(self.net, self.families)
