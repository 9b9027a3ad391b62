"""The public names of nn, textbook and pruning: where each is documented, and what a dotted name stands for.

A module without ``__all__`` shows the functions and classes that it defines; a package the names of its face.  An
object has one place, the shortest public path to it (`nn.Linear`, not `nn.linear.Linear`).
"""

import functools
import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

ROOTS = ("nn", "textbook", "pruning")
COMMANDS = ("pruning.experiments", "pruning.ledger")
"""What is run rather than called: their modules have pages, their functions have not."""


@functools.cache
def modules() -> dict[str, ModuleType]:
    """Return every module of the three packages by its name."""
    found = {}
    for root in ROOTS:
        package = importlib.import_module(root)
        found[root] = package
        for each in pkgutil.walk_packages(package.__path__, root + "."):
            if not each.name.endswith("__main__") and not any(part[0] == "_" for part in each.name.split(".")):
                found[each.name] = importlib.import_module(each.name)
    return found


def is_command(module: str) -> bool:
    """Whether a module belongs to what is run rather than called."""
    return module.startswith(COMMANDS)


def own(module: ModuleType) -> dict[str, Any]:
    """Return the functions and classes that a module defines for others."""
    return {
        name: value
        for name, value in vars(module).items()
        if name[0] != "_"
        and (inspect.isclass(value) or inspect.isroutine(value))
        and getattr(value, "__module__", None) == module.__name__
    }


@functools.cache
def places() -> dict[int, str]:
    """Return the public path of every function and class, by the object's id."""
    shortest: dict[int, str] = {}

    def offer(value: Any, path: str) -> None:
        if path not in modules() and (id(value) not in shortest or len(path) < len(shortest[id(value)])):
            shortest[id(value)] = path

    for name, module in modules().items():
        if is_command(name):
            continue
        for each, value in own(module).items():
            offer(value, f"{name}.{each}")
        for each in getattr(module, "__all__", ()):
            value = getattr(module, each)
            if inspect.isclass(value) or inspect.isroutine(value):
                offer(value, f"{name}.{each}")
    return shortest


@functools.cache
def documented() -> dict[str, Any]:
    """Return all that has an entry on an API page: its public path, and the object."""
    return {
        places()[id(value)]: value
        for name, module in modules().items()
        if not is_command(name)
        for value in own(module).values()
    }


@functools.cache
def public() -> dict[str, Any]:
    """Return what the faces show: the names of ``__all__``, and all that a module named there defines."""
    found: dict[str, Any] = {}

    def show(module: ModuleType) -> None:
        values = [getattr(module, name) for name in getattr(module, "__all__", ())] or list(own(module).values())
        for value in values:
            if inspect.ismodule(value):
                show(value)
            elif id(value) in places():
                found[places()[id(value)]] = value

    for root in ROOTS:
        show(modules()[root])
    return found


def resolve(dotted: str) -> Any:
    """Return what a dotted name stands for; LookupError if there is nothing of that name."""
    parts = dotted.split(".")
    if parts[0] not in ROOTS:
        raise LookupError(dotted)
    value: Any = modules()[parts[0]]
    for k, part in enumerate(parts[1:], 2):
        around = modules().get(".".join(parts[: k - 1]))  # a module may be hidden by a function of its name
        value = getattr(value, part, None) or modules().get(".".join(parts[:k])) or getattr(around, part, None)
        if value is None:
            raise LookupError(dotted)
    return value


def target(dotted: str) -> str | None:
    """Return where a dotted name is documented: a public path, a module, or None if nothing of it is."""
    value = resolve(dotted)
    if inspect.ismodule(value):
        return value.__name__
    if id(value) in places():
        return places()[id(value)]
    owner, _, attribute = dotted.rpartition(".")
    return method(owner, attribute)


def method(owner: str, attribute: str) -> str | None:
    """Return where an attribute of a class is documented: in the class of ours that defines it."""
    cls = resolve(owner) if owner.partition(".")[0] in ROOTS else None
    for base in getattr(cls, "__mro__", ()):
        if attribute in vars(base) and id(base) in places():
            documented = inspect.isroutine(inspect.unwrap(getattr(base, attribute, None) or 0)) or isinstance(
                vars(base)[attribute], property | classmethod | staticmethod | functools.cached_property
            )
            return f"{places()[id(base)]}.{attribute}" if documented and attribute[0] != "_" else places()[id(base)]
    return None
