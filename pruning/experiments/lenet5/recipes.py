"""The stages that rows of the record are made of, with their settings, and the nets that they start from."""

from collections.abc import Mapping, Sequence
from typing import Any

DENSE = {"filters": [20, 50], "hidden": 500}
SMALL = {"filters": [10, 24], "hidden": 120}
ADMM = {"learning_rate": 1e-3, "rho": [0.02, 0.3], "every": 100}
STEPS = {"learning_rate": 1e-3}


def shrink(first: list[int], second: list[int], epochs: int) -> dict[str, Any]:
    """Return the stage of ADMM that ends with so many (filters, columns) in the two convolutions."""
    return {"kind": "structured admm", "shapes": {"0.W": first, "2.W": second}, "epochs": epochs, **ADMM}


def in_steps(first: list[int], second: list[int], epochs: int) -> dict[str, Any]:
    """Return the stage that projects before every epoch, and ends with so many (filters, columns)."""
    return {"kind": "structured in steps", "shapes": {"0.W": first, "2.W": second}, "epochs": epochs, **STEPS}


def purified(shrunk: Mapping[str, Any], half_way: int, keep: int) -> list[dict[str, Any]]:
    """Return the stages of P-RM: ADMM to more weights, then purification in two steps, with retraining after each."""
    first, second = ({"kind": "purify", "keep": left} for left in (half_way, keep))
    return [HALF, dict(shrunk), retraining(3), first, retraining(3), second, retraining(7)]


def at_once(stages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the control of stages of ADMM and retraining: one projection, and retraining for all their epochs."""
    *_, last, retraining = stages
    epochs = sum(stage["epochs"] for stage in stages)
    return [{"kind": "structured at once", "shapes": last["shapes"]}, {**retraining, "epochs": epochs}]


def retraining(epochs: int, learning_rate: float = 2e-3) -> dict[str, Any]:
    """Return the stage that ends every row."""
    return {"kind": "retrain", "epochs": epochs, "learning_rate": learning_rate}


def gradual(keep: int, epochs: int, score: str = "fisher") -> dict[str, Any]:
    """Return the stage that deletes single weights while training."""
    settings = {"learning_rate": 1.5e-3, "every": 20}
    return {"kind": "gradual", "keep": keep, "epochs": epochs, "score": score, **settings}


def whole(keep: int) -> list[dict[str, Any]]:
    """Return the stages of a small net that loses rows and columns until `keep` weights are left."""
    settings = {"learning_rate": 1.5e-3, "every": 15, "warm_up": 4}
    return [{"kind": "whole", "keep": keep, "epochs": 8, **settings}, retraining(20, 3e-3)]


def whole_at_once(keep: int) -> list[dict[str, Any]]:
    """Return its control: the groups are deleted together, after as many epochs."""
    first = {"kind": "whole at once", "keep": keep, "epochs": 12, "learning_rate": 1.5e-3}
    return [first, retraining(20, 3e-3)]


HALF = shrink([5, 12], [20, 60], 4)
TWELFTH = shrink([3, 10], [13, 20], 2)
