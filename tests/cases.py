"""The small nets on which everything is checked: sizes distinct and coprime, corner cases included."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import nn
from nn import models
from nn.backend import to_numpy


@dataclass(frozen=True)
class Case:
    name: str
    sizes: tuple[int, ...]
    hidden: type
    output: type
    loss: type
    N: int = 6
    scale: float = 1.0  # of the first layer's weights: 40 saturates a tanh, and its digits with it
    dead: bool = False  # first hidden layer's biases so low that no ReLU opens

    def build(self, seed=0):
        """Return net, loss, x (I, N), t."""
        rng = np.random.default_rng([seed, *self.sizes])
        layers = [nn.Flatten()]
        for i, (n_in, n_out) in enumerate(pairwise(self.sizes)):
            layer = nn.Linear(n_in, n_out, rng)
            layer.b.data = 0.3 * rng.standard_normal(n_out)
            layers += [layer, self.output() if i == len(self.sizes) - 2 else self.hidden()]
        layers[1].W.data *= self.scale
        if self.dead:
            layers[1].b.data -= 100
        x = rng.standard_normal((self.sizes[0], self.N))
        if self.loss is nn.SquaredError:
            t = rng.standard_normal((self.sizes[-1], self.N))
        else:
            t = rng.integers(0, self.sizes[-1], self.N)
        return nn.Sequential(*layers), self.loss(), x, t

    @property
    def weight_layers(self):
        return len(self.sizes) - 1


SSE, CE = nn.SquaredError, nn.SoftmaxCrossEntropy
CASES = [
    Case("linear-sse", (3, 4), nn.Tanh, nn.Identity, SSE),
    Case("linear-ce", (3, 4), nn.Tanh, nn.Identity, CE),
    Case("tanh-tanh-sse", (3, 5, 4), nn.Tanh, nn.Tanh, SSE),
    Case("tanh-ce", (3, 5, 4), nn.Tanh, nn.Identity, CE),
    Case("relu-ce", (3, 5, 4), nn.ReLU, nn.Identity, CE),
    Case("scaled-tanh-sse", (3, 5, 4), nn.ScaledTanh, nn.ScaledTanh, SSE),
    Case("sigmoid-softplus-sse", (3, 5, 4), nn.Sigmoid, nn.Softplus, SSE),
    Case("tanh-2-hidden-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE),
    Case("relu-2-hidden-sse", (3, 5, 7, 4), nn.ReLU, nn.Identity, SSE),
    Case("relu-2-hidden-ce", (3, 5, 7, 4), nn.ReLU, nn.Identity, CE),
    Case("softplus-2-hidden-ce", (3, 5, 7, 4), nn.Softplus, nn.Identity, CE),
    Case("sigmoid-3-hidden-sse", (3, 5, 7, 5, 4), nn.Sigmoid, nn.Sigmoid, SSE),
    Case("scaled-tanh-2-hidden-ce", (3, 5, 7, 4), nn.ScaledTanh, nn.ScaledTanh, CE),
    Case("width-1-inside-sse", (3, 5, 1, 4), nn.Tanh, nn.Tanh, SSE),
    Case("width-1-out-sse", (3, 5, 7, 1), nn.Tanh, nn.Tanh, SSE),
    Case("width-1-everywhere-sse", (1, 1, 1, 1), nn.Softplus, nn.Tanh, SSE),
    Case("batch-of-one-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE, N=1),
    Case("batch-of-one-ce", (3, 5, 4), nn.ReLU, nn.Identity, CE, N=1),
    Case("dead-relu-sse", (3, 5, 7, 4), nn.ReLU, nn.Identity, SSE, dead=True),
    Case("dead-relu-ce", (3, 5, 7, 4), nn.ReLU, nn.Identity, CE, dead=True),
    Case("saturated-tanh-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE, scale=40.0),
    Case("saturated-tanh-ce", (3, 5, 4), nn.Tanh, nn.Identity, CE, scale=40.0),
]


def layer_cases():
    """(name, layers, input shape): each between a convolution in front and an affine layer behind."""
    rng = np.random.default_rng(0)
    conv = lambda *a, **k: nn.Conv2d(*a, rng, **k)  # noqa: E731
    projection = nn.Sequential(conv(4, 6, 1, stride=2))
    body = nn.Sequential(conv(4, 6, 3, stride=2, padding=1), nn.Tanh(), conv(6, 6, 3, padding=1))
    return [
        ("conv", [conv(4, 3, (2, 3), stride=(1, 2), padding=((1, 0), (0, 2)), dilation=(2, 1))]),
        ("grouped conv", [conv(4, 6, 3, groups=2, padding=1)]),
        ("conv of some columns", [conv(4, 3, (2, 3), stride=(1, 2), padding=1, columns=[0, 3, 7, 8, 23])]),
        ("grouped conv of some columns", [conv(4, 6, 3, groups=2, padding=1, columns=[17, 2, 4])]),
        ("conv with a bias map", [conv(4, 3, 3, padding=1, bias_map=(5, 4))]),
        ("max-pool", [nn.MaxPool2d(2)]),
        ("overlapping max-pool", [nn.MaxPool2d(3, stride=2, padding=1)]),
        ("avg-pool", [nn.AvgPool2d(2)]),
        ("overlapping avg-pool, padding counted", [nn.AvgPool2d(3, stride=2, padding=1)]),
        ("overlapping avg-pool, padding not counted", [nn.AvgPool2d(3, stride=2, padding=1, count_padding=False)]),
        ("global avg-pool", [nn.GlobalAvgPool2d()]),
        ("subsampling", [nn.Subsampling(4, 2, rng)]),
        ("batch norm", [nn.BatchNorm(4)]),
        ("scale", [nn.Scale(4)]),
        ("scale of groups", [nn.Scale(4, [1, 3])]),
        ("dropout in eval mode", [nn.Dropout(0.5, rng)]),
        ("tap", [nn.Tap()]),
        ("residual, identity", [nn.Residual(nn.Sequential(conv(4, 4, 3, padding=1), nn.Tanh()))]),
        ("residual, projection", [nn.Residual(body, projection)]),
        ("residual, zero-padded", [nn.Residual(conv(4, 6, 3, stride=2, padding=1), nn.ZeroPadShortcut(2, 2))]),
        ("residual, index map", [nn.Residual(conv(4, 6, 3, padding=1), nn.ZeroPadShortcut(2, 1, [0, 2, 3, 5]))]),
        ("concat", [nn.Concat(nn.Identity(), conv(4, 3, 3, padding=1), nn.Sequential(nn.Tanh()))]),
        ("select", [nn.Select([2, 0])]),
        ("select of a number", [nn.Select([2, 0], n_in=4)]),
    ]


LAYERS = [name for name, _ in layer_cases()]


def build_layer(name, loss=nn.SquaredError):
    """Net with the case's layers inside, loss, x (2, 6, 5, 3), t; no parameter and no statistic at its start value."""
    rng = np.random.default_rng(1)
    layers = [nn.Conv2d(2, 4, 2, rng), nn.Tanh(), *dict(layer_cases())[name]]
    flat = nn.Sequential(*layers, nn.Flatten()).output_shape((2, 6, 5))[0]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 4, rng))
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.3 * rng.standard_normal(parameter.shape)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.running_mean = rng.standard_normal(4)
            module.running_variance = rng.uniform(0.5, 2, 4)
        if isinstance(module, nn.Conv2d) and module.bias_map is not None:
            module.bias_map = rng.standard_normal(module.bias_map.shape)
    x = rng.standard_normal((2, 6, 5, 3))
    t = rng.standard_normal((4, 3)) if loss is nn.SquaredError else rng.integers(0, 4, 3)
    return net, loss(), x, t


