"""Activations: a map that says little is cheap to delete, whatever the next layer makes of it.

Three numbers of the maps behind batch norm and activation (`pruning.channels.maps`), over patterns and positions:

    saliency      the mean of z                    Molchanov et al. 2016
    deviation     the standard deviation of z      a map that is constant can move into the next bias
    nonzero       the share of z that is not 0     1 - APoZ, the average percentage of zeros of Hu et al. 2016

None looks at the loss, and a positive factor on a map changes the first two while the net can stay the same.
"""

from collections.abc import Callable, Iterable

from nn.backend import Array, get_array_module
from nn.module import Module
from pruning.channels.maps import emitters, maps


def saliency(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return the mean of every map over patterns and positions, (C,) for every weight; low is cheap to delete.

    `pruning.filters` takes it as ``lambda net, names: activation.saliency(net, x, names)``.

    Raises
    ------
    TypeError, ValueError
        As `pruning.channels.maps.maps`.
    """
    return _means(net, x, names, batch_size, lambda _, rows: rows)


def deviation(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return the standard deviation of every map, (C,), in two passes over the data; it raises what `saliency` does."""
    chosen = list(emitters(net, names))
    centre = saliency(net, x, chosen, batch_size)
    variance = _means(net, x, chosen, batch_size, lambda name, rows: (rows - centre[name][:, None]) ** 2)
    return {name: each**0.5 for name, each in variance.items()}


def nonzero(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return the share of numbers other than zero in every map, (C,); it raises what `saliency` does."""
    return _means(net, x, names, batch_size, lambda _, rows: get_array_module(rows).astype(rows != 0, rows.dtype))


def _means(
    net: Module, x: Array, names: Iterable[str] | None, batch_size: int | None, of: Callable[[str, Array], Array]
) -> dict[str, Array]:
    sums: dict[str, Array] = {}
    numbers: dict[str, int] = {}
    for batch in maps(net, x, names, batch_size):
        for name, z in batch.items():
            xp = get_array_module(z)
            rows = xp.reshape(z, (z.shape[0], -1))
            sums[name] = sums.get(name, 0) + xp.sum(of(name, rows), axis=1)
            numbers[name] = numbers.get(name, 0) + rows.shape[1]
    return {name: each / numbers[name] for name, each in sums.items()}
