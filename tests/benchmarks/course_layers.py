"""Layers as a first course on deep learning has its students write them: images (N, C, H, W), rows are patterns.

Written for the benchmark after what such courses teach, and not taken from any: forward returns a cache, backward takes
it.  The windows of a convolution are gathered by index arrays, and their gradients go back with `np.add.at`, which is
what one uses without a compiled extension.
"""

import numpy as np


def affine_forward(x, W, b):
    """Scores x W + b, and what backward needs."""
    return x.reshape(len(x), -1) @ W + b, (x, W)


def affine_backward(dout, cache):
    x, W = cache
    return (dout @ W.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(axis=0)


def relu_forward(x):
    return np.maximum(0, x), x


def relu_backward(dout, x):
    return dout * (x > 0)


def window_indices(shape, k):
    """Channel, row and column of every entry of the columns (C k k, OH OW) of an image (C, H, W)."""
    _, C, H, W = shape
    OH, OW = H - k + 1, W - k + 1
    i = np.tile(np.repeat(np.arange(k), k), C)[:, None] + np.repeat(np.arange(OH), OW)[None, :]
    j = np.tile(np.arange(k), k * C)[:, None] + np.tile(np.arange(OW), OH)[None, :]
    return np.repeat(np.arange(C), k * k)[:, None], i, j


def conv_forward(x, W, b):
    F, k = W.shape[0], W.shape[-1]
    c, i, j = window_indices(x.shape, k)
    cols = x[:, c, i, j].transpose(1, 2, 0).reshape(len(i), -1)  # (C k k, OH OW N)
    out = W.reshape(F, -1) @ cols + b[:, None]
    out = out.reshape(F, x.shape[2] - k + 1, x.shape[3] - k + 1, len(x)).transpose(3, 0, 1, 2)
    return out, (x, W, cols)


def conv_backward(dout, cache):
    x, W, cols = cache
    flat = dout.transpose(1, 2, 3, 0).reshape(len(W), -1)
    dcols = (W.reshape(len(W), -1).T @ flat).reshape(len(cols), -1, len(x)).transpose(2, 0, 1)
    dx = np.zeros_like(x)
    np.add.at(dx, (slice(None), *window_indices(x.shape, W.shape[-1])), dcols)
    return dx, (flat @ cols.T).reshape(W.shape), flat.sum(axis=1)


def pool_forward(x):
    """Max-pooling 2 x 2 by a reshape, which windows without overlap allow."""
    N, C, H, W = x.shape
    windows = x.reshape(N, C, H // 2, 2, W // 2, 2)
    out = windows.max(axis=(3, 5))
    return out, (windows, out)


def pool_backward(dout, cache):
    windows, out = cache
    mask = windows == out[:, :, :, None, :, None]
    shares = mask * (dout / mask.sum(axis=(3, 5)))[:, :, :, None, :, None]
    N, C, H, _, W, _ = windows.shape
    return shares.reshape(N, C, 2 * H, 2 * W)


def softmax_loss(scores, t):
    """Mean cross-entropy and its gradient by the scores."""
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(t))
    loss = -np.mean(np.log(p[rows, t]))
    p[rows, t] -= 1
    return loss, p / np.asarray(len(t), p.dtype)


class Net:
    """A stack of ("affine" | "conv", W, b), ("relu",) and ("pool",), and its training step."""

    FORWARD = {"affine": affine_forward, "conv": conv_forward, "relu": relu_forward, "pool": pool_forward}
    BACKWARD = {"affine": affine_backward, "conv": conv_backward, "relu": relu_backward, "pool": pool_backward}

    def __init__(self, layers):
        self.layers = [(kind, *map(np.ascontiguousarray, arrays)) for kind, *arrays in layers]
        self.velocities = [[np.zeros_like(array) for array in arrays] for _, *arrays in self.layers]

    def loss_and_gradients(self, x, t):
        """Return E and, layer by layer, the gradients of W and b."""
        caches = []
        for kind, *arrays in self.layers:
            x, cache = self.FORWARD[kind](x, *arrays)
            caches.append(cache)
        loss, dout = softmax_loss(x, t)
        gradients = []
        for (kind, *arrays), cache in zip(self.layers[::-1], caches[::-1]):
            found = self.BACKWARD[kind](dout, cache)
            dout, *rest = found if arrays else (found,)
            gradients.append(rest)
        return loss, gradients[::-1]

    def step(self, x, t, learning_rate, momentum):
        """One step of gradient descent with momentum."""
        _, gradients = self.loss_and_gradients(x, t)
        for (_, *arrays), velocities, found in zip(self.layers, self.velocities, gradients):
            for array, velocity, gradient in zip(arrays, velocities, found):
                velocity *= momentum
                velocity -= learning_rate * gradient
                array += velocity
