"""Convolution as a matrix product: the sweep forward, which is a correlation, and the sweep back."""

from collections.abc import Iterator
from importlib import import_module
from itertools import product
from typing import Any, TypeAlias

import numpy as np

import nn
from pruning.ledger.core import Form, Formula
from pruning.ledger.windows import Index, Pairs, draw_geometry, starts

Arrays: TypeAlias = tuple[np.ndarray, ...]


def _draw_layer(rng: np.random.Generator) -> dict[str, Any]:
    # Two groups of two channels and two filters each, two images.
    geometry, (H, W) = draw_geometry(rng), map(int, rng.integers(5, 7, 2))
    kernels = rng.standard_normal((4, 2, *geometry.pop("kernel")))
    return {"x": rng.standard_normal((4, H, W, 2)), "W": kernels, "b": rng.standard_normal(4), **geometry}


def _draw_sweep(rng: np.random.Generator) -> dict[str, Any]:
    case = _draw_layer(rng)
    return case | {"ga": rng.standard_normal(_forward(**case).shape)}


def _layer(W: np.ndarray, b: np.ndarray, **geometry: Any) -> nn.Conv2d:
    layer = nn.Conv2d(4, 4, (W.shape[2], W.shape[3]), np.random.default_rng(0), groups=2, **geometry)
    assert layer.b is not None
    layer.W.data, layer.b.data = W, b
    return layer


def _forward(x: np.ndarray, W: np.ndarray, b: np.ndarray, **geometry: Pairs) -> np.ndarray:
    a: np.ndarray = _layer(W, b, **geometry).forward(x)
    return a


