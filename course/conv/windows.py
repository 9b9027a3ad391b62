"""The windows of an image whose border repeats the nearest pixel (conv.1), and the way back (conv.2).

The referee of conv.1 walks to every entry and moves indices that lie outside back inside; that of conv.2 asks every
pixel which entries were copied from it.  Neither pads an image, and neither has the formula for the number of windows.
"""

from itertools import product

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


def starts(size: int, k: int, stride: int, dilation: int, border: int) -> list[int]:
    """Return the first pixel of every window that ends inside the border, counted from that of the image."""
    first, found = -border, []
    while first + dilation * (k - 1) < size + border:
        found.append(first)
        first += stride
    return found


def _size(rng: np.random.Generator, span: int, stride: int, border: int) -> int:
    # Of an image whose last pixels lie in no window, if a stride can leave any: rounding up then gives one too many.
    left = int(rng.integers(1, stride)) if stride > 1 else 0
    sizes = [span + stride * steps + left - 2 * border for steps in range(1, 9)]
    return [size for size in sizes if size >= 2][int(rng.integers(2))]


# ---- conv.1 ----------------------------------------------------------------------------------------------------------
def _images(stride: tuple[int, int], dilation: tuple[int, int]) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        KH, KW = map(int, rng.permutation([2, 3]))
        s, d, border = int(rng.integers(*stride)), int(rng.integers(*dilation)), int(rng.integers(1, 3))
        H, W = (_size(rng, d * (k - 1) + 1, s, border) for k in (KH, KW))
        x = rng.standard_normal((int(rng.integers(2, 4)), H, W, int(rng.integers(2, 4))))
        return {"x": x, "KH": KH, "KW": KW, "stride": s, "dilation": d, "border": border}

    return draw


def _five_by_five(rng: np.random.Generator) -> Inputs:
    x = rng.standard_normal((2, 5, 5, 1))
    return {"x": x, "KH": 3, "KW": 3, "stride": 1, "dilation": 1, "border": 0}


def _one_window(rng: np.random.Generator) -> Inputs:
    # The kernel just covers one bordered image of one channel.
    KH, KW = map(int, rng.permutation([2, 4]))
    x = rng.standard_normal((1, KH, KW, 1))
    return {"x": x, "KH": KH + 2, "KW": KW + 2, "stride": int(rng.integers(1, 4)), "dilation": 1, "border": 1}


def _entry_by_entry(x: Array, KH: int, KW: int, stride: int, dilation: int, border: int) -> Array:
    C, H, W, N = x.shape
    rows, columns = starts(H, KH, stride, dilation, border), starts(W, KW, stride, dilation, border)
    cols = np.zeros((C * KH * KW, len(rows) * len(columns) * N))
    for r, (c, i, j) in enumerate(product(range(C), range(KH), range(KW))):
        for p, (top, left, n) in enumerate(product(rows, columns, range(N))):
            cols[r, p] = x[c, min(max(top + dilation * i, 0), H - 1), min(max(left + dilation * j, 0), W - 1), n]
    return cols


def _columns(
    x: Array,
    KH: int,
    KW: int,
    stride: int,
    dilation: int,
    border: int,
    up: int = 0,
    zero: bool = False,
    order: str = "",
) -> Array:
    # The axes of the result are c, i, j, oh, ow, n; a window that does not fit sees the border's pixel once more.
    C, H, W, N = x.shape
    OH, OW = (
        (n + 2 * border - dilation * (k - 1) - 1 + up * (stride - 1)) // stride + 1 for n, k in ((H, KH), (W, KW))
    )
    rows = np.arange(OH) * stride + dilation * np.arange(KH)[:, None] - border
    columns = np.arange(OW) * stride + dilation * np.arange(KW)[:, None] - border
    windows = x[:, np.clip(rows, 0, H - 1)][:, :, :, np.clip(columns, 0, W - 1)].transpose(0, 1, 3, 2, 4, 5)
    if zero:
        inside = ((rows >= 0) & (rows < H))[:, None, :, None] & ((columns >= 0) & (columns < W))[:, None, :]
        windows = windows * inside[None, :, :, :, :, None]
    if order:
        windows = np.einsum(f"cijhwn->{order}", windows)
    return windows.reshape(C * KH * KW, OH * OW * N)


