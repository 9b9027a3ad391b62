"""Schedules: the sparsity that each round of pruning is to reach, as plain lists, or the weights left at any time."""

import math
from operator import index

MOST_ROUNDS = 10_000  # each trains the net: more is a slip of the keyboard


def geometric(final: float, rounds: int) -> list[float]:
    """Delete the same share of the surviving weights in every round: 1 - s_i = (1 - final)^(i / rounds).

    What OBD's loop asks for ("delete some low-saliency parameters"): steps that shrink as the parabola gets worse.
    """
    check_sparsity(final)
    _check_rounds(rounds)
    return [1 - (1 - final) ** (i / rounds) for i in range(1, rounds)] + [final]


def cubic(final: float, rounds: int, initial: float = 0.0) -> list[float]:
    """Delete many weights while there are many, and few at the end: s_i = s_f + (s_0 - s_f) (1 - i / rounds)^3.

    Parameters
    ----------
    final : s_f, the sparsity that the last round reaches.
    rounds : how many there are.
    initial : s_0, the sparsity before the first round.

    Raises
    ------
    ValueError
        If a sparsity is no share from 0 to 1, the initial one is above the final one, or there is no round.

    References
    ----------
    Zhu, Gupta 2017, To prune, or not to prune: exploring the efficacy of pruning for model compression,
    arXiv:1710.01878.
    """
    check_sparsity(final)
    check_sparsity(initial)
    if initial > final:
        raise ValueError(f"expected an initial sparsity of at most the final {final}, got {initial}")
    _check_rounds(rounds)
    return [final + (initial - final) * (1 - i / rounds) ** 3 for i in range(1, rounds)] + [final]


def weights_left(start: int, keep: int, r: float, power: float = 1.0) -> int:
    """Return how many weights are left when the share r of the pruning is over, from `start` (r = 0) to `keep` (r = 1).

        ln n = ln keep + (ln start - ln keep) (1 - r)^power

    With the power 1 every step deletes the same share of what is left; above 1 the first steps delete more.  `cubic` is
    that of Zhu and Gupta 2017.

    Raises
    ------
    ValueError
        Unless 1 <= keep <= start, r is a share from 0 to 1, and the power is positive and finite.
    """
    if not (1 <= keep <= start < math.inf and 0 <= r <= 1 and 0 < power < math.inf):
        raise ValueError(
            "expected 1 <= keep <= start, a share from 0 to 1 and a positive power;"
            f" got start {start}, keep {keep}, share {r} and power {power}"
        )
    return round(keep * (start / keep) ** ((1 - r) ** power))


def check_sparsity(sparsity: float) -> None:
    """Raise a ValueError unless this is a share of weights to delete, from 0 to 1.

    Parameters
    ----------
    sparsity : what is to be checked.
    """
    if isinstance(sparsity, str | bool) or sparsity is None or not 0 <= sparsity <= 1:
        raise ValueError(f"expected a sparsity from 0 to 1 (the share of weights to delete), got {sparsity!r}")


def _check_rounds(rounds: int) -> None:
    try:
        number = index(rounds)
    except TypeError:
        raise TypeError(f"expected a whole number of rounds, got {rounds!r}") from None
    if number < 1:
        raise ValueError(f"expected at least one round, got {rounds}")
    if number > MOST_ROUNDS:
        raise ValueError(f"expected at most {MOST_ROUNDS} rounds, got {rounds}")
