"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import nn


def im2col(x, KH, KW, stride, dilation, border):
    return nn.im2col(x, (KH, KW), stride, border, dilation)


def col2im(cols, shape, KH, KW, stride, border):
    return nn.col2im(cols, tuple(shape), (KH, KW), stride, border)


def _depthwise(x, W, border):
    layer = nn.Conv2d(len(W), len(W), W.shape[1:], None, padding=border, groups=len(W))
    layer.W.data, layer.b.data = W[:, None], 0 * W[:, 0, 0]
    layer.forward(x)
    return layer


def depthwise_backward(x, W, ga, border):
    layer = _depthwise(x, W, border)
    gx = layer.backward(ga)
    return gx, layer.W.grad[:, 0], layer.b.grad


def depthwise_hessian(x, W, ha, border):
    layer = _depthwise(x, W, border)
    _, hx = layer.backward_hessian(ha, ha)
    return hx, layer.W.hess_diag[:, 0], layer.b.hess_diag


def pool_hessian(x, hy, k, kind):
    pool = nn.MaxPool2d(k) if kind == "max" else nn.AvgPool2d(k)
    pool.forward(x)
    return pool.backward_hessian(hy, hy)[1]


PASTED = {
    "conv.1": im2col,
    "conv.2": col2im,
    "conv.3": depthwise_backward,
    "conv.4": depthwise_hessian,
    "conv.5": pool_hessian,
}
