"""Networks and training runs as .npz files: no pickle, nothing half-written, nothing executed on loading.

A file holds a JSON header (format version, architecture, optimizer, states of the random generators, companions of
training, progress) and one array per parameter, mask, buffer, and memory of the optimizer and of the companions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nn import archive
from nn.backend import Array, asarray, get_array_module
from nn.companions import Companion, is_array
from nn.description import architecture, build, difference
from nn.module import Module, inside
from nn.optimizers import Optimizer
from nn.run_state import (
    check_generator_state,
    check_progress,
    describe_optimizer,
    generator_state,
    kind_of,
    load_companions,
    restored_optimizer,
)

FORMAT = "pruning-by-hand checkpoint"
VERSION = 3


def save(
    path: str | Path,
    net: Module,
    optimizer: Optimizer | None = None,
    rng_state: Mapping[str, Any] | None = None,
    progress: dict[str, Any] | None = None,
    companions: Sequence[Companion] = (),
) -> None:
    """Write net, optimizer, random state, companions and progress to `path`, whole or not at all.

    Parameters
    ----------
    path : the .npz file; an older one is replaced.
    net : its architecture, parameters, masks, buffers and the generators of its layers are saved.
    optimizer : its class, settings, state and step count are saved.
    rng_state : ``rng.bit_generator.state`` of the generator that goes on drawing.
    progress : anything that JSON can hold, such as the epoch.
    companions : what goes along with the training; their states are saved.

    Raises
    ------
    ValueError
        If a layer could not be built again, a number in a weight, mask or buffer could not be (NaN, a negative
        variance, a mask of a half), or the optimizer is of another net.
    """
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": architecture(net),
        "optimizer": None if optimizer is None else describe_optimizer(optimizer, net),
        "rng": generator_state(rng_state),
        "progress": progress or {},
        "generators": {name: generator_state(rng.bit_generator.state) for name, rng in net.named_generators()},
        "companions": [],
    }
    arrays = {f"data/{name}": parameter.data for name, parameter in net.named_parameters()}
    arrays |= {f"mask/{name}": p.mask for name, p in net.named_parameters() if p.mask is not None}
    arrays |= {f"buffer/{name}": buffer for name, buffer in net.named_buffers()}
    if optimizer is not None:
        for index, memory in enumerate(optimizer.state):
            arrays |= {f"optimizer/{index}/{name}": array for name, array in memory.items()}
    for index, companion in enumerate(companions):
        state = companion.state()
        arrays |= {f"companion/{index}/{key}": value for key, value in state.items() if is_array(value)}
        values = {key: value for key, value in state.items() if not is_array(value)}
        header["companions"].append({"class": type(companion).__name__, "values": values})
    _check_values("the net to be saved", arrays)
    archive.write(Path(path), header, arrays)


def load(path: str | Path) -> Module:
    """Return the network in `path`, built from the architecture in the file, in NumPy and in eval mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no checkpoint, is damaged, is of another format version, or names an unknown layer.
    """
    path = Path(path)
    header, arrays = _read(path)
    try:
        net = build(header["architecture"], sum(array.size for array in arrays.values()))
    except Exception as error:  # the constructors of all layers, called with anything
        raise ValueError(f"{path} describes no net that can be built ({error})") from None
    _fill(net, _fitting(path, net, arrays))
    return net.eval()


def load_progress(path: str | Path) -> dict[str, Any]:
    """Return the progress saved in `path`, {} if there was none; errors as for `load`."""
    return dict(_read(Path(path))[0]["progress"])


def restore(
    path: str | Path,
    net: Module,
    optimizer: Optimizer,
    rng: np.random.Generator,
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """Put a saved run back into net, optimizer, rng and companions, of the same kinds as were saved; return progress.

    Nothing is changed unless everything fits.  The settings of the optimizer, the learning rate included, are those of
    the file afterwards.

    Parameters
    ----------
    path : the file that `save` wrote.

    Raises
    ------
    ValueError
        As `load`, or if the file is of another architecture, optimizer, random generator or companions, or was not
        written by a run of `nn.training.train`, or the optimizer is of another net.
    """
    path = Path(path)
    header, arrays = _read(path)
    optimizer.check_net(net)
    if header["architecture"] != architecture(net):
        raise ValueError(
            f"{path} holds a net of another architecture than the one to be restored: "
            + _in_words(header["architecture"], net)
        )
    restored = restored_optimizer(path, header["optimizer"], arrays, optimizer, net)
    check_progress(path, header["progress"])
    generators = dict(net.named_generators())
    if header["generators"].keys() != generators.keys():
        raise ValueError(f"{path} holds generators of the layers {[*header['generators']]}, expected {[*generators]}")
    states = [(rng, header["rng"]), *((generators[name], state) for name, state in header["generators"].items())]
    for generator, state in states:
        check_generator_state(path, generator, state)
    fitting = _fitting(path, net, arrays)
    load_companions(path, companions, header["companions"], arrays)  # the last that can fail
    _fill(net, fitting)
    for name in (*optimizer.settings, "steps", "decayed", "rates", "state"):
        setattr(optimizer, name, getattr(restored, name))
    for generator, state in states:
        generator.bit_generator.state = state
    return dict(header["progress"])


def _in_words(saved: Any, net: Module) -> str:
    try:
        return difference(saved, net)
    except (KeyError, TypeError, AttributeError, StopIteration):
        return "its description is damaged"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    header, arrays = archive.read(path)
    if header.get("format") != FORMAT:
        problem = f"its format is {header.get('format')!r}"
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged ({problem})")
    if header.get("version") == 2:  # had no companions, and of all layers with a generator Dropout alone
        header |= {"generators": header.pop("dropout", None), "companions": [], "version": VERSION}
    if header.get("version") != VERSION:
        raise ValueError(f"{path} has format version {header.get('version')}, expected 2 or {VERSION}")
    kinds: dict[str, Any] = {"progress": dict, "generators": dict, "companions": list, "optimizer": dict | None}
    for name in (*kinds, "architecture", "rng"):
        if name not in header or not isinstance(header[name], kinds.get(name, object)):
            raise ValueError(f"{path} is no checkpoint of this project, or is damaged (its header lacks {name})")
    # Files from before a layer could have several generators name the layer alone: "3." is "3.rng".
    header["generators"] = {f"{n}rng" if f".{n}"[-1] == "." else n: s for n, s in header["generators"].items()}
    _check_values(str(path), arrays)
    return header, arrays


def _check_values(where: str, arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        kind, xp = name.partition("/")[0], get_array_module(array)
        if kind not in ("data", "mask", "buffer") or not xp.isdtype(array.dtype, "real floating"):
            continue  # what is of another dtype fits no net
        if not bool(xp.all(xp.isfinite(array))):
            raise ValueError(f"expected finite numbers in {where}, got NaN or infinity in {name}")
        if kind == "mask" and not bool(xp.all((array == 0) | (array == 1))):
            raise ValueError(f"expected masks of zeros and ones in {where}, got other numbers in {name}")
        if name.endswith("variance") and bool(xp.any(array < 0)):
            raise ValueError(f"expected variances of 0 or more in {where}, got a negative one in {name}")


def _fitting(path: Path, net: Module, arrays: dict[str, np.ndarray]) -> dict[str, Array]:
    """Return the arrays of the net, in its library; a ValueError unless they are those that its architecture has."""
    parameters, buffers = dict(net.named_parameters()), dict(net.named_buffers())
    like = {f"data/{name}": None if p.is_outline else p.data for name, p in parameters.items()}
    like |= {f"mask/{name}": like[f"data/{name}"] for name in parameters if f"mask/{name}" in arrays}
    like |= {f"buffer/{name}": buffer for name, buffer in buffers.items()}
    expected = {name: kind_of((parameters | buffers)[name.partition("/")[2]]) for name in like}
    found = {
        name: kind_of(array) for name, array in arrays.items() if not name.startswith(("optimizer/", "companion/"))
    }
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        raise ValueError(f"{path} holds arrays that do not fit its architecture: {', '.join(wrong)}")
    # An outline has no library yet: it becomes a NumPy net.
    return {n: arrays[n] if array is None else asarray(arrays[n], like=array) for n, array in like.items()}


def _fill(net: Module, arrays: dict[str, Array]) -> None:
    for name, parameter in net.named_parameters():
        parameter.data, parameter.mask = arrays[f"data/{name}"], arrays.get(f"mask/{name}")
    for place, module in net.named_modules():
        for name in module.buffers:
            setattr(module, name, arrays[f"buffer/{inside(place, name)}"])
