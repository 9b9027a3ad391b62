"""The referees of a derivative that need NumPy only: the complex step, and differences where it cannot be believed.

Each is asked for one variable at a time, and for at most `ENTRIES` of its numbers: a random choice of a larger array.
"""

import functools
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from nn.backend import to_numpy
from nn.gradcheck import central_difference, complex_step
from nn.referee.report import size
from nn.referee.trials import Trial, first

ENTRIES = 256
"""How many numbers of one array are judged; each costs a forward pass and a sweep back."""

FEW = 64
"""How many numbers an array may have whose whole second derivative is taken from E alone: that many squared, twice."""

LOOSE = 1e-6
"""What central differences, step 1e-5, are allowed."""

LOOSEST = 1e-4
"""What second differences of a value, step 1e-4, are allowed."""


@dataclass(frozen=True)
class Found:
    """What a referee found for the judged entries of a variable."""

    referee: str
    values: np.ndarray
    tolerance: float


class Judge:
    """All that is asked about one variable of a trial.

    Attributes
    ----------
    entries : which numbers of the variable are judged.
    unsafe : why the last complex step could not be believed, or "".
    """

    def __init__(self, trial: Trial, key: str, rng: np.random.Generator, tolerance: float):
        self.trial, self.key, self.rng, self.tolerance = trial, key, rng, tolerance
        self.whole = trial.variables[key]
        n = self.whole.size
        self.entries = np.arange(n) if n <= ENTRIES else np.sort(rng.choice(n, ENTRIES, replace=False))
        self.unsafe = ""

    def chosen(self, array: Any) -> Any:
        """Return the judged entries of an array; what has another shape than the variable comes back as it is."""
        if tuple(getattr(array, "shape", (None,))) != self.whole.shape:
            return array
        return np.reshape(to_numpy(array), -1)[self.entries]

    @property
    def start(self) -> np.ndarray:
        """The judged entries as they are."""
        return np.reshape(self.whole, -1)[self.entries]

    def energy(self, v: np.ndarray) -> Any:
        """Return E with the judged entries changed to v."""
        return self._run(v)[1]

    def back(self, v: np.ndarray) -> np.ndarray:
        """Return the judged entries of the derivative by the sweep back, with these entries changed to v."""
        twin, _ = self._run(v)
        return self.chosen(twin.back()[first(self.key)])

    def _run(self, v: np.ndarray) -> tuple[Trial, Any]:
        twin = self.trial.twin()
        changed = np.array(self.whole, dtype=v.dtype)
        changed.reshape(-1)[self.entries] = v
        return twin, twin.energy({self.key: changed})

    def first(self) -> Found:
        """Return the derivative by the complex step of E, or by central differences if that cannot be believed."""
        J = self._complex(self.energy)
        if J is not None:
            return Found(f"complex step of {self.trial.value}", J, self.tolerance)
        J = central_difference(self.energy, self.start)
        return Found(f"central differences of {self.trial.value}", J, max(LOOSE, self.tolerance))

    def second(self, trusted: bool) -> Found:
        """Return the diagonal of the second derivative, by the complex step of the sweep back.

        If that sweep is not to be trusted, for its first derivative is wrong, by second differences of E.
        """
        if trusted:
            H, where, allowed = self.matrix()
            return Found(where, np.diagonal(H), allowed)
        values = second_differences(self.energy, self.start)
        return Found(f"second differences of {self.trial.value}", values, max(LOOSEST, self.tolerance))

    def matrix(self) -> tuple[np.ndarray, str, float]:
        """Return the second derivative by the judged entries, the name of its referee, and what that is allowed."""
        H = self._complex(self.back)
        if H is not None:
            return H, f"complex step of {self.trial.sweep}", self.tolerance
        H = central_difference(self.back, self.start)
        return H, f"central differences of {self.trial.sweep}", max(LOOSE, self.tolerance)

    def matrix_by(self, trusted: bool) -> tuple[np.ndarray, str, float] | None:
        """Return what `matrix` does if the sweep back is trusted, else `matrix_of_energy`; None if that takes long."""
        if trusted:
            return self.matrix()
        return self.matrix_of_energy() if self.whole.size <= FEW else None

    def matrix_of_energy(self) -> tuple[np.ndarray, str, float]:
        """Return the same without the sweep: central differences of the complex step of E, or of central differences.

        It takes as many evaluations of E as the matrix has entries, and more.
        """
        if self._complex(self.energy) is not None:
            H = central_difference(lambda v: complex_step(self.energy, v), self.start)
            return H, f"differences of the complex step of {self.trial.value}", max(LOOSE, self.tolerance)
        H = central_difference(lambda v: central_difference(self.energy, v, 1e-4), self.start, 1e-4)
        return H, f"second differences of {self.trial.value}", max(LOOSEST, self.tolerance)

    def _complex(self, f: Callable[[np.ndarray], Any]) -> np.ndarray | None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                J = complex_step(f, self.start)
        except Exception as error:
            self.unsafe = f"it raised {said(error.__cause__ or error)}"
            return None
        self.unsafe = "" if self._believed(f, J) else "it loses the imaginary part"
        return None if self.unsafe else J

    def _believed(self, f: Callable[[np.ndarray], Any], J: np.ndarray) -> bool:
        # Code that loses the imaginary part (an absolute value does) gives wrong numbers without a word.  Along one
        # random direction the complex step must agree with a central difference.
        u, along = self.start, self.rng.standard_normal(self.start.shape)
        if self._agree(f, J, u, along):
            return True
        return bool(np.any(self.kinks)) and self._agree(f, J, u, np.where(self.kinks, 0.0, along))

    @staticmethod
    def _agree(f: Callable[[np.ndarray], Any], J: np.ndarray, u: np.ndarray, along: np.ndarray) -> bool:
        eps = 1e-6 * max(1.0, float(np.max(np.abs(u))))
        ahead, behind = np.asarray(f(u + eps * along)), np.asarray(f(u - eps * along))
        slope, ours = (ahead - behind) / (2 * eps), np.tensordot(along, J, axes=1)
        return size(slope - ours) <= 1e-5 * max(size(slope), size(ours)) + 1e-9 * size(ahead)

    @functools.cached_property
    def kinks(self) -> np.ndarray:
        """Which of the judged entries stand where E has another slope to the left than to the right."""
        left, right = self.slopes
        noise = 1e-6 * (1 + abs(float(np.real(self.energy(self.start)))))
        return np.abs(right - left) > 1e-3 * (np.abs(left) + np.abs(right)) + noise

    @functools.cached_property
    def slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """The slopes of E to the left and to the right, by differences."""
        middle, eps = float(self.energy(self.start)), 1e-6 * max(1.0, float(np.max(np.abs(self.start))))
        steps = eps * np.eye(self.start.size)
        left = [(middle - float(self.energy(self.start - step))) / eps for step in steps]
        right = [(float(self.energy(self.start + step)) - middle) / eps for step in steps]
        return np.array(left), np.array(right)


def second_differences(f: Callable[[np.ndarray], Any], u: np.ndarray, eps: float = 1e-4) -> np.ndarray:
    """Return d2f/du_k2 by (f(u_k + eps) - 2 f(u) + f(u_k - eps)) / eps^2 for every entry."""
    middle, steps = f(u), eps * np.eye(u.size)
    return np.stack([(f(u + step) - 2 * middle + f(u - step)) / eps**2 for step in steps])


def said(error: BaseException) -> str:
    """Return what an exception says in its first line, with its name, in short."""
    text = str(error).strip().partition("\n")[0]
    return textwrap.shorten(f"{type(error).__name__}: {text}".removesuffix(": "), 100, placeholder=" ...")


def installed(*names: str) -> bool:
    """Return whether these packages can be imported."""
    return all(find_spec(name) is not None for name in names)
