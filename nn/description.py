"""A net as plain JSON, class names and constructor's arguments, and an outline of the net built from it.

Layers live in nn or pruning: a description names a class, and only the layers of these two packages are looked up.
Nothing that a description names is imported or run.
"""

import json
import math
from collections import Counter
from typing import Any

from nn.module import DEPTH, Module, inside

PACKAGES = ("nn", "pruning")
AT_MOST = 2**20
"""The largest number in a description that may be larger than the file itself: some layers make arrays of that size."""


def architecture(module: Module, name: str = "") -> dict[str, Any]:
    """Return class name, constructor arguments and children of a module, as plain JSON.

    Raises
    ------
    ValueError
        If a layer lives elsewhere, or shares its name with another class, or has arguments that JSON cannot hold: it
        could be saved, but not be built again.
    """
    kind, place = type(module), f" at {name}" if name else ""
    if _home(kind) not in PACKAGES:
        raise ValueError(
            f"only layers that live in nn or pruning can be saved and loaded, got a {kind.__name__}{place} that lives"
            f" in {kind.__module__}: move its class into a module of pruning"
        )
    if Counter(each.__name__ for each in _kinds())[kind.__name__] > 1:
        raise ValueError(f"two layers have the name {kind.__name__}, of which{place} no file could tell which is meant")
    try:
        arguments = json.loads(json.dumps(module.config()))
    except TypeError as error:
        raise ValueError(f"the {kind.__name__}{place} has arguments that no file can hold: {error}") from None
    children = [architecture(child, inside(name, key)) for key, child in module.children()]
    return {"class": kind.__name__, "arguments": arguments, "children": children}


def build(description: dict[str, Any], numbers: int = 0, depth: int = 0) -> Module:
    """Return an outline of the net that `architecture` described, in a file that holds so many numbers.

    `depth` is that of the container around it.

    Raises
    ------
    ValueError
        If a class is none of the layers of nn and pruning, an argument is larger than any array of such a file, or a
        layer stands deeper than containers may.
    """
    if depth > DEPTH:
        raise ValueError(f"the checkpoint describes containers more than {DEPTH} deep inside each other")
    name = description["class"]
    kinds = [kind for kind in _kinds() if kind.__name__ == name]
    if len(kinds) != 1:
        known = ", ".join(sorted({kind.__name__ for kind in _kinds()}))
        found = "names two classes" if kinds else "is none of them"
        raise ValueError(f"the checkpoint names the layer {name!r}, expected one of {known}; it {found}")
    most = max([0, *_sizes(description["arguments"])])
    if most > max(AT_MOST, numbers):
        raise ValueError(f"the checkpoint describes a {name} with the number {most}, more than the file could hold")
    children = [build(child, numbers, depth + 1) for child in description["children"]]
    return kinds[0](*children, **description["arguments"])


def _home(kind: type[Module]) -> str:
    return kind.__module__.partition(".")[0]


def _kinds() -> list[type[Module]]:
    return [kind for kind in _subclasses(Module) if _home(kind) in PACKAGES]


def _subclasses(kind: type[Module]) -> list[type[Module]]:
    found = {each: None for child in kind.__subclasses__() for each in (child, *_subclasses(child))}
    return list(found)  # a class with two parents among the layers counts once


def _sizes(arguments: dict[str, Any]) -> list[int]:
    image = arguments.get("bias_map")  # the one argument that is the shape of an array, for every filter
    return _integers(arguments) + ([arguments["c_out"] * math.prod(image)] if image else [])


def _integers(arguments: Any) -> list[int]:
    if isinstance(arguments, dict):
        return _integers(list(arguments.values()))
    if isinstance(arguments, list):
        return [number for each in arguments for number in _integers(each)]
    return [arguments] if isinstance(arguments, int) else []


def difference(saved: dict[str, Any], module: Module, name: str = "") -> str:
    """Return in words the first place where the architecture in a file and that of a net differ."""
    place, kind, children = name or "the net", type(module).__name__, list(module.children())
    if saved["class"] != kind:
        return f"{place} is a {saved['class']} in the file and a {kind} here"
    theirs, ours = saved["arguments"], architecture(module)["arguments"]
    for key in [*ours, *theirs]:
        if theirs.get(key) != ours.get(key):
            return f"{place} is a {kind} with {key} {theirs.get(key)} in the file and {ours.get(key)} here"
    if len(saved["children"]) != len(children):
        return f"{place} has {len(saved['children'])} layers in the file and {len(children)} here"
    different = ((each, *own) for each, own in zip(saved["children"], children) if each != architecture(own[1]))
    theirs, key, child = next(different)
    return difference(theirs, child, inside(name, key))
