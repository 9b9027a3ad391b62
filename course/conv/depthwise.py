"""One filter a channel, on images whose border repeats the nearest pixel: gradients (conv.3), curvatures (conv.4).

E = Σ ga a is linear in every single number, and E = 1/2 Σ ha a² is a parabola in it: first and second differences are
exact at any step, and judge both without any calculus.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


def _layer(signal: str, channels: int = 0, images: int = 0, border: int = -1, square: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        C, N = channels or int(rng.integers(2, 4)), images or int(rng.integers(2, 4))
        (KH, KW), (H, W) = (3, 3) if square else rng.permutation([2, 3]), rng.permutation([3, 5])
        H, W = (4, 4) if square else (H, W)
        b = border if border >= 0 else int(rng.integers(1, 3))
        x, kernels = rng.uniform(0.3, 2, (C, H, W, N)), signed(rng, 0.3, 2, (C, KH, KW))
        back = signed(rng, 0.3, 2, (C, H + 2 * b - KH + 1, W + 2 * b - KW + 1, N))
        return {"x": x, "W": kernels, signal: back, "border": b}

    return draw


# ---- the referees ----------------------------------------------------------------------------------------------------
def _nearest(size: int, border: int) -> list[int]:
    return [min(max(i, 0), size - 1) for i in range(-border, size + border)]


def _forward(x: Array, W: Array, b: Array, border: int) -> Array:
    C, KH, KW = W.shape
    wide = x[:, _nearest(x.shape[1], border)][:, :, _nearest(x.shape[2], border)]
    OH, OW = wide.shape[1] - KH + 1, wide.shape[2] - KW + 1
    a = np.zeros((C, OH, OW, x.shape[3])) + b[:, None, None, None]
    for k in np.ndindex(KH, KW):
        a += W[:, k[0], k[1], None, None, None] * wide[:, k[0] : k[0] + OH, k[1] : k[1] + OW]
    return a


def _moved(x: Array, W: Array, border: int, judge: Callable[[Array, Array], Array]) -> tuple[Array, ...]:
    # judge(a, how a changes when a number grows by 1) for every number of x, W and b.  E is a sum over channels and
    # images, which do not see each other: one number of each is moved at a time, and E (C, N) is judged for each.
    parts = {"x": x, "W": W, "b": np.zeros(len(W))}
    a = _forward(**parts, border=border)
    found = []
    for name, u in parts.items():
        result = np.empty(u.shape)
        for k in np.ndindex(u.shape[1:3]):
            more = u.copy()
            more[:, *k] += 1
            judged = judge(a, _forward(**(parts | {name: more}), border=border) - a)
            result[:, *k] = judged if name == "x" else judged.sum(axis=1)
        found.append(result)
    return tuple(found)


def _differences(x: Array, W: Array, ga: Array, border: int) -> tuple[Array, ...]:
    def E(a: Array) -> Array:
        return np.sum(ga * a, axis=(1, 2))

    return _moved(x, W, border, lambda a, step: E(a + step) - E(a))


def _second_differences(x: Array, W: Array, ha: Array, border: int) -> tuple[Array, ...]:
    def E(a: Array) -> Array:
        return 0.5 * np.sum(ha * a * a, axis=(1, 2))

    return _moved(x, W, border, lambda a, step: E(a + step) - 2 * E(a) + E(a - step))


# ---- the wrong forms: windows (C, K, P, N), and where each entry came from (K, P) ------------------------------------
def _source(x: Array, W: Array, border: int) -> Array:
    height, width = x.shape[1:3]
    numbers = np.arange(height * width).reshape(height, width)
    wide = numbers[_nearest(height, border)][:, _nearest(width, border)]
    windows = np.lib.stride_tricks.sliding_window_view(wide, W.shape[1:])
    return windows.reshape(-1, W[0].size).T


def _inside(x: Array, W: Array, border: int) -> Array:
    # 1 where an entry is a pixel of the image, 0 where it is one of the border.
    height, width = x.shape[1:3]
    wide = np.pad(np.ones((height, width)), border)
    return np.lib.stride_tricks.sliding_window_view(wide, W.shape[1:]).reshape(-1, W[0].size).T


def _windows(x: Array, W: Array, border: int) -> Array:
    pixels = x.reshape(len(x), -1, x.shape[3])
    return pixels[:, _source(x, W, border)]


def _rows(signal: Array) -> Array:
    return signal.reshape(len(signal), -1, signal.shape[3])


def _onto(x: Array, W: Array, border: int, keep: Array | float = 1.0) -> Array:
    # (C, P, pixels): the weights through which a window sees a pixel, added up; an entry counts as often as keep says.
    source = _source(x, W, border)
    weights = W.reshape(len(W), -1, 1) * np.broadcast_to(keep, source.shape)
    onto = np.zeros((len(W), source.shape[1], x[0, :, :, 0].size))
    for k, pixels in enumerate(source):
        onto[:, np.arange(len(pixels)), pixels] += weights[:, k]
    return onto


def _to_pixels(x: Array, onto: Array, signal: Array) -> Array:
    return (onto.swapaxes(1, 2) @ _rows(signal)).reshape(x.shape)


def _gradients(x: Array, W: Array, ga: Array, border: int) -> dict[str, Array]:
    return {
        "gx": _to_pixels(x, _onto(x, W, border), ga),
        "gW": np.einsum("cpn,ckpn->ck", _rows(ga), _windows(x, W, border)).reshape(W.shape),
        "gb": np.sum(ga, axis=(1, 2, 3)),
    }


def _curvatures(x: Array, W: Array, ha: Array, border: int) -> dict[str, Array]:
    return {
        "hx": _to_pixels(x, _onto(x, W, border) ** 2, ha),
        "hW": np.einsum("cpn,ckpn->ck", _rows(ha), _windows(x, W, border) ** 2).reshape(W.shape),
        "hb": np.sum(ha, axis=(1, 2, 3)),
    }


def _but(right: Callable[..., dict[str, Array]], **changed: Callable[..., Array]) -> Callable[..., tuple[Array, ...]]:
    # The right outputs with some exchanged: each mistake alone.
    def form(**inputs: Array) -> tuple[Array, ...]:
        return tuple((right(**inputs) | {name: f(*inputs.values()) for name, f in changed.items()}).values())

    return form


def _mixed(x: Array, W: Array, ga: Array, border: int) -> Array:
    return np.einsum("opn,ckpn->ck", _rows(ga), _windows(x, W, border)).reshape(W.shape)


def _added_then_squared(x: Array, W: Array, ha: Array, border: int) -> Array:
    sums = _windows(x, W, border).sum(axis=2)
    return np.einsum("cn,ckn->ck", _rows(ha).mean(axis=1), sums**2).reshape(W.shape)


def _hw_of(power: int, keep_border: bool = True, mean: bool = False) -> Callable[..., Array]:
    def hW(x: Array, W: Array, signal: Array, border: int) -> Array:
        windows = _windows(x, W, border) ** power
        windows = windows if keep_border else windows * _inside(x, W, border)[:, :, None]
        found = np.einsum("cpn,ckpn->ck", _rows(signal), windows).reshape(W.shape)
        return found / signal[0, :, :, 0].size if mean else found

    return hW


def _hx_of(power: int, keep_border: bool = True) -> Callable[..., Array]:
    def hx(x: Array, W: Array, signal: Array, border: int) -> Array:
        keep = 1.0 if keep_border else _inside(x, W, border)
        return _to_pixels(x, _onto(x, W**power, border, keep), signal)

    return hx


BACKWARD = Exercise(
    id="conv.3",
    function="depthwise_backward",
    outputs=("gx", "gW", "gb"),
    formula="a_cp = b_c + Σ_k W_ck X_ckp:  gW_ck = Σ_pn ga_cpn X_ckpn,  gb_c = Σ_pn ga_cpn,  gx_c = col2im(W_cᵀ ga_c),"
    " channel by channel",
    slide="S1, Im2col (Image2Column) Convolution",
    ledger="S1-F19c",
    section="notebook 03, section 2",
    minutes=35,
    referee=_differences,
    cases=(
        Case("two channels without a border", 1, _layer("ga", 2, 2, border=0, square=True), public=True),
        Case("square images with a border of copies", 1, _layer("ga", square=True), draws=2),
        Case("images and kernels that are not square", 2, _layer("ga"), draws=3),
        Case("one channel and one image", 1, _layer("ga", 1, 1), draws=2),
    ),
    wrong=(
        Wrong(
            "flipped kernel",
            _but(
                _gradients,
                gx=lambda x, W, ga, border: _to_pixels(x, _onto(x, W[:, ::-1, ::-1], border), ga),
            ),
            "This has the kernel turned once too often in gx. Going back along the same indices turns it already; a"
            " second turn undoes that (notebook 03, section 2.5).",
        ),
        Wrong(
            "channels mixed",
            _but(_gradients, gW=_mixed),
            "This adds the signals of all channels in gW, as if every filter saw every channel. Here one channel has"
            " one filter.",
        ),
        Wrong(
            "mean for the bias",
            _but(_gradients, gb=lambda x, W, ga, border: ga.mean(axis=(1, 2, 3))),
            "This has the mean over windows and images in gb. A bias is shared by all of them, and what they send back"
            " is added up.",
        ),
        Wrong(
            "mean over the windows",
            _but(_gradients, gW=_hw_of(1, mean=True)),
            "This has the mean over the windows in gW. A weight that all windows share has the sum of their gradients.",
        ),
        Wrong(
            "border cut off",
            _but(_gradients, gx=_hx_of(1, keep_border=False)),
            "This throws away what comes back to the border in gx. Its pixels are copies of pixels of the image, and"
            " what a copy gets belongs to its original.",
        ),
        Wrong(
            "border of zeros",
            _but(_gradients, gx=_hx_of(1, keep_border=False), gW=_hw_of(1, keep_border=False)),
            "These are the gradients of a layer with a border of zeros, as nn.Conv2d has them. Here the border repeats"
            " the nearest pixel.",
        ),
    ),
    hint="Work on one channel at a time: it is a convolution with one filter.",
    package="nn.Conv2d.backward",
)

HESSIAN = Exercise(
    id="conv.4",
    function="depthwise_hessian",
    outputs=("hx", "hW", "hb"),
    formula="∂²E/∂W_ck² = Σ_pn h_cpn X_ckpn² (the sum over V_k),  ∂²E/∂b_c² = Σ_pn h_cpn,"
    "  ∂²E/∂x_cin² = Σ_p h_cpn (Σ W_ck over all k that copy pixel i into window p)²",
    slide="S0, Computing the second derivative",
    ledger="S0-F3, D6a",
    section="notebook 03, section 4",
    minutes=35,
    referee=_second_differences,
    cases=(
        Case("two channels without a border", 1, _layer("ha", 2, 2, border=0, square=True), public=True),
        Case("square images with a border of copies", 1, _layer("ha", square=True), draws=2),
        Case("images and kernels that are not square", 2, _layer("ha"), draws=3),
        Case("one channel and one image", 1, _layer("ha", 1, 1), draws=2),
    ),
    wrong=(
        Wrong(
            "windows added, then squared",
            _but(_curvatures, hW=_added_then_squared),
            "This adds the windows first and squares the sum in hW, with a mean curvature. The sum over V_k is one of"
            " squares, and every window has a curvature of its own (S0-F3).",
        ),
        Wrong(
            "w for w²",
            _but(_curvatures, hx=_hx_of(1)),
            "This has w for w² in hx: it is the line of the gradient. A second derivative passes the weight twice"
            " (D6a).",
        ),
        Wrong(
            "x for x²",
            _but(_curvatures, hW=_hw_of(1)),
            "This has x for x² in hW: it is the line of the gradient. The pixel comes in with each of the two"
            " derivatives (S0-F3).",
        ),
        Wrong(
            "mean over the windows",
            _but(
                _curvatures,
                hW=_hw_of(2, mean=True),
                hb=lambda x, W, ha, border: np.sum(ha, axis=(1, 2, 3)) / ha[0, :, :, 0].size,
            ),
            "This has the mean over the windows in hW and hb. A shared weight moves in all windows at once, and V_k is"
            " a sum (S0-F3).",
        ),
        Wrong(
            "squares of the copies",
            _but(_curvatures, hx=_hx_of(2)),
            "This equals col2im with squared weights in hx. That is right if a window sees a pixel once. At the border"
            " a window holds several copies of one pixel, and they all move together.",
        ),
        Wrong(
            "border of zeros",
            _but(_curvatures, hx=_hx_of(2, keep_border=False), hW=_hw_of(2, keep_border=False)),
            "These are the second derivatives of a layer with a border of zeros, as nn.Conv2d has them. Here the border"
            " repeats the nearest pixel.",
        ),
    ),
    hint="By how much does each a change when one pixel grows by 1, if a window holds two copies of it?",
    package="nn.Conv2d.backward_hessian",
)
