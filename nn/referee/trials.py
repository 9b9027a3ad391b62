"""What stands before the referees: a layer with a bowl behind it, or a loss; E and its derivatives, by name."""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from nn.backend import Array, ArrayModule, asarray, get_array_module
from nn.module import Module, Parameter
from nn.referee.arrays import cast, cast_layer, fresh, generators, mapped
from nn.referee.report import size

Arrays = dict[str, Array]


def first(key: str) -> str:
    """Return how dE/dkey is written: dE/dW, dE/d(0.W)."""
    return f"dE/d{_symbol(key)}"


def second(key: str) -> str:
    """Return how the diagonal of d2E/dkey2 is written: d2E/dW2, d2E/d(0.W)2."""
    return f"d2E/d{_symbol(key)}2"


def _symbol(key: str) -> str:
    return key if key.isidentifier() and not key[-1].isdigit() else f"({key})"


class Trial:
    """E as a function of named variables, and what the subject says of its derivatives.

    Everything is tried on copies (`twin`): they all start from one state, noise included, and the subject that was
    given is never touched.

    Attributes
    ----------
    name : of the subject.
    variables : {"x": array, "W": array, ...}; the input comes first.
    once : the variables that have a first derivative only.
    """

    name: str
    variables: Arrays
    once: set[str] = set()
    value, sweep = "forward", "backward"
    """What referees call the function and its derivative."""

    def twin(self) -> Self:
        """Return a copy that shares nothing with this one."""
        return copy.deepcopy(self)

    def modules(self) -> Iterator[Module]:
        """Yield the subject and the layers inside it, if it is a layer."""
        yield from ()

    def has_sweep(self) -> bool:
        """Return whether there is a sweep back."""
        return True

    def in_training(self) -> bool:
        """Return whether the subject is a layer in train mode."""
        return False

    def checked(self, E: Any) -> None:
        """Raise a ValueError if what the forward has given is not finite, or E no number."""
        if np.shape(E) != ():
            raise ValueError(f"expected {self.name} to give one number, got an array of shape {np.shape(E)}")
        if not np.isfinite(E):
            raise ValueError(f"expected {self.name} to give a finite number, got {E}")

    def moved(self, xp: ArrayModule) -> Self:
        """Return a copy whose arrays are of another library."""
        twin = self.twin()
        twin.variables = {key: xp.asarray(value) for key, value in self.variables.items()}
        return twin

    def scale(self) -> float:
        """Return the size of the signal that goes back, beside which rounding is to be seen; 0 if there is none."""
        return 0.0

    def in_dtype(self, dtype: Any) -> Self:
        """Return a copy whose real floating-point arrays are of another dtype."""
        twin = self.twin()
        twin.variables = cast(self.variables, dtype)
        return twin

    def rewind(self, start: Self) -> None:
        """Put back the state that a forward pass may use up, noise above all, to that of `start`."""

    def outputs(self, E: Array) -> Arrays:
        """Return what the forward has computed."""
        return {"E": E}

    def given(self) -> tuple[Arrays, Arrays]:
        """Return all that the subject was given in the last pass and sweep, as it was and as it is."""
        raise NotImplementedError

    def of_parameters(self, twice: bool) -> tuple[str, Arrays]:
        """Run the sweep back that only fills what belongs to parameters; return its name and what it has left."""
        return "", {}

    def energy(self, changed: Mapping[str, Array] | None = None) -> Array:
        """Return E, with some of the variables changed."""
        raise NotImplementedError

    def back(self) -> Arrays:
        """Return dE/d(variable) by name, from the sweep back behind the last `energy`."""
        raise NotImplementedError

    def curvature(self) -> tuple[Arrays, Arrays]:
        """Return the first and the second derivatives by name, from the sweep of both."""
        raise NotImplementedError


