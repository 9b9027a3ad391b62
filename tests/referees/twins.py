"""The architectures of nn.models once more, in torch's own layers: they share no code with ours."""

import numpy as np
import pytest


class Twin:
    """Torch's own layers, batch first, fed with the parameters of our net one after the other."""

    def __init__(self, net):
        torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
        self.F, self.cat = torch.nn.functional, torch.cat
        self.parameters = iter([torch.from_numpy(p.data) for p in net.parameters()])

    def run(self, architecture, x):
        import torch

        y = architecture(self, torch.from_numpy(np.moveaxis(x, -1, 0).copy()))
        assert next(self.parameters, None) is None  # all are used
        return np.moveaxis(y.numpy(), 0, -1)

    def conv(self, x, stride=1, bias=False):
        W = next(self.parameters)
        return self.F.conv2d(x, W, next(self.parameters) if bias else None, stride, W.shape[-1] // 2)

    def norm(self, x):
        return self.F.batch_norm(x, None, None, next(self.parameters), next(self.parameters), training=True)

    def linear(self, x):
        return self.F.linear(x, next(self.parameters), next(self.parameters))


def twin_lenet5(net, x):
    for _ in range(2):
        x = net.F.max_pool2d(net.F.conv2d(x, next(net.parameters), next(net.parameters)), 2)
    return net.linear(net.linear(x.flatten(1)).relu())


def twin_lenet1990(net, x):
    def subsample(x):
        coefficient, b = next(net.parameters), next(net.parameters)
        return coefficient[:, None, None] * net.F.avg_pool2d(x, 2) + b[:, None, None]

    squash = lambda a: 1.7159 * (2 / 3 * a).tanh()  # noqa: E731
    x = squash(net.F.conv2d(x, next(net.parameters), next(net.parameters)))
    x = squash(subsample(x))
    W, b = x.new_zeros(12, 4, 5, 5), x.new_zeros(12)  # H3 as a convolution of all maps with the missing links at zero
    for maps, seen in ((slice(4), [0, 1]), (4, [0]), (5, [1]), (slice(6, 10), [2, 3]), (10, [2]), (11, [3])):
        W[maps, seen], b[maps] = next(net.parameters), next(net.parameters)
    x = squash(net.F.conv2d(x, W, b))
    return squash(net.linear(squash(subsample(x)).flatten(1)))


def twin_vgg(net, x):
    for convolutions in (1, 2):
        for _ in range(convolutions):
            x = net.norm(net.conv(x)).relu()
        x = net.F.max_pool2d(x, 2)
    return net.linear(net.linear(x.flatten(1)).relu())


def twin_resnet_cifar(net, x):
    x = net.norm(net.conv(x)).relu()
    for stride, channels in ((1, 16), (2, 32), (2, 64)):
        body = net.norm(net.conv(net.norm(net.conv(x, stride)).relu()))
        shortcut = net.F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, channels - x.shape[1]))
        x = (body + shortcut).relu()
    return net.linear(x.mean((2, 3)))


def twin_preresnet(net, x, seen=(16, 64, 128, 256)):
    x = net.conv(x)
    for stride, read in zip((1, 2, 2), seen):
        body = net.conv(net.norm(x[:, :read]).relu())
        body = net.conv(net.norm(body).relu(), stride)
        body = net.conv(net.norm(body).relu())
        x = body + net.conv(x, stride)
    return net.linear(net.norm(x[:, : seen[-1]]).relu().mean((2, 3)))


def twin_densenet(net, x, layers=1, convolutions=1):
    x = net.conv(x)
    for block in range(3):
        for _ in range(layers):
            new = x
            for _ in range(convolutions):
                new = net.conv(net.norm(new).relu())
            x = net.cat([x, new], 1)
        if block < 2:
            x = net.F.avg_pool2d(net.conv(net.norm(x).relu()), 2)
    return net.linear(net.norm(x).relu().mean((2, 3)))


def four_stages(net, x, blocks, convolutions, strided, projects_first):
    for stage, n in enumerate(blocks):
        for block in range(n):
            stride, body = 2 if stage and not block else 1, x
            for i in range(convolutions):
                body = net.norm(net.conv(body.relu() if i else body, stride if i == strided else 1))
            projected = not block and (stage or projects_first)
            x = (body + (net.norm(net.conv(x, stride)) if projected else x)).relu()
    return net.linear(x.mean((2, 3)))


def twin_resnet18_cifar(net, x):
    return four_stages(net, net.norm(net.conv(x)).relu(), (2, 2, 2, 2), 2, 0, True)  # 64 to 5 channels here


def twin_resnet_imagenet(net, x, *rest):
    return four_stages(net, net.F.max_pool2d(net.norm(net.conv(x, 2)).relu(), 3, 2, 1), *rest)


TWINS = {
    "lenet5": twin_lenet5,
    "lenet1990": twin_lenet1990,
    "vgg": twin_vgg,
    "resnet_cifar": twin_resnet_cifar,
    "preresnet": twin_preresnet,
    "preresnet-thin": lambda net, x: twin_preresnet(net, x, seen=(7, 64, 9, 11)),
    "densenet": twin_densenet,
    "densenet-bc": lambda net, x: twin_densenet(net, x, layers=2, convolutions=2),
    "resnet18_cifar": twin_resnet18_cifar,
    "resnet_imagenet 18": lambda net, x: twin_resnet_imagenet(net, x, (2, 2, 2, 2), 2, 0, False),
    "resnet_imagenet 50": lambda net, x: twin_resnet_imagenet(net, x, (3, 4, 6, 3), 3, 1, True),
}
