r"""NISP: the importance of the final responses, carried back through the net (Yu et al. 2018).

A net without the classifier has final responses F(x), each with a score s >= 0.  If maps z_i of a layer are cut, the
weighted error of the responses is at most

    sum_k s_k |F_k(z) - F_k(z')|  <=  sum_i s_i |z_i - z'_i|,        s_i = sum_j |w_ji| s_j  one layer further back,

by the triangle inequality, where activations are never steeper than 1 (ReLU, Tanh, Sigmoid, Softplus, Identity; not
ScaledTanh).  So the scores go back as signals do through |net|: |W| for W, |gamma| / sqrt(variance + eps) for batch
norm, no bias, no activation.  The largest number of a window may be any of them: a max-pool hands its score to all
inputs of its window, where averages share it out.  A filter's score is the sum over the positions of its map.

The paper then drops the |z_i| of its own bound and ranks by s_i alone: what multiplies a map by 10, and the weights
that read it by 1/10, divides its score by 10 and leaves the net as it was.
"""

from collections.abc import Iterable, Sequence
from functools import singledispatchmethod
from typing import Any

import numpy as np

from nn.activations import Activation
from nn.arguments import number
from nn.backend import Array, asarray, get_array_module, sum_positions, to_numpy, zeros
from nn.batches import batches, check_data, evaluating
from nn.batchnorm import Dropout
from nn.branches import Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling
from nn.sweeps import Signal, Sweep
from pruning.channels.maps import emitters
from pruning.counts import checked_shape
from pruning.masks import prunable


class Importance(Sweep):
    """Takes the scores of a layer's outputs back to its inputs, and keeps those of the outputs in ``scores``.

    It needs a forward pass of the net in front of it, in eval mode: the layers remember how large their images are.
    """

    what = "importance"

    def __init__(self) -> None:
        self.scores: dict[Module, Array] = {}

    def fill(self, layer: Module, s: Array) -> None:
        """Keep the scores of the outputs: no parameter has any."""
        self.scores[layer] = s

    @singledispatchmethod
    def back(self, layer: Module, s: Array) -> Signal:
        """Refuse a layer of which it is not known."""
        raise self.unknown(layer)

    @back.register
    def back_linear(self, layer: Linear, s: Array) -> Signal:
        """|W|^T s."""
        return (abs(layer.W.data).T @ s,)

    @back.register
    def back_conv(self, layer: Conv2d, s: Array) -> Signal:
        """col2im(|W|^T s)."""
        return (layer.to_input(abs(layer.W.data), s),)

    @back.register
    def back_channelwise(self, layer: Channelwise, s: Array) -> Signal:
        """|factor| s; of batch norm |gamma| / sqrt(variance + eps)."""
        shape = (layer.channels, *(1 for _ in s.shape[1:]))
        return (get_array_module(s).reshape(abs(layer.factor()), shape) * s,)

    @back.register
    def back_subsampling(self, layer: Subsampling, s: Array) -> Signal:
        """|c| / k^2 s, to every pixel of the window."""
        return (layer.spread(layer.share(abs(layer.factor())) * s),)

    @back.register
    def back_max_pool(self, layer: MaxPool2d, s: Array) -> Signal:
        """The score itself, to every pixel of the window."""
        return (layer.scatter([s for _ in layer.geometry.positions()], layer.padded.shape),)

    @back.register
    def back_activation(self, layer: Activation, s: Array) -> Signal:
        """The score as it is."""
        return (s,)

    @back.register(AvgPool2d)
    @back.register(GlobalAvgPool2d)
    @back.register(Flatten)
    @back.register(Dropout)
    @back.register(Select)
    @back.register(ZeroPadShortcut)
    def back_without_weights(self, layer: Module, s: Array) -> Signal:
        """What is linear and never negative takes a score back as it takes dE/dy."""
        return (layer.backward(s),)


