r"""Taylor: what E changes by, to first order, if a map is set to zero (Molchanov et al. 2016).

A gate on map k, closed from 1 to 0, changes the loss E_n of pattern n by minus its derivative, to first order,

    dE_n/dgate_k = sum_m z_km dE_n/dz_km,      m over the positions of the map.

`gates` returns these; four scores are made of them, which differ in where the absolute value stands:

    saliency      mean_n | sum_m z dE_n/dz |        the paper's, but for its factor 1/M
    inside        mean_n sum_m | z dE_n/dz |        positions that cancel in the map do not cancel here
    of_mean       | mean_n sum_m z dE_n/dz |        patterns cancel: zero at every minimum, whatever the map does
    squared       mean_n ( sum_m z dE_n/dz )^2      the Fisher information of the gates (Theis et al. 2018)

so that of_mean <= saliency <= inside, and saliency^2 <= squared.  A layer's number of positions M is one factor of all
its scores.  The paper's 1/M therefore disappears when each layer is divided by the l2 norm of its scores
(`normalised`), and without that it makes the scores of different layers incomparable.  The maps are those behind batch
norm and activation (`pruning.channels.maps`); the last layer of a residual block answers for what it adds to the sum.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nn.arguments import nonnegative
from nn.backend import Array, get_array_module, sum_positions
from nn.batches import Targets
from nn.module import Module
from pruning.channels.maps import maps_and_gradients
from pruning.counts import count
from pruning.masks import check_arrays


def gates(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return sum_m z dE_n/dz, (C, N) with its sign, for every filter and pattern.

    Raises
    ------
    TypeError, ValueError
        As `pruning.channels.maps.maps_and_gradients`.
    """
    products = _products(net, loss, x, t, names, batch_size)
    return _joined({name: sum_positions(zg) for name, zg in each.items()} for each in products)


def saliency(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return mean_n |sum_m z dE_n/dz|, (C,) for every weight: low where a filter is cheap to delete.

    `pruning.filters` takes it as ``lambda net, names: taylor.saliency(net, loss, x, t, names)``.

    Parameters
    ----------
    net, loss : trained, and the loss whose mean over the patterns is E.
    x, t : the data, batch last.
    names : the weights to score; None is every convolution and Linear.
    batch_size : patterns at a time; no score depends on it.

    Raises
    ------
    TypeError, ValueError
        As `gates`.

    Notes
    -----
    Molchanov et al. 2016, Pruning convolutional neural networks for resource efficient inference.
    """
    return {name: _mean(abs(g)) for name, g in gates(net, loss, x, t, names, batch_size).items()}


def of_mean(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return |mean_n sum_m z dE_n/dz|, (C,): the derivative of E itself by the gate; it raises what `gates` raises."""
    return {name: abs(_mean(g)) for name, g in gates(net, loss, x, t, names, batch_size).items()}


def squared(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return mean_n (sum_m z dE_n/dz)^2, (C,): the empirical Fisher of the gates; it raises what `gates` raises."""
    return {name: _mean(g * g) for name, g in gates(net, loss, x, t, names, batch_size).items()}


def inside(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return mean_n sum_m |z dE_n/dz|, (C,); it raises what `gates` raises."""
    products = _products(net, loss, x, t, names, batch_size)
    sums = _joined({name: sum_positions(abs(zg)) for name, zg in each.items()} for each in products)
    return {name: _mean(g) for name, g in sums.items()}


def normalised(scores: Mapping[str, Array]) -> dict[str, Array]:
    """Return the scores of each layer divided by their l2 norm; a layer of zeros stays as it is.

    Scores of different layers have no common unit without it, as the paper says.

    Raises
    ------
    TypeError
        If the scores are not arrays by name.
    """
    check_arrays("scores", scores)
    found = {}
    for name, score in scores.items():
        xp = get_array_module(score)
        size = float(xp.sqrt(xp.sum(score * score)))
        found[name] = score / size if size else score
    return found


def cheapened(
    net: Module, scores: Mapping[str, Array], input_shape: Sequence[int], strength: float
) -> dict[str, Array]:
    """Return s - strength c, c the million multiply-accumulates of one filter of the layer: costly ones go first.

    The paper has a strength of 1e-3; the bias is one of them (the convention "full").
    It matters between layers only: in a layer the order stays.

    Raises
    ------
    TypeError
        If the scores are not arrays by name.
    ValueError
        If the strength is negative, a name is no counted layer, or as `pruning.counts.count`.
    """
    check_arrays("scores", scores)
    strength = nonnegative(strength, "strength")
    macs = {f"{layer.name}.W".lstrip("."): layer.macs for layer in count(net, input_shape, "full").layers}
    unknown = [name for name in scores if name not in macs]
    if unknown:
        raise ValueError(f"expected scores of {', '.join(macs)}, got those of {unknown[0]}")
    return {name: score - strength * macs[name] / score.shape[0] / 1e6 for name, score in scores.items()}


def _products(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None, batch_size: int | None
) -> Iterator[dict[str, Array]]:
    for each in maps_and_gradients(net, loss, x, t, names, batch_size):
        yield {name: z * g for name, (z, g) in each.items()}


def _joined(parts: Iterator[dict[str, Array]]) -> dict[str, Array]:
    by_batch = list(parts)
    xp = get_array_module(next(iter(by_batch[0].values())))
    return {name: xp.concat([part[name] for part in by_batch], axis=1) for name in by_batch[0]}


def _mean(g: Array) -> Array:
    return get_array_module(g).sum(g, axis=1) / g.shape[1]