def _meetings(
    x: np.ndarray, W: np.ndarray, stride: Index, padding: Pairs, dilation: Index
) -> Iterator[tuple[Index, Index, Index]]:
    # Seven loops: all (i, k, j) such that a_i is a sum of W_k x_j.  A pixel of the border is none.
    (O, C, KH, KW), (_, height, width, N) = W.shape, x.shape
    rows, columns = starts((height, width), (KH, KW), stride, padding, dilation)
    for o, oh, ow, c, kh, kw in product(
        range(O), range(len(rows)), range(len(columns)), range(C), range(KH), range(KW)
    ):
        h, w = rows[oh] + dilation[0] * kh, columns[ow] + dilation[1] * kw
        if 0 <= h < height and 0 <= w < width:
            for n in range(N):
                yield (o, oh, ow, n), (o, c, kh, kw), (o // 2 * 2 + c, h, w, n)  # filters 2, 3 read channels 2, 3


def _seven_loops(x: np.ndarray, W: np.ndarray, b: np.ndarray, **geometry: Any) -> np.ndarray:
    rows, columns = starts(x.shape[1:3], W.shape[2:], **geometry)
    a = np.zeros((len(W), len(rows), len(columns), x.shape[3])) + b[:, None, None, None]
    for i, k, j in _meetings(x, W, **geometry):
        a[i] += W[k] * x[j]
    return a


def _by_scipy(x: np.ndarray, W: np.ndarray, b: np.ndarray, stride: Index, padding: Any, dilation: Index) -> np.ndarray:
    # SciPy's correlation of whole images, with zeros between the weights, of which every stride-th value stays.
    from scipy import ndimage  # not at the top: only this row needs it

    KH, KW = (d * (k - 1) + 1 for k, d in zip(W.shape[2:], dilation))
    spread = np.zeros((*W.shape[:2], KH, KW))
    spread[:, :, :: dilation[0], :: dilation[1]] = W
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    inside = (
        slice(KH // 2, padded.shape[1] - (KH - 1) // 2, stride[0]),
        slice(KW // 2, padded.shape[2] - (KW - 1) // 2, stride[1]),
    )

    def one(o: int, n: int) -> np.ndarray:
        channels = zip(padded[o // 2 * 2 :, :, :, n], spread[o])
        return b[o] + sum(ndimage.correlate(image, kernel, mode="constant")[inside] for image, kernel in channels)

    return np.stack([np.stack([one(o, n) for n in range(x.shape[3])], axis=-1) for o in range(len(W))])


def _torch(x: np.ndarray, W: np.ndarray, b: np.ndarray, stride: Any, padding: Any, dilation: Any) -> tuple[Any, ...]:
    torch = import_module("torch")
    images, weights, biases = (torch.tensor(v, requires_grad=True) for v in (x, W, b))
    padded = torch.nn.functional.pad(images.permute(3, 0, 1, 2), (*padding[1], *padding[0]))
    a = torch.nn.functional.conv2d(padded, weights, biases, stride, 0, dilation, 2)
    return a.permute(1, 2, 3, 0), weights, biases, images


def _by_torch(**inputs: Any) -> np.ndarray:
    a: np.ndarray = _torch(**inputs)[0].detach().numpy()
    return a


def _sweep(x: np.ndarray, W: np.ndarray, b: np.ndarray, ga: np.ndarray, **geometry: Any) -> Arrays:
    layer = _layer(W, b, **geometry)
    layer.forward(x)
    gx = layer.backward(ga)
    assert layer.b is not None
    return layer.W.grad, layer.b.grad, gx


def _sweep_loops(x: np.ndarray, W: np.ndarray, b: np.ndarray, ga: np.ndarray, **geometry: Any) -> Arrays:
    gW, gx = np.zeros_like(W), np.zeros_like(x)
    for i, k, j in _meetings(x, W, **geometry):
        gW[k] += ga[i] * x[j]
        gx[j] += ga[i] * W[k]
    return gW, np.array([sum(maps.ravel()) for maps in ga]), gx


def _sweep_by_torch(ga: np.ndarray, **inputs: Any) -> Arrays:
    a, *leaves = _torch(**inputs)
    a.backward(import_module("torch").tensor(ga))
    return tuple(leaf.grad.numpy() for leaf in leaves)


def _mean_over_windows(ga: np.ndarray, **inputs: Any) -> Arrays:
    gW, gb, gx = _sweep(ga=ga, **inputs)
    return gW / ga[0].size, gb / ga[0].size, gx


def _kernel_turned(x: np.ndarray, W: np.ndarray, b: np.ndarray, ga: np.ndarray, **geometry: Any) -> Arrays:
    layer = _layer(W, b, **geometry)
    layer.forward(x)
    return (*_sweep(x, W, b, ga, **geometry)[:2], layer.to_input(W[:, :, ::-1, ::-1], ga))


def _added_once(x: np.ndarray, W: np.ndarray, b: np.ndarray, ga: np.ndarray, **geometry: Any) -> Arrays:
    # NumPy's x[index] += cols: of the numbers that belong to one pixel only the last is added.
    shape, gx = (2, *x.shape[1:]), []
    pixels = nn.im2col(1 + np.arange(x[:2].size).reshape(shape), W.shape[2:], **geometry)  # 0 is the border
    for W_group, ga_group in zip(np.split(W, 2), np.split(ga, 2)):
        flat = np.zeros(1 + x[:2].size)
        flat[pixels] += W_group.reshape(2, -1).T @ ga_group.reshape(2, -1)
        gx.append(flat[1:].reshape(shape))
    return (*_sweep(x, W, b, ga, **geometry)[:2], np.concatenate(gx))


def _sides_exchanged(x: np.ndarray, W: np.ndarray, b: np.ndarray, padding: Pairs, **geometry: Any) -> np.ndarray:
    return _forward(x, W, b, padding=tuple((after, before) for before, after in padding), **geometry)


STATEMENTS = (
    Formula(
        id="S1-F19a",
        title="convolution: a correlation, and a matrix product",
        printed=r"Y=W_{2d}\,\mathrm{im2col}(x)+b,\quad"
        r" y_{o,i,j}=b_o+\sum_{c,p,q}W_{o,c,p,q}\,\bar x_{c,\,si+dp,\,sj+dq}",
        verdict="lost",
        remark="The slide has a figure only; the kernel is not turned, so that networks compute correlations.",
        where="S1, Im2col (Image2Column) Convolution",
        code="nn.Conv2d.forward, nn.im2col",
        notebook="03, section 1",
        draw=_draw_layer,
        right=_forward,
        referees=(
            Form("seven loops", _seven_loops),
            Form("SciPy's correlation", _by_scipy),
            Form("torch", _by_torch, needs="torch"),
        ),
        wrong=(
            Form(
                "kernel turned",
                lambda W, **inputs: _forward(W=W[:, :, ::-1, ::-1], **inputs),
                "That is the convolution of signal theory, with the same name and another result.",
            ),
            Form(
                "columns numbered (kh, kw, c)",
                lambda W, **inputs: _forward(W=W.transpose(0, 2, 3, 1).reshape(W.shape), **inputs),
                "The rows of im2col are numbered (c, kh, kw), as the weights lie in memory.",
            ),
            Form(
                "sides of the border exchanged",
                _sides_exchanged,
                "Top and left come first: a border that is not symmetric moves all windows.",
            ),
            Form(
                "all groups read the first channels",
                lambda x, **inputs: _forward(x=np.concatenate([x[:2], x[:2]]), **inputs),
                "Every group of filters has channels of its own.",
            ),
        ),
    ),
    Formula(
        id="S1-F19c",
        title="convolution: the sweep back",
        printed=r"g_W=g_Y\,\mathrm{im2col}(x)^\top,\quad g_b=\sum g_Y,\quad g_x=\mathrm{col2im}(W_{2d}^\top g_Y)",
        verdict="lost",
        remark="The slide shows the way forward only; weights are shared by all windows, so their gradients are sums.",
        where="S1, Im2col (Image2Column) Convolution",
        code="nn.Conv2d.backward, nn.col2im",
        notebook="03, section 2",
        draw=_draw_sweep,
        right=_sweep,
        referees=(Form("seven loops", _sweep_loops), Form("torch's autograd", _sweep_by_torch, needs="torch")),
        wrong=(
            Form("x[index] += cols", _added_once, "Of equal indices only the last one counts, without a word."),
            Form(
                "kernel turned on the way back", _kernel_turned, "W^T alone turns it: the adjoint needs no other turn."
            ),
            Form("means over the windows", _mean_over_windows, "A shared weight has the sum of all its gradients."),
        ),
    ),
)