# name: (build(rng, dtype), shape of one input, classes); the thinnest nets that have every part of the architecture
TINY = {
    "mlp": (lambda rng, dtype: models.mlp((12, 5, 4), rng, dtype=dtype), (3, 2, 2), 4),
    "lenet300": (models.lenet300, (1, 28, 28), 10),
    "lenet5": (
        lambda rng, dtype: models.lenet5(rng, 2, 16, 3, dtype, filters=(3, 4), hidden=5),
        (2, 16, 16),
        3,
    ),
    "lenet1990": (models.lenet1990, (1, 28, 28), 10),
    "vgg": (
        lambda rng, dtype: models.vgg(11, rng, 2, 8, 3, filters=(3, 0, 4, 5, 0), head=6, dtype=dtype),
        (2, 8, 8),
        3,
    ),
    "alexnet": (
        lambda rng, dtype: models.alexnet(rng, 3, dtype, 2, 67, (4, 6, 8, 4, 6), 5),
        (2, 67, 67),
        3,
    ),
    "vgg_imagenet": (
        lambda rng, dtype: models.vgg_imagenet(11, rng, 3, dtype, 2, 8, filters=(3, 0, 4, 5, 0), hidden=6),
        (2, 8, 8),
        3,
    ),
    "vgg_thinet": (
        lambda rng, dtype: models.vgg_thinet("Tiny", rng, 3, dtype, 2, 8, filters=(3, 0, 4, 5)),
        (2, 8, 8),
        3,
    ),
    "resnet_cifar": (
        lambda rng, dtype: models.resnet_cifar(8, rng, 2, 3, dtype, inner=(3, 5, 4)),
        (2, 7, 6),
        3,
    ),
    "preresnet": (lambda rng, dtype: models.preresnet(11, rng, 2, 3, dtype), (2, 6, 7), 3),
    "preresnet-thin": (
        lambda rng, dtype: models.preresnet(11, rng, 2, 3, dtype, inner=(3, 5, 4), seen=(7, 64, 9, 11)),
        (2, 6, 7),
        3,
    ),
    "densenet": (lambda rng, dtype: models.densenet(7, rng, 3, False, 2, 4, dtype), (2, 6, 7), 4),
    "densenet-bc": (lambda rng, dtype: models.densenet(16, rng, 3, True, 2, 4, dtype), (2, 6, 7), 4),
    "resnet18_cifar": (
        lambda rng, dtype: models.resnet18_cifar(rng, 3, dtype, inner=(3, 4, 5, 6) * 2, stages=(5, 4, 6, 7)),
        (3, 8, 9),
        3,
    ),
    "resnet_imagenet 18": (
        lambda rng, dtype: models.resnet_imagenet(18, rng, 3, dtype, inner=(3, 4, 5, 6) * 2, stages=(64, 4, 6, 7)),
        (3, 17, 20),
        3,
    ),
    "resnet_imagenet 50": (
        lambda rng, dtype: models.resnet_imagenet(50, rng, 3, dtype, inner=(3, 4) * 8, stages=(5, 4, 6, 7)),
        (3, 33, 36),
        3,
    ),
}


