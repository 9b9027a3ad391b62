"""Training steps of LeNet-5 and ResNet-20, and the forward pass of VGG-16, batch of float32 images, one thread.

    python tests/benchmarks/nets.py lenet5 | resnet20 | vgg16 [--rounds N]

Against eager PyTorch (NCHW and channels_last) and against the bare matrix products of the same step.
"""

import sys

import interleaved  # isort: skip  (sets the number of threads)

import numpy as np
import torch
from torch.nn import functional as F

import nn
from pruning import counts


def twin(module):
    """The same layers in torch, without a shared line of arithmetic."""
    if isinstance(module, nn.Sequential):
        return torch.nn.Sequential(*(twin(layer) for layer in module.layers))
    if isinstance(module, nn.Residual):
        return TorchResidual(twin(module.body), None if module.shortcut is None else module.shortcut)
    if isinstance(module, nn.Conv2d):
        (top, _), (left, _) = module.geometry.padding
        stride, bias = module.geometry.stride, module.b is not None
        return torch.nn.Conv2d(module.c_in, module.c_out, module.geometry.kernel, stride, (top, left), bias=bias)
    if isinstance(module, nn.Linear):
        return torch.nn.Linear(module.n_in, module.n_out)
    if isinstance(module, nn.BatchNorm):
        return torch.nn.BatchNorm2d(module.channels)
    if isinstance(module, nn.MaxPool2d):
        return torch.nn.MaxPool2d(module.geometry.kernel, module.geometry.stride)
    if isinstance(module, nn.GlobalAvgPool2d):
        return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return {nn.ReLU: torch.nn.ReLU, nn.Flatten: torch.nn.Flatten}[type(module)]()


class TorchResidual(torch.nn.Module):
    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.pad = body, shortcut

    def forward(self, x):
        y = self.body(x)
        if self.pad is None:
            return y + x
        z = x[:, :, :: self.pad.stride, :: self.pad.stride]
        return y + F.pad(z, (0, 0, 0, 0, 0, self.pad.new_channels))


def products(net, shape, N, backward):
    """The matrix products of the sweep and nothing else: as many as the layers make, of the same sizes."""
    rng = np.random.default_rng(0)
    random = lambda *size: rng.standard_normal(size).astype(np.float32)  # noqa: E731
    jobs, first = [], True
    for _, module, input_shape, _ in counts.walk(net, shape):
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        groups = getattr(module, "groups", 1)
        O, K = module.W.shape[0] // groups, int(np.prod(module.W.shape[1:]))
        widths = block_widths(module.output_shape(input_shape), K, N) * groups
        matrices = {width: (random(K, width), random(O, width)) for width in set(widths)}
        jobs.append((random(O, K), [matrices[width] for width in widths], first))
        first = False

    def run():
        for W, blocks, is_first in jobs:
            for cols, ga in blocks:
                W @ cols
                if backward:
                    ga @ cols.T
                    if not is_first:
                        W.T @ ga

    return run


def block_widths(output, K, N):
    """Columns of each matrix that a layer multiplies with: whole output rows of a convolution, the last fewer."""
    if len(output) == 1:
        return [N]
    _, OH, OW = output
    rows = max(1, nn.conv.BLOCK // (K * OW * N))
    return [(min(first + rows, OH) - first) * OW * N for first in range(0, OH, rows)]


def main():
    name = sys.argv.pop(1)
    N, shape, build = {
        "lenet5": (128, (1, 28, 28), nn.models.lenet5),
        "resnet20": (64, (3, 32, 32), lambda rng, dtype: nn.models.resnet_cifar(20, rng, dtype=dtype)),
        "vgg16": (64, (3, 32, 32), lambda rng, dtype: nn.models.vgg(16, rng, dtype=dtype)),
    }[name]
    backward = name != "vgg16"
    rng = np.random.default_rng(0)
    net, loss = build(rng, dtype=np.float32), nn.SoftmaxCrossEntropy()
    optimizer = nn.SGD(net.parameters(), learning_rate=1e-4, momentum=0.9)
    x, t = rng.standard_normal((*shape, N)).astype(np.float32), rng.integers(0, 10, N)
    z, s = torch.from_numpy(np.moveaxis(x, -1, 0).copy()), torch.from_numpy(t)
    contenders = {"ours": (lambda: nn.training.training_step(net, loss, optimizer, x, t)) if backward else None}
    if not backward:
        net.eval()
        contenders["ours"] = lambda: net.forward(x)
    for layout, memory in (("torch", torch.contiguous_format), ("torch channels_last", torch.channels_last)):
        other, images = twin(net).to(memory_format=memory), z.to(memory_format=memory)
        contenders[layout] = torch_step(other, images, s) if backward else torch_forward(other, images)
    contenders["products"] = products(net, shape, N, backward)
    if name == "lenet5":
        contenders |= sweeps(net, loss, x, t)
    pairs = [("ours", other) for other in ("torch", "torch channels_last", "products")]
    interleaved.compare(contenders, pairs + [("curvature", "gradient")] * (name == "lenet5"))


def sweeps(net, loss, x, t):
    """Gradient alone, and gradient with OBD's curvature, both down to the data."""

    def gradient():
        loss.forward(net.forward(x), t)
        net.backward(loss.backward())

    def curvature():
        loss.forward(net.forward(x), t)
        net.backward_hessian(loss.backward(), loss.backward_hessian())

    return {"gradient": gradient, "curvature": curvature}


def torch_step(net, x, t):
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9)

    def step():
        optimizer.zero_grad()
        F.cross_entropy(net(x), t).backward()
        optimizer.step()

    return step


def torch_forward(net, x):
    net.eval()

    def forward():
        with torch.inference_mode():
            net(x)

    return forward


if __name__ == "__main__":
    main()