class LayerTrial(Trial):
    """E = sum(g y + h y^2 / 2) of the output y of a layer: a bowl, with nothing off the diagonal of d2E/dy2.

    Its derivatives are known, dE/dy = g + h y and d2E/dy2 = h, so that whatever is wrong is the layer's.
    """

    def __init__(self, layer: Module, x: np.ndarray, rng: np.random.Generator):
        self.name, self.layer = type(layer).__name__, layer
        # Parameters of gates, and of other layers with noise, have first derivatives in train mode, in eval mode none.
        gates = [module for module in layer.modules() if hasattr(module, "hardened")]
        still = [u for gate in gates if not gate.training for u in gate.parameters()]
        self.parameters = {key: p for key, p in named(layer).items() if not any(p is u for u in still)}
        drawn = [u for gate in gates for u in gate.parameters()]
        self.once = {key for key, p in self.parameters.items() if any(p is u for u in drawn)}
        self.variables = {"x": x, **{key: p.data for key, p in self.parameters.items()}}
        y = asked("forward", copy.deepcopy(layer), x.copy())
        if not isinstance(y, np.ndarray):
            raise TypeError(f"expected forward of {self.name} to return one array, got {type(y).__name__}")
        self.draw_bowl(y.shape, rng)

    def draw_bowl(self, shape: tuple[int, ...], rng: np.random.Generator) -> None:
        """Draw g and h."""
        self.g, self.h = rng.standard_normal(shape), rng.standard_normal(shape)

    def modules(self) -> Iterator[Module]:
        """Yield the layer and those inside it."""
        return self.layer.modules()

    def in_training(self) -> bool:
        """Return whether the layer is in train mode."""
        return self.layer.training

    def checked(self, E: Any) -> None:
        """Raise a ValueError if the outputs are not finite."""
        bad = int(np.sum(~np.isfinite(self.y)))
        if bad:
            raise ValueError(f"expected finite outputs of {self.name}, got NaN or infinity in {bad} of {self.y.size}")

    def moved(self, xp: ArrayModule) -> Self:
        """Return a copy whose arrays are of another library."""
        twin = super().moved(xp)
        twin.layer.to(xp)
        return twin

    def in_dtype(self, dtype: Any) -> Self:
        """Return a copy whose real floating-point arrays are of another dtype, those of the layer too."""
        twin = super().in_dtype(dtype)
        cast_layer(twin.layer, dtype)
        twin.g, twin.h = cast((self.g, self.h), dtype)
        return twin

    def rewind(self, start: "LayerTrial") -> None:
        """Put generators and buffers back."""
        for module, origin in zip(self.layer.modules(), start.layer.modules()):
            for name in module.buffers:
                setattr(module, name, copy.deepcopy(getattr(origin, name)))
            for own, before in zip(generators(vars(module)), generators(vars(origin))):
                own.bit_generator.state = before.bit_generator.state

    def scale(self) -> float:
        """Return the size of g and h."""
        return size(self.g, self.h)

    def energy(self, changed: Mapping[str, Array] | None = None) -> Array:
        """Return E."""
        variables = {**self.variables, **(changed or {})}
        for key, parameter in self.parameters.items():
            parameter.data = fresh(variables[key])
        self.before = {"x": variables["x"], **{key: variables[key] for key in self.parameters}}
        self.x = fresh(variables["x"])
        self.y = asked("forward", self.layer, self.x)
        if tuple(self.y.shape) != self.g.shape:
            raise ValueError(
                f"{self.name} gave an output of shape {self.g.shape}, and then one of {tuple(self.y.shape)}"
            )
        self.before["y"] = fresh(self.y)
        self.gy, self.hy = self.signals(self.y)
        self.before |= {"dE/dy": fresh(self.gy), "d2E/dy2": fresh(self.hy)}
        return get_array_module(self.y).sum(self.bowl(self.y))

    def outputs(self, E: Array) -> Arrays:
        """Return y."""
        return {"y": self.y}

    def given(self) -> tuple[Arrays, Arrays]:
        """Return input, parameters, output and signals, as they were and as they are."""
        data = {key: parameter.data for key, parameter in self.parameters.items()}
        return self.before, {"x": self.x, **data, "y": self.y, "dE/dy": self.gy, "d2E/dy2": self.hy}

    def bowl(self, y: Array) -> Array:
        """Return the terms of E."""
        g, h = self.slopes(y)
        return g * y + h * y * y / 2

    def signals(self, y: Array) -> tuple[Array, Array]:
        """Return dE/dy and the diagonal of d2E/dy2, which go back through the layer."""
        g, h = self.slopes(y)
        return g + h * y, h + 0 * y

    def slopes(self, y: Array) -> tuple[Array, Array]:
        """Return g and h in the library of y; real numbers, also where y is complex under a complex step."""
        xp = get_array_module(y)
        dtype = xp.float64 if xp.isdtype(y.dtype, "complex floating") else y.dtype
        return asarray(self.g, y, dtype), asarray(self.h, y, dtype)

    def back(self) -> Arrays:
        """Return dE/dx and the gradients."""
        return {first("x"): asked("backward", self.layer, self.gy)} | self.left(first, "grad")

    def curvature(self) -> tuple[Arrays, Arrays]:
        """Return the pair of ``backward_hessian``, and grad and hess_diag."""
        gx, hx = self.layer.backward_hessian(self.gy, self.hy)
        return {first("x"): gx} | self.left(first, "grad"), {second("x"): hx} | self.left(second, "hess_diag")

    def of_parameters(self, twice: bool) -> tuple[str, Arrays]:
        """Run ``backward_parameters`` or, for both derivatives, ``backward_hessian_parameters``."""
        if not twice:
            asked("backward_parameters", self.layer, self.gy)
            return "backward_parameters", self.left(first, "grad")
        asked("backward_hessian_parameters", self.layer, self.gy, self.hy)
        return "backward_hessian_parameters", self.left(first, "grad") | self.left(second, "hess_diag")

    def left(self, naming: Callable[[str], str], what: str) -> Arrays:
        """Return what the last sweep has left in the parameters."""
        asked_for = self.parameters.keys() - (self.once if what == "hess_diag" else set())
        return {naming(key): getattr(p, what) for key, p in self.parameters.items() if key in asked_for}


