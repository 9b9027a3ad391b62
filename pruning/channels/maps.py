"""The map of a filter: where it is emitted, behind batch norm and activation, and its values on data.

A weight "4.W" names a layer, but what the next layer reads of it, and loses with it, is the map behind what follows the
layer with one factor or one function a number: batch norm, scales, activations, dropout.  A pool, a sum, a
concatenation or a layer with weights ends the search, since a map is there pooled, added to another, or read.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from nn.activations import Activation
from nn.backend import Array, get_array_module
from nn.batches import Targets, batches, check_data, evaluating
from nn.batchnorm import Dropout
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential, check_net, inside
from nn.pooling import Pool2d
from nn.recording import record, record_backward


def emitters(net: Module, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return for each weight the name of the layer that its maps come out of; None is every convolution and Linear.

    In a residual block the last convolution emits what is added to the shortcut, in front of the sum.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If a name is not the W of a convolution or an affine layer, or `names` is one string or empty.

    Examples
    --------
    >>> import nn
    >>> from pruning.channels import maps
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, None), nn.BatchNorm(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3, None))
    >>> maps.emitters(net)
    {'0.W': '2', '4.W': '4'}
    """
    check_net(net)
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    found = {}
    for chain in _chains("", net):
        for place, (name, layer) in enumerate(chain):
            if isinstance(layer, Conv2d | Linear):
                behind = place
                while behind + 1 < len(chain) and _follows(chain[behind + 1][1]):
                    behind += 1
                found[inside(name, "W")] = chain[behind][0]
    found = {name: found[name] for name, _ in net.named_parameters() if name in found}
    chosen = list(found) if names is None else list(names)
    unknown = [name for name in chosen if name not in found]
    if unknown or not chosen:
        given = f"{unknown[0]} is not" if unknown else "there is none"
        raise ValueError(f"expected weights of filters or units, {', '.join(found)}; {given}")
    return {name: found[name] for name in chosen}


def _follows(layer: Module) -> bool:
    return isinstance(layer, Activation | Channelwise | Dropout) and not isinstance(layer, Pool2d)


def _chains(name: str, module: Module) -> list[list[tuple[str, Module]]]:
    # The first one is that of the module itself, with what stands in Sequentials inside of it laid end to end.
    if isinstance(module, Sequential):
        parts = [_chains(inside(name, key), layer) for key, layer in module.children()]
        return [[each for own, *_ in parts for each in own], *(chain for _, *others in parts for chain in others)]
    within = [chain for key, child in module.children() for chain in _chains(inside(name, key), child)]
    return [[(name, module)], *within]


def maps(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> Iterator[dict[str, Array]]:
    """Yield {name of a weight: its maps z, (C, ..., N_b)} of one batch after the other, in eval mode.

    Raises
    ------
    TypeError, ValueError
        As `emitters` and `nn.batches.check_data`; if a map is not finite.
    """
    places = emitters(net, names)
    check_data(net, x, x)
    for x_batch, _, _ in batches(x, x, batch_size):
        with evaluating(net), record(net, list(places.values())) as seen:
            net.forward(x_batch)
        found = {name: seen[place][0][1] for name, place in places.items()}
        _check_finite(found)
        yield found


def maps_and_gradients(
    net: Module, loss: Any, x: Array, t: Targets, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> Iterator[dict[str, tuple[Array, Array]]]:
    """Yield {name of a weight: (z, dE_n/dz)} of one batch after the other, in eval mode.

    E_n is the loss of pattern n alone, N_b times what it contributes to the mean over the batch, so that nothing
    depends on how the data are cut into batches.

    Raises
    ------
    TypeError, ValueError
        As `maps`.
    """
    places = emitters(net, names)
    check_data(net, x, t)
    layers: Sequence[str] = list(places.values())
    for x_batch, t_batch, _ in batches(x, t, batch_size):
        with evaluating(net), record(net, layers) as ahead, record_backward(net, layers) as back:
            loss.forward(net.forward(x_batch), t_batch)
            net.backward(x_batch.shape[-1] * loss.backward())
        found = {name: (ahead[place][0][1], back[place][0][0]) for name, place in places.items()}
        _check_finite({name: z for name, (z, _) in found.items()})
        yield found


def _check_finite(found: dict[str, Array]) -> None:
    for name, z in found.items():
        xp = get_array_module(z)
        if not bool(xp.all(xp.isfinite(z))):
            raise ValueError(f"expected finite maps, got NaN or infinity in those of {name}")