COLUMNS = Exercise(
    id="conv.1",
    function="im2col",
    outputs=("cols",),
    formula="O = ⌊(H + 2b − d (K − 1) − 1) / s⌋ + 1 windows; row (c, kh, kw), column (oh, ow, n) holds the pixel"
    " (c, s oh + d kh − b, s ow + d kw − b, n), or the nearest one where this lies outside",
    slide="S1, Im2col (Image2Column) Convolution",
    ledger="S1-F19d, C1",
    section="notebook 03, section 1",
    minutes=35,
    referee=_entry_by_entry,
    cases=(
        Case("3 x 3 windows of a 5 x 5 image", 1, _five_by_five, public=True),
        Case("a border and a stride larger than the kernel", 2, _images((4, 6), (1, 2)), draws=2),
        Case("a border and a dilation", 1, _images((1, 4), (2, 4)), draws=3),
        Case("one window of one channel and one image", 1, _one_window, draws=2),
    ),
    wrong=(
        Wrong(
            "rounded up",
            lambda **inputs: _columns(**inputs, up=1),
            "This equals the number of windows rounded up. A last window that does not end inside the border is none"
            " (S1-F19d).",
        ),
        Wrong(
            "rows (kh, kw, c)",
            lambda **inputs: _columns(**inputs, order="ijchwn"),
            "This has the rows in the order (kh, kw, c), that of images with the channel last. Here a filter lies in"
            " memory as (C, KH, KW), and its rows go along with it.",
        ),
        Wrong(
            "dilation ignored",
            lambda x, KH, KW, stride, dilation, border: _columns(x, KH, KW, stride, 1, border),
            "This equals the windows without dilation. Neighbours in the kernel are d pixels apart, and the kernel"
            " spans d (K − 1) + 1 pixels (S1-F19d).",
        ),
        Wrong(
            "border of zeros",
            lambda **inputs: _columns(**inputs, zero=True),
            "This equals the windows of an image with a border of zeros. Here the border repeats the nearest pixel.",
        ),
        Wrong(
            "columns (n, oh, ow)",
            lambda **inputs: _columns(**inputs, order="cijnhw"),
            "This has the columns image by image, (n, oh, ow). Here the batch is the last axis, and n runs fastest.",
        ),
    ),
    hint="Which is the last start s (O - 1) of a window that still ends inside the border?",
    package="nn.im2col",
)


# ---- conv.2 ----------------------------------------------------------------------------------------------------------
def _columns_of(stride: tuple[int, int], most: int) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        KH, KW = map(int, rng.permutation([2, 3]))
        s, border = int(rng.integers(*stride)), int(rng.integers(1, 3))
        H, W = (_size(rng, k, s, border) for k in (KH, KW))
        C, N = map(int, rng.integers(1, most, 2))
        windows = len(starts(H, KH, s, 1, border)) * len(starts(W, KW, s, 1, border))
        cols = signed(rng, 0.3, 2, (C * KH * KW, windows * N))
        return {"cols": cols, "shape": np.array([C, H, W, N]), "KH": KH, "KW": KW, "stride": s, "border": border}

    return draw


def _ones(rng: np.random.Generator) -> Inputs:
    return {"cols": np.ones((9, 9)), "shape": np.array([1, 5, 5, 1]), "KH": 3, "KW": 3, "stride": 1, "border": 0}


def _source(shape: Array, KH: int, KW: int, stride: int, border: int) -> Array:
    # The number of the pixel that each entry was copied from.
    numbers = np.arange(np.prod(shape), dtype=float).reshape(shape)
    return _columns(numbers, KH, KW, stride, 1, border).astype(int)