def build_model(name, dtype=np.float64, N=4):
    """Net, x, labels; biases and batch norm are not at their starting values.

    The scales of batch norm are near a half: batches of a few pixels would else lose three digits in 50 layers.
    """
    make, shape, classes = TINY[name]
    rng = np.random.default_rng([5, list(TINY).index(name)])
    net = make(rng, dtype)
    for key, parameter in net.named_parameters():
        start = 0.5 * parameter.data if key.endswith("gamma") else parameter.data
        parameter.data = (start + 0.1 * rng.standard_normal(parameter.shape)).astype(dtype)
    return net, rng.standard_normal((*shape, N)).astype(dtype), rng.integers(0, classes, N)


def everything(net, optimizer, rng, *companions):
    """All that a run consists of, in one string."""
    arrays = [[p.data.tolist(), None if p.mask is None else p.mask.tolist()] for p in net.parameters()]
    arrays += [buffer.tolist() for _, buffer in net.named_buffers()]
    arrays += [{name: array.tolist() for name, array in state.items()} for state in optimizer.state]
    states = [{k: np.asarray(v).tolist() for k, v in companion.state().items()} for companion in companions]
    layers = {name: generator.bit_generator.state for name, generator in net.named_generators()}
    decayed = [[p in optimizer.decayed, optimizer.rate(p)] for p in optimizer.parameters]
    return json.dumps(
        [arrays, optimizer.config(), optimizer.steps, decayed, rng.bit_generator.state, layers, states], sort_keys=True
    )


def flat(arrays):
    """The arrays of a dict, of any library, as one NumPy vector."""
    return np.concatenate([np.reshape(to_numpy(array), -1) for array in arrays.values()])


def split(net, u):
    """A flat vector as one array per parameter name."""
    ends = np.cumsum([math.prod(p.shape) for p in net.parameters()])[:-1]
    return {name: piece.reshape(p.shape) for (name, p), piece in zip(net.named_parameters(), np.split(u, ends))}
