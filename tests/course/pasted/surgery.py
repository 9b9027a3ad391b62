"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import numpy as np

import nn
from pruning import filters, surgery
from pruning.counts import count
from pruning.scores import filter_norm


def _convolution(W, b=None, padding=0):
    layer = nn.Conv2d(W.shape[1], W.shape[0], W.shape[2:], None, padding=padding, bias=b is not None)
    layer.W.data = W
    if b is not None:
        layer.b.data = b
    return layer


def kept(W, s, kept_in, p):
    net = nn.Sequential(_convolution(W[:, kept_in]))
    scores = filter_norm.saliency(net, ["0.W"])
    return scores["0.W"], np.array(filters.largest(scores, {"0.W": p})["0.W"])


def fold(W, b, gamma, beta, mean, var, eps):
    norm = nn.BatchNorm(len(gamma), eps=eps)
    norm.gamma.data, norm.beta.data, norm.running_mean, norm.running_variance = gamma, beta, mean, var
    folded = nn.fold_pair(_convolution(W, b), norm)
    return folded.W.data, folded.b.data


def fold_constant(W, b, a, dead, padding, v, size):
    keep = {"0.W": [m for m in range(len(a)) if m not in dead]}
    weights = np.ones((len(a), 1, 1, 1))
    weights[dead] = 0
    net = nn.Sequential(_convolution(weights, a), nn.Tanh(), _convolution(W, b, padding)).eval()
    layer = surgery.fold_constants(net, keep, (1, *map(int, size)), border="map").layers[2]
    pixels = layer.output_shape((len(a), *map(int, size)))[1:]
    return layer.b.data[:, None, None] + (np.zeros((1, *pixels)) if layer.bias_map is None else layer.bias_map)


def saved(n, k, h, w, m, m2):
    # The maps have the sizes that kernels without a border lead to: of layers of given sizes there is no outline.
    n, k = [int(each) for each in n], [int(each) for each in k]
    first, second = nn.Conv2d(n[0], n[1], k[0], None), nn.Conv2d(n[1], n[2], k[1], None)
    net = nn.Sequential(first, second, nn.Conv2d(n[2], 1, 1, None))
    small = surgery.remove(net, {"0.W": range(m, n[1]), "1.W": range(m2, n[2])})
    shape = (n[0], int(h[1]) + k[0] - 1, int(w[1]) + k[0] - 1)
    before, after = (count(each, shape).layers for each in (net, small))
    pixels = h[2] * w[2] / np.prod(before[1].output[1:])
    return np.array([before[0].macs - after[0].macs, (before[1].macs - after[1].macs) * pixels])


def purify(W, th1, th2, th3):
    front = _convolution(np.ones((W.shape[1], 1, 1, 1)))
    rule = surgery.Thresholds(column=th1, fullness=th2, energy=th3)
    net = nn.Sequential(front, _convolution(W))
    new = W * surgery.purify(net, {"1.W": rule})["1.W"]
    energies = np.sum(new * new, axis=0)
    return np.mean(energies != 0, axis=(1, 2)), np.mean(energies, axis=(1, 2)), new


def unused(keep, jumps):
    layers = [nn.Linear(K.shape[1], K.shape[0], None, bias=False) for K in keep]
    for layer, K in zip(layers, keep):
        layer.W.data = K
    blocks = {int(a): int(b) for a, b in jumps}
    net, l = [layers[0]], 0
    while l + 1 < len(layers):
        stop = blocks.get(l, l + 1)
        body = layers[l + 1 : stop + 1]
        net.append(nn.Residual(nn.Sequential(*body)) if l in blocks else body[0])
        l = stop
    masks = surgery.purify(nn.Sequential(*net), surgery.Thresholds())
    return [K * mask for K, mask in zip(keep, masks.values())]


PASTED = {
    "surg.1": kept,
    "surg.2": fold,
    "surg.3": fold_constant,
    "surg.4": saved,
    "surg.5": purify,
    "surg.6": unused,
}
