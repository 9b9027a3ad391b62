"""What a run remembers beside its net: optimizer, generators, progress and companions, as a file says it, checked.

Nothing here changes an object of the run but `load_companions`, and that puts back what it changed if one refuses.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nn.backend import NUMPY, Array, asarray, dtype_name
from nn.companions import Companion
from nn.module import Module
from nn.optimizers import Optimizer
from nn.parameter import Parameter

RUN = {"epoch", "step", "epoch_loss", "history"}
"""What `nn.training.train` keeps as its progress."""


def kind_of(array: Any) -> tuple[tuple[int, ...], str]:
    """Return shape and name of the dtype of an array of any library, or of an outline."""
    return tuple(array.shape), dtype_name(array.dtype)


def generator_state(state: Any) -> Any:
    """Return the state of a random generator as plain JSON: those of MT19937, Philox and SFC64 hold arrays."""
    if isinstance(state, Mapping):
        return {name: generator_state(each) for name, each in state.items()}
    return state.tolist() if isinstance(state, NUMPY) else state


def check_generator_state(path: Path | str, rng: np.random.Generator, state: Any) -> None:
    """Raise a ValueError unless this is a state that the generator can go on from."""
    kind = type(rng.bit_generator).__name__
    try:
        copy.deepcopy(rng.bit_generator).state = state
    except Exception:  # NumPy's setters differ in what they check, and how
        raise ValueError(f"{path} holds no state of the random generator {kind}") from None


def check_progress(path: Path, progress: dict[str, Any]) -> None:
    """Raise a ValueError unless this is the progress of a run of `nn.training.train`."""
    if not progress.keys() >= RUN:
        raise ValueError(f"{path} holds a net but no run of nn.training.train to go on with")
    counts = [progress[name] for name in ("epoch", "step")]
    fits = all(isinstance(count, int) and count >= 0 for count in counts)
    loss, history = progress["epoch_loss"], progress["history"]
    fits = fits and isinstance(loss, float) and math.isfinite(loss)
    if not (fits and isinstance(history, list) and all(isinstance(record, dict) for record in history)):
        raise ValueError(f"{path} holds a progress that no run of nn.training.train has: {progress}")


def load_companions(
    path: Path, companions: Sequence[Companion], saved: list[Any], arrays: dict[str, np.ndarray]
) -> None:
    """Hand each companion its saved state; a ValueError if the companions are others, or one refuses: none changes."""
    theirs = [each.get("class") if isinstance(each, dict) else each for each in saved]
    ours = [type(companion).__name__ for companion in companions]
    if theirs != ours:
        found, expected = (", ".join(map(str, names)) or "none" for names in (theirs, ours))
        raise ValueError(f"{path} holds a run with other companions: {found} in the file and {expected} here")
    before = [companion.state() for companion in companions]
    for index, (companion, each) in enumerate(zip(companions, saved)):
        prefix = f"companion/{index}/"
        own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
        try:
            companion.load(dict(each["values"]) | own)
        except Exception as error:  # of a file that says anything
            for loaded, state in zip(companions[:index], before):
                loaded.load(state)
            name = type(companion).__name__
            raise ValueError(f"{path} holds a state that does not fit the {name} of this run: {error}") from None


def describe_optimizer(optimizer: Optimizer, net: Module) -> dict[str, Any]:
    """Return class, settings, step count and parameters of an optimizer of this net, as plain JSON."""
    optimizer.check_net(net)
    described = {"class": type(optimizer).__name__, "settings": optimizer.config(), "steps": optimizer.steps}
    for what, factors in (("decayed", optimizer.decayed), ("rates", optimizer.rates)):
        described[what] = {index: factors[u] for index, u in enumerate(optimizer.parameters) if u in factors}
    return described | {"parameters": _names(optimizer, net)}


def _names(optimizer: Optimizer, net: Module) -> list[str]:
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [names[id(parameter)] for parameter in optimizer.parameters]


def restored_optimizer(
    path: Path, saved: dict[str, Any] | None, arrays: dict[str, np.ndarray], optimizer: Optimizer, net: Module
) -> Optimizer:
    """Return an optimizer like this one, on the same parameters, as the file says; a ValueError if it cannot be."""
    kind = type(optimizer)
    if saved is None or saved.get("class") != kind.__name__:
        found = "no optimizer" if saved is None else saved.get("class")
        raise ValueError(f"{path} holds {found}, expected {kind.__name__}")
    # Files from before all optimizers could decay some parameters only do not say which, and then had lists of them.
    decayed = _factors(path, optimizer, "decayed", saved) if "decayed" in saved else optimizer.decayed
    rates = _factors(path, optimizer, "rates", {"rates": {}} | saved)
    if saved.get("parameters", names := _names(optimizer, net)) != names:
        raise ValueError(f"{path} holds an optimizer of {saved['parameters']}, expected one of {names}")
    settings, steps = saved.get("settings"), saved.get("steps")
    if not isinstance(settings, dict) or settings.keys() != set(optimizer.settings):
        raise ValueError(f"{path} holds the settings {settings}, expected those of {kind.__name__}")
    if not isinstance(steps, int) or steps < 0:
        raise ValueError(f"{path} holds an optimizer after {steps!r} steps, expected a whole number")
    try:
        restored = kind(optimizer.parameters, **settings, decayed=decayed, rates=rates)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} describes no optimizer that can be built ({error})") from None
    restored.steps, restored.state = steps, _memories(path, optimizer, arrays)
    return restored


def _factors(path: Path, optimizer: Optimizer, what: str, saved: dict[str, Any]) -> dict[Parameter, float]:
    found, parameters = saved[what], {str(index): u for index, u in enumerate(optimizer.parameters)}
    try:
        factors = dict.fromkeys(found, 1.0) if isinstance(found, list) else dict(found)
        return {parameters[str(index)]: factor for index, factor in factors.items()}
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} names, as {what}, parameters that the optimizer does not have: {found}") from None


def _memories(path: Path, optimizer: Optimizer, arrays: dict[str, np.ndarray]) -> list[dict[str, Array]]:
    found: list[dict[str, Array]] = [{} for _ in optimizer.parameters]
    for key, array in arrays.items():
        if key.startswith("optimizer/"):
            index, _, name = key.removeprefix("optimizer/").partition("/")
            fits = index.isdecimal() and int(index) < len(found) and name in optimizer.memories
            if not fits or kind_of(array) != kind_of(optimizer.parameters[int(index)]):
                raise ValueError(
                    f"{path} holds an optimizer state that fits no parameter: {key} of shape {array.shape}"
                )
            if name == "square" and not np.all(array >= 0):
                raise ValueError(f"{path} holds squares of gradients below 0 or NaN: {key}")
            if np.any(np.isnan(array)):
                raise ValueError(f"{path} holds NaN in the optimizer state {key}")
            found[int(index)][name] = asarray(array, like=optimizer.parameters[int(index)].data)
    return found
