"""A pruned map is a constant: where it goes with its channel, and what a border, a flatten or a pool makes of it."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning import surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.ledger.plain import DEAD, KEEP, SHAPE, chain, convolutions, settings


# ---- S3-F11a ---------------------------------------------------------------------------------------------------------
def _dropped(rng: np.random.Generator) -> Iterator[Measured]:
    for bias, norm, act, padding in settings():
        net, x = convolutions(rng, bias, norm, act, padding), rng.standard_normal((*SHAPE, 2))
        y = plain.forward(net, x)
        small = surgery.remove_unused_paths(net, SHAPE, border="map")
        yield Measured("surgery", relative(small.forward(x), y))
        yield Measured("filters that surgery leaves", abs(len(small.layers[0].W.data) - len(KEEP["0.W"])))
        naive = relative(surgery.remove(net, KEEP).forward(x), y)
        if norm:
            yield Measured("naive drop, batch norm", naive, True, "The map of zeros is beta - s mean behind the norm.")
        elif bias:
            yield Measured("naive drop, bias", naive, True, "A filter without weights still emits act(b).")
        elif act in (nn.Sigmoid, nn.Softplus):
            yield Measured("naive drop, act(0) not 0", naive, True, "A sigmoid of zero is a half, and softplus ln 2.")
        else:
            yield Measured("naive drop where the map is zero", naive)
        if bias and norm:
            for parameter in (net.layers[0].b, net.layers[1].gamma, net.layers[1].beta):
                parameter.data[DEAD] = 0
            late = relative(surgery.remove(net, KEEP).forward(x), plain.forward(net, x))
            loud, message = (
                act in (nn.Sigmoid, nn.Softplus),
                "Behind an activation without act(0) = 0 zeros do not last.",
            )
            yield Measured("bias and norm at zero first", late, loud, message if loud else "")


# ---- S3-F11b ---------------------------------------------------------------------------------------------------------
def _with_bias(small: Any, b: np.ndarray) -> Any:
    other: Any = surgery.duplicate(small)
    other.layers[-1].b.data = b
    return other


def _next_bias(rng: np.random.Generator) -> Iterator[Measured]:
    net, padded = (convolutions(rng, True, True, nn.Sigmoid, padding) for padding in (0, 1))
    x = rng.standard_normal((*SHAPE, 3))
    for ours, theirs in zip(padded.parameters(), net.parameters()):
        ours.data = theirs.data
    padded.layers[1] = net.layers[1]
    first, norm, _, last = net.layers
    y, around = plain.forward(net, x), plain.forward(padded, x)
    a = plain.normalised(first.b.data[:, None, None, None], *_numbers(norm))[DEAD, 0, 0, 0]
    W = last.W.data[:, DEAD]
    b = last.b.data + W.sum(axis=(2, 3)) @ (1 / (1 + np.exp(-a)))  # b_o + sum_m c_m sum_kl W_omkl

    folded = surgery.fold_constants(net, KEEP, SHAPE)
    small, drop = surgery.remove(folded, KEEP), surgery.remove(padded, KEEP)
    yield Measured("without a border", relative(small.forward(x), y))
    yield Measured("b' in closed form", relative(small.layers[-1].b.data, b))
    off = _with_bias(drop, small.layers[-1].b.data).forward(x)
    yield Measured("interior", relative(off[:, 1:-1, 1:-1], around[:, 1:-1, 1:-1]))
    message = "At a border of zeros a window sees fewer than nine of the c."
    yield Measured("the same b' at a border", relative(off, around), True, message)
    mapped = surgery.remove(surgery.fold_constants(padded, KEEP, SHAPE, border="map"), KEEP)
    yield Measured("a bias map at a border", relative(mapped.forward(x), around))
    yield Measured("refused at a border", float(not _refused(padded)))
    for name, c, share, message in (
        ("c without the activation", a, W.sum(axis=(2, 3)), "The next layer reads act(BN(b)), not BN(b)."),
        ("one tap of nine", 1 / (1 + np.exp(-a)), W[:, :, 1, 1], "Every weight of the kernel reads c."),
    ):
        wrong = _with_bias(small, last.b.data + share @ c).forward(x)
        yield Measured(name, relative(wrong, y), True, message)


def _numbers(norm: Any) -> tuple[Any, ...]:
    return norm.gamma.data, norm.beta.data, norm.running_mean, norm.running_variance, norm.eps


def _refused(net: Any) -> bool:
    try:
        surgery.fold_constants(net, KEEP, SHAPE)
    except ValueError:
        return True
    return False


# ---- S3-F11c ---------------------------------------------------------------------------------------------------------
def _draw_flat(rng: np.random.Generator) -> dict[str, Any]:
    layers = nn.Conv2d(2, 5, 3, rng), nn.Tanh(), nn.Flatten(), nn.Linear(5 * 3 * 4, 3, rng)
    return {"net": chain(rng, *layers), "x": rng.standard_normal((*SHAPE, 4))}


def _whole(net: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(net.forward(x))


def _fold_then_slice(net: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(surgery.remove(surgery.fold_constants(net, KEEP, SHAPE), KEEP).forward(x))


def _slice_only(net: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(surgery.remove(net, KEEP).forward(x))


def _flat_fold(columns: Callable[[int], slice]) -> Callable[[Any, np.ndarray], np.ndarray]:
    def form(net: Any, x: np.ndarray) -> np.ndarray:
        W, b = net.layers[-1].W.data, net.layers[-1].b.data
        c = np.tanh(net.layers[0].b.data)
        added = [c[m] * W[:, columns(m)].sum(axis=1) for m in DEAD]
        return np.asarray(_with_bias(surgery.remove(net, KEEP), b + sum(added)).forward(x))

    return form


# ---- S3-F11d ---------------------------------------------------------------------------------------------------------
def _pooled(rng: np.random.Generator) -> Iterator[Measured]:
    x = rng.standard_normal((*SHAPE, 3))
    for pool, even in (
        (nn.MaxPool2d(3, 1, 1), True),
        (nn.AvgPool2d(3, 1, 1, count_padding=False), True),
        (nn.AvgPool2d(3, 1, 1), False),
    ):
        net = chain(rng, nn.Conv2d(2, 5, 3, rng), nn.Tanh(), pool, nn.Conv2d(5, 3, 2, rng))
        net.layers[0].b.data *= -1  # so that a border of zeros would win
        y, c = plain.forward(net, x), np.tanh(net.layers[0].b.data)[:, None, None, None]
        constant = np.broadcast_to(c, (5, 4, 5, 1))
        taps = np.outer([2, 3, 3, 2], [2, 3, 3, 3, 2])[None, :, :, None]
        expected = constant if even else constant * taps / 9
        yield Measured("the pooled constant", relative(pool.forward(constant), expected))
        left = len(surgery.remove_unused_paths(net, SHAPE).layers[0].W.data)
        yield Measured("filters left without a bias map", abs(left - (3 if even else 5)))
        mapped = surgery.remove_unused_paths(net, SHAPE, border="map")
        yield Measured("surgery", relative(mapped.forward(x), y))
        b = net.layers[3].b.data + net.layers[3].W.data[:, DEAD].sum(axis=(2, 3)) @ c[DEAD, 0, 0, 0]
        plainly = relative(_with_bias(surgery.remove(net, KEEP), b).forward(x), y)
        if even:
            yield Measured("c in the next bias", plainly)
        else:
            message = "In the corner the mean is 4/9 of c: five of nine pixels are zeros of the border."
            yield Measured("c behind a mean that counts its padding", plainly, True, message)
        if isinstance(pool, nn.MaxPool2d):
            zeros = np.where(taps < 9, np.maximum(constant, 0), constant)
            message = "The border of max pooling is minus infinity, or it would win over every negative map."
            yield Measured("zeros around max pooling", relative(zeros, pool.forward(constant)), True, message)


# ---- C6 --------------------------------------------------------------------------------------------------------------
def _draw_deep(rng: np.random.Generator) -> dict[str, Any]:
    layers = nn.Conv2d(2, 5, 3, rng), nn.BatchNorm(5), nn.ReLU(), nn.Conv2d(5, 4, 2, rng), nn.BatchNorm(4), nn.ReLU()
    net = chain(rng, *layers, nn.Flatten(), nn.Linear(4 * 2 * 3, 3, rng))
    return {"net": net, "x": rng.standard_normal((*SHAPE, 4))}


def _what_train_mode_emits(net: Any, x: np.ndarray) -> np.ndarray:
    # In train mode the mean of a constant map is the constant itself, and beta is left of it.
    twin = surgery.duplicate(net)
    twin.layers[1].running_mean[DEAD] = twin.layers[0].b.data[DEAD]
    return _fold_then_slice(twin, x)


def _slice_then_fold(net: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(surgery.remove_unused_paths(surgery.remove(net, KEEP), SHAPE).forward(x))


def _bias_of_the_filter(net: Any, x: np.ndarray) -> np.ndarray:
    twin = surgery.duplicate(net)
    twin.layers[0].b.data[DEAD] = 0
    return _fold_then_slice(twin, x)


STATEMENTS = (
    Claim(
        id="S3-F11a",
        title="the map of a pruned filter is blank",
        printed=r"\begin{array}{l}\text{If a whole filter is pruned, then after GEMM, the generated feature maps by"
        r' this filter}\\\text{will be all "blank". [...] that channel will become unused channel which can be'
        r" removed.}\end{array}",
        verdict="wrong",
        remark="The map is the constant act(BN(b)), and only where that is zero can its channel go without a trace.",
        where="S3, section 3, second paragraph",
        code="pruning.surgery.remove_unused_paths, pruning.surgery.constants.Emitted",
        notebook="15, section 2",
        referee="whole net in plain NumPy, 32 configurations",
        measure=_dropped,
    ),
    Claim(
        id="S3-F11b",
        title="a constant goes into the next bias",
        printed=r"b_o'=b_o+\sum_{m\text{ removed}}c_m\sum_{k,l}W_{omkl},\quad c_m=\text{act}(\text{BN}(b_m))",
        verdict="lost",
        remark="It is exact without padding and in the interior; at a border of zeros it takes a map, not one bias.",
        where="S3, section 3, second paragraph (what it takes to be exact)",
        code="pruning.surgery.fold_constants",
        notebook="11, section 4",
        referee="whole net in plain NumPy + closed form",
        measure=_next_bias,
    ),
    Formula(
        id="S3-F11c",
        title="a constant behind a flatten",
        printed=r"b_o'=b_o+\sum_{m\text{ removed}}c_m\sum_{p=1}^{HW}W_{o,(m,p)}",
        verdict="lost",
        remark="It is always exact, for every pixel has a column of its own: a channel is H W of them.",
        where="S3, section 3, second paragraph (from a map to a fully connected layer)",
        code="pruning.surgery.fold_constants",
        notebook="11, section 4",
        draw=_draw_flat,
        right=_fold_then_slice,
        referees=(
            Form("whole net in plain NumPy", plain.forward),
            Form("whole net", _whole),
        ),
        wrong=(
            Form("naive drop", _slice_only, "The columns that are dropped read a constant, and its share is missing."),
            Form(
                "one column a channel",
                _flat_fold(lambda m: slice(12 * m, 12 * m + 1)),
                "A channel of H x W pixels is H W columns behind the flatten.",
            ),
            Form(
                "every fifth column",
                _flat_fold(lambda m: slice(m, None, 5)),
                "The flatten is (c, h, w): the columns of a channel are neighbours, not interleaved.",
            ),
        ),
    ),
    Claim(
        id="S3-F11d",
        title="what pooling makes of a constant",
        printed=r"\text{mean}(c)_{hw}=c\,\frac{\#\{\text{real pixels in the window}\}}{k^2},\qquad"
        r"\max(c)_{hw}=c",
        verdict="lost",
        remark="Max pooling keeps a constant, and so does a mean of real pixels; one that counts its padding does not.",
        where="S3, section 3, second paragraph (with a pool in between)",
        code="nn.AvgPool2d, nn.MaxPool2d, pruning.surgery.constants.Emitted",
        notebook="11, section 4",
        referee="closed form + whole net in plain NumPy",
        measure=_pooled,
    ),
    Formula(
        id="C6",
        title="fold first, then slice",
        printed=r"\text{net}(x)=\text{remove}(\text{fold}(\text{net}))(x)\ne\text{remove}(\text{net})(x)",
        verdict="lost",
        remark="A removed channel leaves its constant in the next bias first, the constant of eval mode.",
        where="S3, section 3, second paragraph (the order that makes a removal exact)",
        code="pruning.surgery.fold_constants, pruning.surgery.remove",
        notebook="11, section 4",
        draw=_draw_deep,
        draws=3,
        right=_fold_then_slice,
        referees=(Form("whole net in plain NumPy", plain.forward), Form("whole net", _whole)),
        wrong=(
            Form("slice only", _slice_only, "What the channel emitted is missing in the next layer."),
            Form("slice, then fold", _slice_then_fold, "After the cut there is nothing left to fold."),
            Form(
                "fold what train mode emits",
                _what_train_mode_emits,
                "In train mode a constant map is its own mean and leaves beta; the net is used in eval mode.",
            ),
            Form(
                "c without the filter's bias",
                _bias_of_the_filter,
                "Batch norm shifts and scales the bias of an empty filter like any other map.",
            ),
        ),
    ),
)
