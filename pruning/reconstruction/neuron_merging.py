"""Data-free neuron merging: units with like weights send like signals, so one can speak for both.

A fully connected layer has units y_i = f(w_i x + b_i), read by the next layer as z_k = sum_i a_ki y_i + c_k.  Write
omega_i = (w_i, b_i).  If omega_i = omega_j then y_i = y_j for every input, and

    a_ki y_i + a_kj y_j = (a_ki + a_kj) y_i:

unit j can go if unit i takes over its outgoing weights.  If they are only close, and |f'| <= 1, the mean square of the
change over the next layer's units is at most s_ij ||(x, 1)||^2, with the saliency

    s_ij = <a_j^2> ||omega_i - omega_j||^2,        <a_j^2> the mean of a_kj^2 over k.

No data enter.  Srinivas and Babu 2015, "Data-free parameter pruning for deep neural networks", arXiv:1507.06149; slide
"Methods for pruning", "Remove redundant neurons".
"""

import numpy as np

from nn.activations import Activation
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.linear import Linear
from nn.module import Module, Sequential
from pruning import surgery


def saliency(omega: Array, a: Array) -> Array:
    """Return s_ij = <a_j^2> ||omega_i - omega_j||^2 (n, n): what it costs that unit i takes over for unit j.

    Parameters
    ----------
    omega : (n, I + 1) incoming weights, the bias in the last column.
    a : (O, n) outgoing weights.

    Raises
    ------
    ValueError
        If these are no two matrices, of as many rows and columns, or there is no unit, or nobody reads them; if weights
        are not finite.
    """
    omega, a = _checked_units(omega, a)
    xp = get_array_module(omega, a)
    rows = [_square_distances(omega, i)[None, :] for i in range(omega.shape[0])]
    return xp.sum(a * a, axis=0)[None, :] / a.shape[0] * xp.concat(rows, axis=0)


def pairs(omega: Array, a: Array, count: int) -> list[tuple[int, int, float]]:
    """Return the merges (i, j, s_ij) in order: the cheapest pair, a_i <- a_i + a_j, j goes, s anew; `count` times.

    Among equals the lowest (i, j) goes first.

    Raises
    ------
    ValueError
        As `saliency`; if that many units do not leave one to speak for them.
    """
    omega, a = _checked_units(omega, a)
    n = omega.shape[0]
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or not 0 <= count < n:
        raise ValueError(f"expected to merge away 0 to {n - 1} of {n} units, got {count}")
    omega, a = to_numpy(omega), to_numpy(a)
    s = saliency(omega, a)
    np.fill_diagonal(s, np.inf)
    a = a.copy()
    merges = []
    for _ in range(count):
        i, j = (int(k) for k in np.unravel_index(np.argmin(s), s.shape))
        merges.append((i, j, float(s[i, j])))
        a[:, i] += a[:, j]
        s[j, :] = s[:, j] = np.inf
        left = np.isfinite(s[:, i])
        s[left, i] = np.mean(a[:, i] ** 2) * _square_distances(omega, i)[left]
    return merges


def merge(net: Sequential, name: str, count: int) -> Sequential:
    """Return a new net with `count` units less behind the weight `name`; `net` is not modified.

    Both layers become smaller: W and b lose rows, the next W loses columns after they were added to those of the units
    that stay.  The units' masks go with them; a sum lives if one of its terms did.

    Parameters
    ----------
    net : a `Sequential` in which `name` is the W of a Linear layer, followed by an activation and a Linear layer.
    name : for instance "1.W".
    count : how many units go.

    Raises
    ------
    ValueError
        If there is no such layer, or it is not followed by an activation and a Linear layer; also as `pairs` and
        `pruning.surgery.remove`.
    """
    first, second = _layers(net, name)
    n = first.n_out
    merges = pairs(_incoming(first), second.W.data, count)
    keep = sorted(set(range(n)) - {j for _, j, _ in merges})
    takes_over = np.eye(n)  # (j, i): unit i speaks for unit j
    for i, j, _ in merges:
        takes_over[:, i] += takes_over[:, j]
    total = asarray(takes_over[:, keep], like=second.W.data)
    smaller = surgery.remove(net, {name: keep})
    _, reader = _layers(smaller, name)
    reader.W.data = second.W.data @ total
    if (mask := second.W.mask) is not None:
        reader.W.mask = get_array_module(mask).astype(mask @ total > 0, mask.dtype)
    return smaller


def _square_distances(omega: Array, i: int) -> Array:
    # Differences first: |p|^2 + |q|^2 - 2 p q would not find a twin at distance exactly 0.
    difference = omega - omega[i : i + 1, :]
    return get_array_module(omega).sum(difference * difference, axis=1)


def _checked_units(omega: Array, a: Array) -> tuple[Array, Array]:
    # Integers become float64: differences of unsigned ones would wrap.
    shapes = [tuple(getattr(each, "shape", ())) for each in (omega, a)]
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != shapes[1][1]:
        raise ValueError(f"expected arrays omega (n, I + 1) and a (O, n), got shapes {shapes[0]} and {shapes[1]}")
    if 0 in shapes[1]:
        raise ValueError(f"expected at least one unit that is read, got a of shape {shapes[1]}")
    xp = get_array_module(omega, a)
    omega, a = (xp.astype(u, xp.float64) if xp.isdtype(u.dtype, ("integral", "bool")) else u for u in (omega, a))
    if not (bool(xp.all(xp.isfinite(omega))) and bool(xp.all(xp.isfinite(a)))):
        raise ValueError("expected finite weights, got NaN or infinity")
    return omega, a


def _layers(net: Module, name: str) -> tuple[Linear, Linear]:
    index, _, attribute = str(name).partition(".")
    layers = net.layers if isinstance(net, Sequential) else []
    if attribute == "W" and index.isdecimal() and int(index) < len(layers):
        match layers[int(index) : int(index) + 3]:
            case [Linear() as first, Activation(), Linear() as second]:
                return first, second
    raise ValueError(
        f"expected the W of a Linear layer before an activation and a Linear layer in a Sequential, got {name!r}"
    )


def _incoming(layer: Linear) -> Array:
    W = layer.W.data
    return W if layer.b is None else get_array_module(W).concat([W, layer.b.data[:, None]], axis=1)
