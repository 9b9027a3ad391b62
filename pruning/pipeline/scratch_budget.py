"""How long the control trains: the small net from new random weights, for as many epochs or as many operations.

A net that was pruned and retrained is worth its price only if it beats the same small net trained from scratch.  Two
budgets are fair: scratch-E gives it the epochs of the dense net, scratch-B its multiply-accumulates, hence more epochs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import index

from nn.module import Module
from pruning.counts import count
from pruning.masks import counts


@dataclass(frozen=True)
class Budget:
    """epochs to train for, and the epochs at which the learning rate falls (as for `nn.step_decay`)."""

    epochs: int
    milestones: tuple[int, ...] = ()


def scratch_e(epochs: int, milestones: Sequence[int] = ()) -> Budget:
    """Return the budget of scratch-E: as many epochs as the dense net had, with its milestones.

        epochs_E = epochs,  milestones_E = milestones

    Parameters
    ----------
    epochs : of the dense net.
    milestones : epochs at which its learning rate fell, ascending within 1..epochs - 1.

    Raises
    ------
    ValueError
        If there is not at least one epoch, or the milestones do not ascend between the first and the last.
    TypeError
        If one of them is no whole number.

    References
    ----------
    Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270.
    """
    epochs, milestones = _whole("epochs", epochs), [_whole("milestones", each) for each in milestones]
    if epochs < 1:
        raise ValueError(f"expected at least one epoch, got {epochs}")
    if milestones != sorted(set(milestones)) or not all(0 < each < epochs for each in milestones):
        raise ValueError(f"expected milestones that ascend within 1..{epochs - 1}, got {milestones}")
    return Budget(epochs, tuple(milestones))


def scratch_b(
    dense: Module,
    small: Module,
    input_shape: Sequence[int],
    epochs: int,
    milestones: Sequence[int] = (),
    at_most: float | None = None,
    convention: str = "li2017",
) -> Budget:
    """Return the budget of scratch-B: as many multiply-accumulates as the dense net had, with milestones to match.

        epochs_B = r epochs,  milestones_B = r milestones,  r = min(MACs(dense) / MACs(small), at_most)

    each rounded to the nearest whole number: without a cap epochs_B MACs(small) = epochs MACs(dense) to half an epoch
    of the small net.

    Parameters
    ----------
    dense, small : before and after pruning; outlines are enough.
    input_shape : of one input, without the batch.
    epochs, milestones : of the dense net, as for `scratch_e`.
    at_most : the largest r, None for no cap.  The lecture names none; the authors' code for ImageNet has 2, that is 180
        epochs in the place of 90, and their code for CIFAR has none.  A capped net has had less computation than the
        dense one.
    convention : of `pruning.counts`.

    Raises
    ------
    ValueError
        As `scratch_e` and `pruning.counts.count`; if the small net has more MACs than the dense one, or none; if
        `at_most` is below 1.
    TypeError
        As `scratch_e`.

    Notes
    -----
    The authors' code (github.com/Eric-mingjie/rethinking-network-pruning) cuts fractions off: int(r epochs), and the
    milestones at a half and three quarters, or at thirds, of that: at most two epochs before ours.  Its script for nets
    with masks (cifar/weight-level/cifar_B.py) computes r from two dense nets, which is 1: scratch-E.

    References
    ----------
    Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270; what the
    small net cost before, dense training, pruning and retraining, is not counted there either.
    """
    whole = scratch_e(epochs, milestones)
    before, after = (count(net, input_shape, convention).macs for net in (dense, small))
    if not 0 < after <= before:
        raise ValueError(
            f"expected a small net of 1 to {before} multiply-accumulates, those of the dense one, got {after}"
        )
    return _longer(whole, Fraction(before, after), at_most)


def masked_scratch_b(
    masked: Module, epochs: int, milestones: Sequence[int] = (), at_most: float | None = None
) -> Budget:
    """Return the budget of scratch-B for a net with masks: as many times the epochs as weights are fewer.

        epochs_B = r epochs,  milestones_B = r milestones,  r = min(weights / weights that are left, at_most)

    A dense processor multiplies the zeros as well, so that `scratch_b` would give r = 1; what is counted here are the
    multiplications of a processor that skips them, each weight as often as any other.

    Parameters
    ----------
    masked : the net; weights without a mask are left.
    epochs, milestones, at_most : as for `scratch_b`.

    Raises
    ------
    ValueError
        As `scratch_e`; if the masks leave nothing, or `at_most` is below 1.
    TypeError
        As `scratch_e`, and if this is no net.

    References
    ----------
    Liu, Sun, Zhou, Huang, Darrell 2019, arXiv:1810.05270, whose script for this forgets the masks.
    """
    whole = scratch_e(epochs, milestones)
    left, total = counts(masked)
    if not left:
        raise ValueError(f"expected masks that leave some weight, got none of {total}")
    return _longer(whole, Fraction(total, left), at_most)


def _longer(whole: Budget, r: Fraction, at_most: float | None) -> Budget:
    if at_most is not None and not at_most >= 1:
        raise ValueError(f"expected at_most to be 1 or more, got {at_most}")
    if at_most is not None and r > at_most:
        r = Fraction(at_most)
    return Budget(round(r * whole.epochs), tuple(round(r * each) for each in whole.milestones))


def _whole(name: str, value: object) -> int:
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"expected whole numbers of {name}, got {value!r}") from None