def saliency(
    net: Module, final: Array, input_shape: Sequence[int], names: Iterable[str] | None = None
) -> dict[str, Array]:
    """Return the importance of every filter, (C,) for every weight: low where it is cheap to delete.

    Parameters
    ----------
    net : up to the final responses; ``nn.Sequential(*net.layers[:-1])`` shares the weights of the net, and their names.
    final : a score of 0 or more for each response, of the shape of the net's output without the batch, such as
        `infinite_ranking` gives; ones make all responses alike.
    input_shape : of one input, without the batch; no data are needed.
    names : the weights to score; None is every convolution and Linear.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If the final scores do not fit the net's output, are negative or not finite, or a layer has no rule.
        As `pruning.channels.maps.emitters`.

    Notes
    -----
    Yu et al. 2018, NISP: pruning networks using neuron importance score propagation.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Linear(1, 2, np.random.default_rng(0)), nn.ReLU(), nn.Linear(2, 1, None))
    >>> net.layers[2].W.data = np.array([[-3.0, 2.0]])
    >>> net.layers[2].b.data = np.array([7.0])
    >>> pruning.scores.nisp.saliency(net, np.array([1.0]), (1,), ["0.W"])
    {'0.W': array([3., 2.])}
    """
    places = emitters(net, names)
    layers, sweep = dict(net.named_modules()), Importance()
    like = next(iter(prunable(net, places).values())).data
    with evaluating(net):
        y = net.forward(zeros((*checked_shape(net, input_shape), 1), like=like))
        sweep.through(net, _checked(final, y))
    return {name: sum_positions(sweep.scores[layers[place]])[:, 0] for name, place in places.items()}


def of_classifier(net: Sequential, x: Array, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return the importance of every filter, (C,), for what the last layer of the net reads on the data x.

    The final responses are ranked by `infinite_ranking`, as in the paper.

    Raises
    ------
    TypeError
        If the net is no Sequential, or x no array.
    ValueError
        If the last layer reads no features (D, N); also as `saliency` and `infinite_ranking`.
    """
    if not isinstance(net, Sequential):
        raise TypeError(f"expected a Sequential, whose last layer is the classifier, got a {type(net).__name__}")
    check_data(net, x, x)
    responses = Sequential(*net.layers[:-1])
    parts = []
    for x_batch, _, _ in batches(x, x, 1000):
        with evaluating(responses):
            parts.append(to_numpy(responses.forward(x_batch)))
    found = np.concatenate(parts, axis=-1)
    if found.ndim != 2:
        raise ValueError(f"expected features (D, N) in front of the last layer, got an array {found.shape}")
    return saliency(responses, infinite_ranking(found), x.shape[:-1], names)


def _checked(final: Array, y: Array) -> Array:
    values = to_numpy(final)
    if values.shape != tuple(y.shape[:-1]):
        raise ValueError(f"expected a score for each response, shape {tuple(y.shape[:-1])}, got {values.shape}")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("expected finite scores of 0 or more for the final responses")
    return asarray(values[..., None], like=y, dtype=y.dtype)


def infinite_ranking(responses: Any, mixture: float = 0.5, decay: float = 0.9) -> np.ndarray:
    r"""Return Inf-FS (C,): the weight of all paths through a graph of the responses (C, N) that begin at each one.

        A_ij = a max(d_i, d_j) + (1 - a) (1 - |rho_ij|),      s = ((I - r A)^-1 - I) 1,   r = decay / spectral radius

    d are the standard deviations, divided by the largest, and rho Spearman's rank correlations: a response that varies
    much, and with few others, is important.

    Raises
    ------
    ValueError
        If the responses are no finite matrix of at least two columns, or `mixture` or `decay` is outside (0, 1).

    Notes
    -----
    Roffo, Melzi and Cristani 2015, Infinite feature selection; NISP's choice for its final responses.
    """
    A = np.asarray(responses, dtype=float)
    if A.ndim != 2 or A.shape[1] < 2 or not np.isfinite(A).all():
        raise ValueError(f"expected finite responses (C, N) of at least two patterns, got shape {A.shape}")
    if not (0 < number(mixture, "the mixture") < 1 and 0 < number(decay, "the decay") < 1):
        raise ValueError(f"expected a mixture and a decay between 0 and 1, got {mixture} and {decay}")
    deviation = np.std(A, axis=1)
    deviation = deviation / (deviation.max() or 1.0)
    graph = mixture * np.maximum.outer(deviation, deviation) + (1 - mixture) * (1 - np.abs(rank_correlations(A)))
    radius = float(np.abs(np.linalg.eigvalsh(graph)).max())
    eye = np.eye(len(A))
    return np.asarray((np.linalg.inv(eye - decay / (radius or 1.0) * graph) - eye).sum(axis=1))


def rank_correlations(A: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations (C, C) of the rows of A (C, N).

    Equal numbers have the mean of their ranks; a constant row correlates with none, itself included.
    """
    ranks = np.stack([(row < row[:, None]).sum(1) + (row <= row[:, None]).sum(1) for row in A]).astype(float)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(size > 0, size, 1.0)
    return np.asarray(unit @ unit.T)
