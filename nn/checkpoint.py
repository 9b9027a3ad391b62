"""Networks and training runs as .npz files: no pickle, nothing half-written, nothing executed on loading.

A file holds a JSON header (format version, architecture, optimizer, state of the random generator, progress) and one
array per parameter, mask, buffer and optimizer state.  It is written beside its place and renamed into it.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from nn.batchnorm import Dropout
from nn.files import replacing
from nn.module import Module
from nn.optimizers import SGD, Adam, Optimizer
from nn.parameter import Parameter

FORMAT = "pruning-by-hand checkpoint"
VERSION = 2
RUN = {"epoch", "step", "epoch_loss", "history"}
"""What `nn.training.train` keeps as its progress."""


def save(
    path: str | Path,
    net: Module,
    optimizer: Optimizer | None = None,
    rng_state: Mapping[str, Any] | None = None,
    progress: dict[str, Any] | None = None,
) -> None:
    """Write net, optimizer, random state and progress to `path`, whole or not at all.

    Parameters
    ----------
    path : the .npz file; an older one is replaced.
    net : its architecture, parameters, masks and buffers are saved.
    optimizer : its class, settings, state and step count are saved.
    rng_state : ``rng.bit_generator.state`` of the generator that goes on drawing.
    progress : anything that JSON can hold, such as the epoch.
    """
    path = Path(path)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture(net),
        "optimizer": None if optimizer is None else _describe(optimizer),
        "rng": rng_state,
        "progress": progress or {},
        "dropout": {name: d.rng.bit_generator.state for name, d in _dropouts(net).items() if d.rng is not None},
    }
    arrays = {f"data/{name}": parameter.data for name, parameter in net.named_parameters()}
    arrays |= {f"mask/{name}": p.mask for name, p in net.named_parameters() if p.mask is not None}
    arrays |= {f"buffer/{name}": buffer for name, buffer in net.named_buffers()}
    if optimizer is not None:
        for index, state in enumerate(optimizer.state):
            arrays |= {f"optimizer/{index}/{name}": array for name, array in state.items()}
    members = {"header": np.array(json.dumps(header)), **{name: to_numpy(array) for name, array in arrays.items()}}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **members)


def load(path: str | Path) -> Module:
    """Return the network in `path`, built from the architecture in the file, in NumPy and in eval mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no checkpoint, is truncated, is of another format version, or names an unknown layer.
    """
    header, arrays = _read(Path(path))
    try:
        net = build(header["architecture"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} describes no net that can be built ({error})") from None
    _fill(Path(path), net, arrays)
    return net.eval()


def load_optimizer(path: str | Path, net: Module) -> Optimizer:
    """Return the optimizer saved in `path`, on the parameters of `net`; errors as for `load`."""
    path = Path(path)
    header, arrays = _read(path)
    if header["optimizer"] is None:
        raise ValueError(f"{path} holds a network but no optimizer")
    saved = header["optimizer"]
    kinds = {kind.__name__: kind for kind in (SGD, Adam)}
    if saved["class"] not in kinds:
        raise ValueError(f"{path} names the optimizer {saved['class']!r}, expected one of {', '.join(kinds)}")
    try:
        optimizer = kinds[saved["class"]](net.parameters(), **saved["settings"])
    except TypeError as error:
        raise ValueError(f"{path} describes no optimizer that can be built ({error})") from None
    _fill_optimizer(optimizer, saved, _decayed(path, optimizer, saved), _optimizer_states(path, optimizer, arrays))
    return optimizer


def load_progress(path: str | Path) -> dict[str, Any]:
    """Return the progress saved in `path`, {} if there was none; errors as for `load`."""
    return dict(_read(Path(path))[0]["progress"])


def restore(path: str | Path, net: Module, optimizer: Optimizer, rng: np.random.Generator) -> dict[str, Any]:
    """Put a saved run back into `net`, `optimizer` and `rng`, which must be of the same kinds; return the progress.

    Nothing is changed unless everything fits.  The settings of the optimizer, the learning rate included, are those of
    the file afterwards.

    Raises
    ------
    ValueError
        As `load`, or if the file is of another architecture, optimizer or random generator, or was not written by a
        run of `nn.training.train`.
    """
    path = Path(path)
    header, arrays = _read(path)
    if header["architecture"] != architecture(net):
        where = _difference(header["architecture"], net)
        raise ValueError(f"{path} holds a net of another architecture than the one to be restored: {where}")
    saved = header["optimizer"]
    if saved is None or saved["class"] != type(optimizer).__name__:
        found = "no optimizer" if saved is None else saved["class"]
        raise ValueError(f"{path} holds {found}, expected {type(optimizer).__name__}")
    if not header["progress"].keys() >= RUN:
        raise ValueError(f"{path} holds a net but no run of nn.training.train to go on with")
    kind = rng.bit_generator.state["bit_generator"]
    if header["rng"] is None or header["rng"]["bit_generator"] != kind:
        raise ValueError(f"{path} holds no state of the random generator {kind}")
    decayed, states = _decayed(path, optimizer, saved), _optimizer_states(path, optimizer, arrays)
    _fill(path, net, arrays)
    _fill_optimizer(optimizer, saved, decayed, states)
    rng.bit_generator.state = header["rng"]
    for name, dropout in _dropouts(net).items():
        if dropout.rng is not None and name in header["dropout"]:
            dropout.rng.bit_generator.state = header["dropout"][name]
    return dict(header["progress"])


def architecture(module: Module) -> dict[str, Any]:
    """Return class name, constructor arguments and children of a module, as plain JSON.

    Raises
    ------
    ValueError
        If a layer is none of nn's own: it could be saved, but not be built again.
    """
    if _kinds().get(type(module).__name__) is not type(module):
        raise ValueError(f"only layers of nn can be saved and loaded, got a {type(module).__name__}")
    return {
        "class": type(module).__name__,
        "arguments": module.config(),
        "children": [architecture(child) for _, child in module.children()],
    }


def _difference(saved: dict[str, Any], module: Module, name: str = "") -> str:
    # The first place where the architecture in a file and that of a net differ, in words.
    place, kind, children = name or "the net", type(module).__name__, list(module.children())
    if saved["class"] != kind:
        return f"{place} is a {saved['class']} in the file and a {kind} here"
    theirs, ours = saved["arguments"], module.config()
    for key in [*ours, *theirs]:
        if theirs.get(key) != ours.get(key):
            return f"{place} is a {kind} with {key} {theirs.get(key)} in the file and {ours.get(key)} here"
    if len(saved["children"]) != len(children):
        return f"{place} has {len(saved['children'])} layers in the file and {len(children)} here"
    different = ((each, *own) for each, own in zip(saved["children"], children) if each != architecture(own[1]))
    inside, key, child = next(different)
    return _difference(inside, child, f"{name}.{key}" if name else key)


def _kinds() -> dict[str, type[Module]]:
    return {kind.__name__: kind for kind in _subclasses(Module) if kind.__module__.partition(".")[0] == "nn"}


def build(description: dict[str, Any]) -> Module:
    """Return an outline of the net that `architecture` described.

    Raises
    ------
    ValueError
        If a class is none of nn's layers.
    """
    kinds = _kinds()
    name = description["class"]
    if name not in kinds:
        raise ValueError(f"the checkpoint names the layer {name!r}, expected one of {', '.join(sorted(kinds))}")
    children = [build(child) for child in description["children"]]
    return kinds[name](*children, **description["arguments"])


def _subclasses(kind: type[Module]) -> list[type[Module]]:
    return [each for child in kind.__subclasses__() for each in (child, *_subclasses(child))]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        if not zipfile.is_zipfile(path):  # NumPy would advise to unpickle it
            raise ValueError("it is not a whole .npz file")
        # Opened here: NumPy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        header = json.loads(str(arrays.pop("header")))
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        missing = {"version", "architecture", "optimizer", "rng", "progress", "dropout"} - header.keys()
        if missing:
            raise ValueError(f"its header lacks {', '.join(sorted(missing))}")
    except (ValueError, KeyError, TypeError, EOFError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged ({error})") from None
    if header["version"] != VERSION:
        raise ValueError(f"{path} has format version {header['version']}, expected {VERSION}")
    return header, arrays


def _fill(path: Path, net: Module, arrays: dict[str, np.ndarray]) -> None:
    parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    expected = {f"data/{name}": _kind(parameter) for name, parameter in parameters.items()}
    expected |= {f"buffer/{name}": _kind(buffer) for name, buffer in buffers.items()}
    expected |= {f"mask/{name}": _kind(p) for name, p in parameters.items() if f"mask/{name}" in arrays}
    found = {name: _kind(array) for name, array in arrays.items() if not name.startswith("optimizer/")}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ValueError(f"{path} holds arrays that do not fit its architecture: {', '.join(wrong)}")
    for name, parameter in parameters.items():
        mask = arrays.get(f"mask/{name}")
        parameter.mask = None if mask is None else _like(mask, parameter)
        parameter.data = _like(arrays[f"data/{name}"], parameter)
    for prefix, module in _named_modules(net):
        for name in module.buffers:
            old = getattr(module, name)
            setattr(module, name, get_array_module(old).asarray(arrays[f"buffer/{prefix}{name}"]))


def _kind(array: Any) -> tuple[tuple[int, ...], str]:
    return tuple(array.shape), str(array.dtype).rpartition(".")[2]  # "torch.float64" has a prefix


def _like(array: np.ndarray, parameter: Any) -> Array:
    # An outline has no library yet: it becomes a NumPy net.
    return array if parameter.is_outline else get_array_module(parameter.data).asarray(array)


def _dropouts(net: Module) -> dict[str, Dropout]:
    return {name: module for name, module in _named_modules(net) if isinstance(module, Dropout)}


def _named_modules(module: Module, prefix: str = "") -> list[tuple[str, Module]]:
    inside = [each for name, child in module.children() for each in _named_modules(child, f"{prefix}{name}.")]
    return [(prefix, module), *inside]


def _describe(optimizer: Optimizer) -> dict[str, Any]:
    decayed = [index for index, parameter in enumerate(optimizer.parameters) if parameter in optimizer.decayed]
    described = {"class": type(optimizer).__name__, "settings": optimizer.config(), "steps": optimizer.steps}
    return described | {"decayed": decayed}


def _decayed(path: Path, optimizer: Optimizer, saved: dict[str, Any]) -> set[Parameter]:
    if "decayed" not in saved:  # files from before all optimizers could decay some parameters only
        return optimizer.decayed
    parameters = dict(enumerate(optimizer.parameters))
    try:
        return {parameters[index] for index in saved["decayed"]}
    except (KeyError, TypeError):
        raise ValueError(
            f"{path} names decayed parameters that the optimizer does not have: {saved['decayed']}"
        ) from None


def _optimizer_states(path: Path, optimizer: Optimizer, arrays: dict[str, np.ndarray]) -> list[dict[str, Array]]:
    states: list[dict[str, Array]] = [{} for _ in optimizer.parameters]
    for key, array in arrays.items():
        if key.startswith("optimizer/"):
            index, _, name = key.removeprefix("optimizer/").partition("/")
            fits = index.isdecimal() and int(index) < len(states)
            if not fits or _kind(array) != _kind(optimizer.parameters[int(index)]):
                raise ValueError(
                    f"{path} holds an optimizer state that fits no parameter: {key} of shape {array.shape}"
                )
            states[int(index)][name] = _like(array, optimizer.parameters[int(index)])
    return states


def _fill_optimizer(
    optimizer: Optimizer, saved: dict[str, Any], decayed: set[Parameter], states: list[dict[str, Array]]
) -> None:
    for name, value in saved["settings"].items():
        setattr(optimizer, name, tuple(value) if isinstance(value, list) else value)
    optimizer.steps, optimizer.decayed, optimizer.state = saved["steps"], decayed, states