class LossTrial(Trial):
    """E(y, t) of a loss, with its targets."""

    def __init__(self, loss: Any, y: np.ndarray, t: Any):
        self.name, self.loss, self.t = type(loss).__name__, loss, t
        self.parameters: dict[str, Parameter] = {}
        self.variables = {"y": y}

    def energy(self, changed: Mapping[str, Array] | None = None) -> Array:
        """Return E."""
        self.before = {**self.variables, **(changed or {})}
        self.y = fresh(self.before["y"])
        return asked("forward", self.loss, self.y, self.t)

    def given(self) -> tuple[Arrays, Arrays]:
        """Return the outputs, as they were and as they are."""
        return self.before, {"y": self.y}

    def in_dtype(self, dtype: Any) -> Self:
        """Return a copy whose real floating-point arrays are of another dtype, its targets too."""
        twin = super().in_dtype(dtype)
        twin.t = cast(self.t, dtype)
        return twin

    def moved(self, xp: ArrayModule) -> Self:
        """Return a copy whose arrays are of another library, its targets too."""
        twin = super().moved(xp)
        twin.t = mapped(twin.t, xp.asarray)
        return twin

    def back(self) -> Arrays:
        """Return dE/dy."""
        return {first("y"): asked("backward", self.loss)}

    def curvature(self) -> tuple[Arrays, Arrays]:
        """Return dE/dy and the diagonal of d2E/dy2."""
        return self.back(), {second("y"): self.loss.backward_hessian()}


def asked(what: str, subject: Any, *arguments: Any) -> Any:
    """Return what a method gives for these arguments; a ValueError that names the method if it raises anything."""
    try:
        return getattr(subject, what)(*arguments)
    except Exception as error:
        raise ValueError(f"{what} of {type(subject).__name__} raised {type(error).__name__}: {error}") from error


def named(layer: Module) -> dict[str, Parameter]:
    """Return the parameters of a layer by name, each once; one that is called like the input is "self.x"."""
    found: dict[str, Parameter] = {}
    for name, parameter in layer.named_parameters():
        if not any(parameter is other for other in found.values()):
            found["self.x" if name == "x" else name] = parameter
    return found