def _asked_by_pixel(cols: Array, shape: Array, KH: int, KW: int, stride: int, border: int) -> Array:
    numbers = np.arange(np.prod(shape), dtype=float).reshape(shape)
    source = _entry_by_entry(numbers, KH, KW, stride, 1, border)
    return np.reshape([np.sum(cols[source == i]) for i in range(numbers.size)], shape)


def _back(cols: Array, shape: Array, KH: int, KW: int, stride: int, border: int, keep: Array | float = 1.0) -> Array:
    source = _source(shape, KH, KW, stride, border)
    return np.bincount(source.ravel(), (cols * keep).ravel(), int(np.prod(shape))).reshape(shape)


def _last_one_counts(cols: Array, shape: Array, KH: int, KW: int, stride: int, border: int) -> Array:
    image = np.zeros(int(np.prod(shape)))
    image[_source(shape, KH, KW, stride, border)] += cols
    return image.reshape(shape)


def _divided(cols: Array, shape: Array, **geometry: int) -> Array:
    seen = _back(np.ones(cols.shape), shape, **geometry)
    return _back(cols, shape, **geometry) / np.maximum(seen, 1)


def _last_window_lost(cols: Array, shape: Array, KH: int, KW: int, stride: int, border: int) -> Array:
    C, H, W, N = map(int, shape)
    keep = np.ones((len(cols), len(starts(H, KH, stride, 1, border)), len(starts(W, KW, stride, 1, border)), N))
    keep[:, -1], keep[:, :, -1] = 0, 0
    return _back(cols, shape, KH, KW, stride, border, keep.reshape(cols.shape))


def _border_cut_off(cols: Array, shape: Array, KH: int, KW: int, stride: int, border: int) -> Array:
    inside = _columns(np.ones(shape), KH, KW, stride, 1, border, zero=True)
    return _back(cols, shape, KH, KW, stride, border, inside)


IMAGE = Exercise(
    id="conv.2",
    function="col2im",
    outputs=("x",),
    formula="⟨im2col(x), c⟩ = ⟨x, col2im(c)⟩ for all x and c: every entry of c is added to the pixel that was copied"
    " there",
    slide="S1, Im2col (Image2Column) Convolution",
    ledger="S1-F19b, S1-F19c",
    section="notebook 03, sections 2.2 to 3",
    minutes=35,
    referee=_asked_by_pixel,
    cases=(
        Case("entries of 1 in the 3 x 3 windows of a 5 x 5 image", 1, _ones, public=True),
        Case("a border and other numbers", 2, _columns_of((1, 2), 4), draws=3),
        Case("a border and a stride larger than 1", 1, _columns_of((2, 5), 4), draws=3),
        Case("one channel and one image", 1, _columns_of((1, 3), 2), draws=2),
    ),
    wrong=(
        Wrong(
            "x[index] += cols",
            _last_one_counts,
            "This equals x[index] += cols. Of equal indices only the last one counts, and a pixel that several windows"
            " see loses all the others (notebook 03, section 3).",
        ),
        Wrong(
            "divided by the counts",
            _divided,
            "This equals the sum divided by the number of copies: an inverse of im2col. The sweep back wants the"
            " adjoint, ⟨im2col x, c⟩ = ⟨x, col2im c⟩.",
        ),
        Wrong(
            "last window lost",
            _last_window_lost,
            "This equals the image without what the last row and the last column of windows send back. A range that"
            " ends one too early is a usual reason.",
        ),
        Wrong(
            "border cut off",
            _border_cut_off,
            "This equals the adjoint for a border of zeros: what comes back to the border is thrown away. Here the"
            " pixels of the border are copies of pixels of the image.",
        ),
    ),
    hint="Every entry is a copy of one pixel. Which one, if it lies in the border?",
    package="nn.col2im",
)
