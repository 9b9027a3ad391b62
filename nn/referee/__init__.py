"""A layer, a loss or a formula of your own on trial: `verify` and `verify_formula`.

trials              what stands before the referees: E and its derivatives, by name
judges, autograd    the referees: the complex step, central differences where code is not complex-safe, torch
derivatives         every first and second derivative, held against them
parts               full matrices, and the layers inside one that drops terms
conduct             once more the same, nothing changed in place, float32, other array libraries
examination         all of this in order
report              the lines: as a table, as true or false, as JSON
arrays              what the trials stand on
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from nn.arguments import nonnegative
from nn.backend import Array, get_array_module, to_numpy
from nn.module import Module
from nn.referee.examination import Examination
from nn.referee.formulas import FULL, examined
from nn.referee.report import Line, Report
from nn.referee.trials import first, second

__all__ = ["Line", "Report", "verify", "verify_formula"]


def verify(
    subject: Any, x: Any, rng: np.random.Generator | None = None, t: Any = None, tolerance: float = 1e-10
) -> Report:
    """Hold a layer, an activation or a loss against referees that know nothing of its derivatives.

    Behind a layer stands a bowl, E = sum(g y + h y^2 / 2) of its output y with random g and h, whose derivatives are
    known and which has nothing off the diagonal.  Judged are dE/dx, dE/du of every parameter u, and the diagonals of
    d2E/dx2 and d2E/du2: by the complex step always, by autograd of the same forward where torch is installed.  Then:
    every sweep a second time, the sweeps of parameters alone, nothing changed in place, float32 in and out, other array
    libraries, and train mode as well as eval mode.  Noise is that of one draw.  ``backward_hessian_full`` of a layer,
    and ``hessian``, ``hessian_root`` and ``backward_tangent`` of a loss, are judged where they exist.

    Parameters
    ----------
    subject : a layer (`nn.Module`), or a loss if there are targets.  All is tried on copies; it stays as it is.
    x : the input, with the batch last, or its shape: numbers are then drawn from a normal distribution.  Of a loss,
        the outputs y.
    rng : draws all that is random here; None is one that begins anew, so that the same call gives the same report.
    t : targets of the loss, as its ``forward`` takes them.
    tolerance : the relative error ||ours - reference|| / ||reference|| that is allowed, in float64.

    Returns
    -------
    report : a `Report`, which prints as a table and is true if nothing is wrong.  A layer that says that it drops terms
        (``exact_diagonal = False``) has its second derivatives measured, and those of each layer inside it judged.
        Code that takes no complex numbers is judged by central differences, with a tolerance of 1e-6, and the report
        says so.  Of an array of more than 256 numbers a random choice of 256 is judged, each by passes of its own: a
        small layer takes a tenth of a second, a LeNet-5 a minute.

    Raises
    ------
    TypeError
        If the subject is no layer, or a loss without targets, or x neither an array nor a shape.
    ValueError
        If x or an output is not finite, a loss gives no number, an output has another shape the second time, or
        ``forward`` or ``backward`` raises something for this x.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> class Bump(nn.Activation):
    ...     def f(self, a): return np.exp(-a * a / 2)
    ...     def df(self, a): return -a * np.exp(-a * a / 2)
    ...     def d2f(self, a): return (a * a - 1) * np.exp(-a * a / 2)
    >>> bool(nn.verify(Bump(), (3, 5)))
    True
    """
    rng = _generator(rng)
    subject = _copy(subject, t)
    x = _array(x, rng, "x" if t is None else "y")
    examination = Examination(rng, nonnegative(tolerance, "tolerance"))
    return examination.layer(subject, x) if t is None else examination.loss(subject, x, t)


def verify_formula(
    E: Callable[[Any], Any],
    u: Array,
    gradient: Any = None,
    hess_diag: Any = None,
    hessian: Any = None,
    rng: np.random.Generator | None = None,
    tolerance: float = 1e-10,
) -> Report:
    """Hold derivatives that you have written down against E itself.

    Parameters
    ----------
    E : function of an array of the shape of u that returns a number; complex numbers should pass through it.
    u : where the derivatives are compared, or a shape: numbers are then drawn from a normal distribution.
    gradient : dE/du, of the shape of u.  hess_diag : the diagonal of d2E/du2, of the shape of u.  hessian : all of it,
        (n, n) for the n numbers of u, or of the shape of u twice.  Each an array, or a function of u; what is left out
        is not judged.
    rng, tolerance : as for `verify`.

    Returns
    -------
    report : a `Report`.  The second derivatives are judged by the complex step of your gradient, if this is a function
        and right; otherwise by differences of E, with a tolerance of 1e-4.

    Raises
    ------
    TypeError
        If E is no function, or u neither an array nor a shape.
    ValueError
        If E does not give one finite number, a derivative has another shape, or there is none to judge.

    Examples
    --------
    The boundary condition of Optimal Brain Damage, with a factor that the slide's loss does not have:

    >>> import numpy as np
    >>> import nn
    >>> t = np.array([1.0, -1.0])
    >>> report = nn.verify_formula(lambda u: np.sum((t - u) ** 2), np.array([0.3, 0.4]), gradient=lambda u: u - t)
    >>> report.ok, [(line.name, line.referee, line.error) for line in report.failed()]
    (False, [('dE/du', 'complex step of E', 0.5)])
    """
    rng = _generator(rng)
    written = {first("u"): gradient, second("u"): hess_diag, FULL: hessian}
    return examined(E, _array(u, rng, "u"), written, rng, nonnegative(tolerance, "tolerance"))


def _generator(rng: Any) -> np.random.Generator:
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected rng=np.random.default_rng(...), got {type(rng).__name__}; targets go by name, t=...")
    return rng


def _copy(subject: Any, t: Any) -> Any:
    # A copy of a layer, or of a loss, or a sentence about what it is instead.
    name = type(subject).__name__
    if isinstance(subject, type):
        raise TypeError(f"expected a layer or a loss, got the class {subject.__name__}: write {subject.__name__}(...)")
    if t is None and not isinstance(subject, Module):
        raise TypeError(
            f"expected a layer (nn.Module), or a loss and its targets as nn.verify(loss, y, t=t), got {name}"
        )
    if not all(callable(getattr(subject, what, None)) for what in ("forward", "backward")):
        raise TypeError(f"expected a loss with forward(y, t) and backward(), got {name}")
    try:
        return copy.deepcopy(subject)
    except Exception as error:
        raise ValueError(
            f"expected a {name} that copy.deepcopy can copy, for it is to stay as it is: {error}"
        ) from error


def _array(x: Any, rng: np.random.Generator, letter: str) -> np.ndarray:
    # Numbers in float64, drawn if only their shape is given.
    if isinstance(x, tuple):
        if not x or not all(isinstance(n, int | np.integer) and n > 0 for n in x):
            raise ValueError(f"expected a shape of positive whole numbers for {letter}, got {x}")
        return rng.standard_normal(x)
    try:
        xp = get_array_module(x)
    except TypeError:
        raise TypeError(f"expected an array, or a shape such as (3, 5), for {letter}, got {type(x).__name__}") from None
    if not xp.isdtype(x.dtype, "real floating"):
        raise ValueError(f"expected real floating-point numbers for {letter}, got {x.dtype}")
    x = to_numpy(x).astype(np.float64)
    if x.size == 0 or not np.all(np.isfinite(x)):
        raise ValueError(f"expected finite numbers, at least one, for {letter}, got {_given(x)}")
    return x


def _given(x: np.ndarray) -> str:
    return f"the shape {x.shape}" if x.size == 0 else f"NaN or infinity in {np.sum(~np.isfinite(x))} of {x.size}"
