"""The diagonal of the Hessian over a whole data set, in five ways, and what is often taken for it.

`hess_diag` sweeps once (or once per output) over the data: the recursion of 1990 and its variant, the full matrices of
every pattern, the Gauss-Newton diagonal by square roots, and the empirical Fisher.  `hutchinson` estimates the diagonal
from products with random directions, `hessian_vector_product`, which are exact.  Notebook 08 compares all of them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from nn.arguments import nonnegative
from nn.backend import Array, asarray, get_array_module, zeros
from nn.batches import batches, check_data, evaluating
from nn.curvature import exact, matrix
from nn.curvature.squares import Squares
from nn.curvature.tangents import Tangents
from nn.module import Module, Parameter

__all__ = ["RULES", "exact", "gradient", "hess_diag", "hessian_vector_product", "hutchinson", "matrix"]

MOST_PROBES = 100_000
RULES = ("obd", "lm", "exact", "ggn", "fisher")


def hess_diag(
    net: Module,
    loss: Any,
    x: Array,
    t: Array,
    rule: str = "obd",
    weight_decay: float = 0.0,
    batch_size: int | None = None,
) -> dict[str, Array]:
    r"""Return d2E/du_k2 for every parameter, E the mean loss over the data in eval mode (+ decay, if any).

    Parameters
    ----------
    net, loss : the network and a loss object of `nn.losses`.
    x : (..., N) inputs, batch last.
    t : (N,) labels or (K, N) targets.
    rule : one of these five.

        "obd"
            LeCun's recursion, d2E/da_i2 = f'(a_i)^2 sum_l w_li^2 d2E/da_l2 + f''(a_i) dE/dx_i.  Exact for the
            last two weight layers under an elementwise loss and the last one under softmax cross-entropy.

        "lm"
            Levenberg-Marquardt: the same without f''.  Never negative.

        "exact"
            the full matrix of every pattern, d2E/dx2 = W^T d2E/da2 W.  Exact everywhere in a fully connected net;
            costs N * width^3.

        "ggn"
            generalised Gauss-Newton, sum_n |J_n^T S_n|^2 with S_n S_n^T = d2E/dy_n2 and J_n = dy_n/du: one backward
            sweep per output, each pattern's gradient squared, shared weights summed first.  The Hessian diagonal
            itself where activations are piecewise linear (ReLU) and away from their kinks.  Never negative.

        "fisher"
            empirical Fisher: the mean over the patterns of the squared gradient of one pattern.  Not a second
            derivative: for a log-likelihood its expectation is the Gauss-Newton matrix only if the targets are
            drawn from the model's own probabilities, and for other losses even its unit is another (E^2 / u^2).

    weight_decay : lambda, if (lambda/2) ||u||^2 over all parameters is part of E; it adds lambda everywhere.
    batch_size : patterns per sweep (None: all at once).  Batches are weighted N_b / N, so the sum is that of one batch.

    Returns
    -------
    dict, parameter name -> array of its shape.  Also left in ``parameter.hess_diag``; gradients, masks and the
    training mode are as before.

    Raises
    ------
    ValueError
        For an unknown rule, a weight decay below 0, data that `nn.batches.check_data` refuses, a layer without the
        rule asked for (convolutions have no "exact"), or under "ggn" labels with a negative sum.

    References
    ----------
    LeCun, Denker, Solla, "Optimal Brain Damage", 1990; slide "Computing the second derivative".  The Gauss-Newton
    diagonal: Schraudolph 2002; Dangel, Kunstner, Hennig 2020 ("BackPACK").  The empirical Fisher: Kunstner, Balles,
    Hennig 2019, "Limitations of the empirical Fisher approximation".

    Examples
    --------
    Of E = 1/N sum_n (w x_n - t_n)^2 it is 2/N sum_n x_n^2, whatever w is:

    >>> import numpy as np
    >>> import nn
    >>> net = nn.Sequential(nn.Linear(1, 1, np.random.default_rng(0), bias=False))
    >>> x, t = np.array([[1.0, 2.0, 3.0]]), np.zeros((1, 3))
    >>> h = nn.curvature.hess_diag(net, nn.SquaredError(), x, t)
    >>> bool(np.isclose(h["0.W"][0, 0], 2 / 3 * (1 + 4 + 9)))
    True
    """
    if rule not in RULES:
        raise ValueError(f"expected a curvature rule of {', '.join(RULES)}, got {rule!r}")
    check_data(net, x, t)
    decay = nonnegative(weight_decay, "weight decay")
    sums: dict[str, Array] = {}
    parameters = dict(net.named_parameters())
    with evaluating(net), _all_or_nothing(parameters.values()):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            loss.forward(net.forward(x_batch), t_batch)
            for _ in _sweeps(net, loss, rule, weight):
                _add(sums, {name: parameter.hess_diag for name, parameter in parameters.items()})
    for name, parameter in parameters.items():
        parameter.hess_diag = sums[name] = sums[name] + decay
    return sums


def _sweeps(net: Module, loss: Any, rule: str, weight: float) -> Iterator[None]:
    # Sweep over one batch, and stop after every sweep whose hess_diag is a term of the sum.  The weight of the batch is
    # that of its loss, so it enters where the sweeps start, as long as the arrays are small.
    gy = weight * loss.backward()
    if rule == "ggn":  # diag(J^T S S^T J) = sum over the columns k of S of (J^T S_k)^2, pattern by pattern
        S = math.sqrt(weight) * loss.hessian_root()
        for k in range(S.shape[1]):
            Squares().to_parameters(net, S[:, k, :])
            yield
    elif rule == "fisher":  # gy is weight / N times the gradient g of a pattern's own loss; asked for: weight / N g^2
        Squares().to_parameters(net, math.sqrt(gy.shape[-1] / weight) * gy)
        yield
    elif rule == "exact":
        exact.to_parameters(net, gy, weight * loss.hessian())
        yield
    else:
        net.backward_hessian_parameters(gy if rule == "obd" else 0 * gy, weight * loss.backward_hessian())
        yield


def gradient(
    net: Module, loss: Any, x: Array, t: Array, weight_decay: float = 0.0, batch_size: int | None = None
) -> dict[str, Array]:
    """Return dE/du over the whole data in eval mode; arguments and E as for `hess_diag`.

    At a minimum it is zero, which is what Optimal Brain Damage assumes ("extremal").
    """
    check_data(net, x, t)
    decay, parameters = nonnegative(weight_decay, "weight decay"), dict(net.named_parameters())
    sums: dict[str, Array] = {}
    with evaluating(net):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            loss.forward(net.forward(x_batch), t_batch)
            net.backward_parameters(weight * loss.backward())
            _add(sums, {name: parameter.grad for name, parameter in parameters.items()})
    return {name: sums[name] + decay * parameter.data for name, parameter in parameters.items()}


def hessian_vector_product(
    net: Module,
    loss: Any,
    x: Array,
    t: Array,
    v: Mapping[str, Array],
    weight_decay: float = 0.0,
    batch_size: int | None = None,
) -> dict[str, Array]:
    r"""Return (d2E/du2) v, exactly and without the matrix: the derivative of dE/du along v.

    R{z} = d/de z(u + e v) at e = 0 is carried through the forward and the backward pass by the product rule, layer by
    layer: R{a} = W R{x} + V x, and R{dE/dW} = R{dE/da} x^T + dE/da R{x}^T (`nn.curvature.tangents`).
    It costs two to three gradients.

    Parameters
    ----------
    v : parameter name -> direction, of the shape and dtype of every parameter.
    net, loss, x, t, weight_decay, batch_size : as for `hess_diag`.

    Returns
    -------
    dict, parameter name -> array of its shape.  The net is left as it was.

    Raises
    ------
    ValueError
        As `hess_diag`, and for directions that do not match the parameters.

    References
    ----------
    Pearlmutter, "Fast exact multiplication by the Hessian", 1994.
    """
    check_data(net, x, t)
    decay, parameters = nonnegative(weight_decay, "weight decay"), dict(net.named_parameters())
    directions = _by_parameter(parameters, v)
    sums: dict[str, Array] = {}
    with evaluating(net):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            loss.forward(net.forward(x_batch), t_batch)
            sweep = Tangents(directions)
            ry = sweep.forward(net, get_array_module(x).zeros_like(x_batch))  # the data stay where they are
            sweep.to_parameters(net, weight * loss.backward(), weight * loss.backward_tangent(ry))
            _add(sums, {name: sweep.Hv[parameter] for name, parameter in parameters.items()})
    return {name: sums[name] + decay * v[name] for name in sums}


def hutchinson(
    net: Module,
    loss: Any,
    x: Array,
    t: Array,
    probes: int,
    rng: np.random.Generator,
    weight_decay: float = 0.0,
    batch_size: int | None = None,
) -> tuple[dict[str, Array], dict[str, Array]]:
    r"""Return an unbiased estimate of d2E/du_k2 and its standard error, from products with random signs.

    v has independent signs, so that E[v_k (H v)_k] = sum_l h_kl E[v_k v_l] = h_kk.  The variance of one probe is
    sum_{l != k} h_kl^2: the off-diagonal entries, which `hess_diag` of rule "obd" drops, are the noise here.

    Parameters
    ----------
    probes : how many directions, 2 to 100,000; each costs one `hessian_vector_product`.
    rng : draws the signs.
    net, loss, x, t, weight_decay, batch_size : as for `hess_diag`.

    Returns
    -------
    (mean, standard error), two dicts: parameter name -> array of its shape.

    Raises
    ------
    ValueError
        For fewer than two probes or more than a hundred thousand, and as `hessian_vector_product`.

    References
    ----------
    Hutchinson 1990 (the trace); Bekas, Kokiopoulou, Saad 2007 (the diagonal).
    """
    if not isinstance(probes, int | np.integer) or not 2 <= probes <= MOST_PROBES:
        raise ValueError(
            f"expected at least 2 probes (one alone has no standard error) and at most {MOST_PROBES}, got {probes}"
        )
    parameters = dict(net.named_parameters())
    mean = {name: zeros(p.shape, like=p.data) for name, p in parameters.items()}
    squares = {name: zeros(p.shape, like=p.data) for name, p in parameters.items()}
    for count in range(1, probes + 1):
        v = {name: asarray(rng.choice([-1.0, 1.0], size=p.shape), like=p.data) for name, p in parameters.items()}
        Hv = hessian_vector_product(net, loss, x, t, v, weight_decay, batch_size)
        for name in v:  # Welford's update: sums of squares would lose the digits of a small variance
            away = v[name] * Hv[name] - mean[name]
            mean[name] = mean[name] + away / count
            squares[name] = squares[name] + away * away * ((count - 1) / count)
    divisor = int(probes) * (int(probes) - 1)  # a NumPy integer of 8 bits would wrap
    return mean, {name: get_array_module(s).sqrt(s / divisor) for name, s in squares.items()}


def _add(sums: dict[str, Array], terms: Mapping[str, Array]) -> None:
    for name, term in terms.items():
        if term is None:
            raise ValueError(f"{name} has no derivative in eval mode: expected a net without random gates (`nn.Gate`)")
        sums[name] = sums[name] + term if name in sums else term


@contextmanager
def _all_or_nothing(parameters: Iterable[Parameter]) -> Iterator[None]:
    # After an error or an interruption every hess_diag is what it was: no sum over half of the data.
    before = [(parameter, parameter.hess_diag) for parameter in parameters]
    try:
        yield
    except BaseException:
        for parameter, hess_diag in before:
            parameter.hess_diag = hess_diag
        raise


def _by_parameter(parameters: Mapping[str, Parameter], v: Mapping[str, Array]) -> dict[Parameter, Array]:
    if set(v) != set(parameters):
        raise ValueError(f"expected a direction for each of {', '.join(parameters)}, got {', '.join(v) or 'none'}")
    for name, parameter in parameters.items():
        get_array_module(v[name])
        if tuple(v[name].shape) != parameter.shape or v[name].dtype != parameter.dtype:
            raise ValueError(
                f"expected a direction of shape {parameter.shape} and {parameter.dtype} for {name},"
                f" got {tuple(v[name].shape)} and {v[name].dtype}"
            )
    return {parameter: v[name] for name, parameter in parameters.items()}
