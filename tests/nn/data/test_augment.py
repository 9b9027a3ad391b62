"""nn.data.augment: every output image is one of the crops or mirror images of its input, each as often as it should."""

import math

import numpy as np
import pytest

import nn
from nn.data.augment import affine, augment, flip, padded_crop

C, H, W, N = 2, 5, 7, 11
FUNCTIONS = [flip, padded_crop, augment]


def images(n=N, dtype=np.float64, h=H, w=W):
    """Distinct entries without zeros: windows of the framed image are distinct as long as they are not all frame."""
    return np.arange(1, C * h * w * n + 1).reshape(C, h, w, n).astype(dtype)


def windows(image, padding):
    """All windows of one image (C, H, W), by (i, j), pixel by pixel."""
    c, h, w = image.shape
    found = {}
    for i in range(2 * padding + 1):
        for j in range(2 * padding + 1):
            window = found[i, j] = np.zeros_like(image)
            for row in range(h):
                for column in range(w):
                    if 0 <= row + i - padding < h and 0 <= column + j - padding < w:
                        window[:, row, column] = image[:, row + i - padding, column + j - padding]
    return found


def index_of(image, candidates):
    """The key of the one candidate that an image equals."""
    (key,) = [key for key, candidate in candidates.items() if np.array_equal(image, candidate)]
    return key


def mirrored(x):
    return np.stack([x[:, :, W - 1 - column] for column in range(W)], axis=2)


def test_every_image_is_flipped_whole_or_not_at_all():
    x = images()
    y = flip(x, np.random.default_rng(0))
    kinds = [index_of(y[..., n], {0: x[..., n], 1: mirrored(x[..., n])}) for n in range(N)]
    assert set(kinds) == {0, 1}


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_every_crop_is_a_window_of_the_framed_image(padding):
    x = images()
    y = padded_crop(x, np.random.default_rng(1), padding)
    corners = [index_of(y[..., n], windows(x[..., n], padding)) for n in range(N)]
    assert len(set(corners)) > 1


def test_the_corner_of_a_crop_is_what_the_generator_draws():
    x = images()
    y = padded_crop(x, np.random.default_rng(2), 3)
    corners = np.random.default_rng(2).integers(0, 7, size=(2, N)).T
    for n, corner in enumerate(corners.tolist()):
        assert np.array_equal(y[..., n], windows(x[..., n], 3)[tuple(corner)])


def test_augment_is_crop_then_flip_with_a_padding_of_four():
    x = images()
    rng = np.random.default_rng(3)
    y = flip(padded_crop(x, rng, padding=4), rng)
    assert np.array_equal(augment(x, np.random.default_rng(3)), y)
    kinds = set()
    for n in range(N):
        crops = windows(x[..., n], 4)
        flips = {(*corner, "mirrored"): mirrored(crop) for corner, crop in crops.items()}
        kinds.add(index_of(y[..., n], crops | flips)[2:])
    assert kinds == {(), ("mirrored",)}


def test_half_of_the_images_are_flipped():
    n = 40_000
    x = images(n, h=1, w=2)
    flips = np.sum(flip(x, np.random.default_rng(4))[0, 0, 0] != x[0, 0, 0])
    assert abs(flips - n / 2) < 4 * math.sqrt(n / 4)  # four standard deviations


@pytest.mark.parametrize("padding", [1, 4])
def test_all_corners_are_equally_frequent(padding):
    n, side = 40_000, 2 * padding + 1
    x = np.zeros((1, side, side, n))
    x[0, padding, padding] = 1  # one lit pixel in the middle: it lands on every place
    y = padded_crop(x, np.random.default_rng(5), padding)
    assert np.array_equal(np.sum(y, axis=(0, 1, 2)), np.ones(n))
    counts, p = np.sum(y, axis=(0, 3)), 1 / side**2
    assert np.max(np.abs(counts - n * p)) < 4 * math.sqrt(n * p * (1 - p))


def test_images_of_a_batch_are_drawn_independently():
    x = np.repeat(images(1), 1000, axis=-1)
    y = augment(x, np.random.default_rng(6))
    # Of 162 crops and mirrored crops, 1000 draws leave out 162 exp(-1000 / 162) = 0.3 on average.
    assert len(np.unique(y.reshape(-1, 1000), axis=1).T) > 155


@pytest.mark.parametrize("f", FUNCTIONS)
def test_equal_generators_give_equal_batches_and_others_do_not(f):
    x = images()
    first = f(x, np.random.default_rng(7))
    assert np.array_equal(f(x, np.random.default_rng(7)), first)
    assert not np.array_equal(f(x, np.random.default_rng(8)), first)
    rng = np.random.default_rng(7)
    assert np.array_equal(f(x, rng), first)
    assert not np.array_equal(f(x, rng), first)  # the generator has moved on


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32, np.float64, np.complex128])
def test_shape_and_dtype_are_kept_and_the_input_is_left_alone(f, dtype):
    x = images(3, dtype, h=4, w=6)
    before = x.copy()
    x.flags.writeable = False
    y = f(x, np.random.default_rng(9))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert y.flags.c_contiguous
    assert y.flags.writeable
    assert not np.shares_memory(x, y)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_a_view_of_a_data_set_and_an_empty_batch_will_do(f):
    x = images()
    y = f(x[..., 2::3], np.random.default_rng(10))
    assert np.array_equal(y, f(x[..., 2::3].copy(), np.random.default_rng(10)))
    assert f(x[..., :0], np.random.default_rng(10)).shape == (C, H, W, 0)


def test_no_padding_is_a_copy():
    x = images()
    y = padded_crop(x, np.random.default_rng(11), padding=0)
    assert np.array_equal(x, y)
    assert not np.shares_memory(x, y)
    assert np.array_equal(padded_crop(x, np.random.default_rng(11), np.int64(0)), x)


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize(
    ("x", "found"), [(np.zeros((3, 4)), r"one of shape \(3, 4\)"), ([[[[1.0]]]], "list"), (None, "NoneType")]
)
def test_other_inputs_are_refused(f, x, found):
    with pytest.raises(ValueError, match=rf"^expected a NumPy array \(C, H, W, N\), got {found}$"):
        f(x, np.random.default_rng(0))


@pytest.mark.parametrize("padding", [-1, 1.5, 4.0, "4", None, (1, 1)])
def test_other_paddings_are_refused(padding):
    with pytest.raises(ValueError, match=r"^expected a padding that is an integer of at least 0, got "):
        padded_crop(images(), np.random.default_rng(0), padding)


@pytest.mark.parametrize("f", [*FUNCTIONS, affine])
@pytest.mark.parametrize("rng", [0, 1.5, None, "seed", np.random.RandomState(0), np.random])
def test_other_generators_are_refused(f, rng):
    with pytest.raises(TypeError, match=r"^expected an np\.random\.Generator, for instance .*\.default_rng\(0\), got "):
        f(images(), rng)


def test_a_padding_beyond_the_image_is_refused():
    assert padded_crop(images(), np.random.default_rng(0), W).shape == (C, H, W, N)
    for padding in (W + 1, 10**6):
        with pytest.raises(ValueError, match=rf"^expected a padding of at most 7 for images of 5 x 7, got {padding}$"):
            padded_crop(images(), np.random.default_rng(0), padding)


def test_it_is_reachable_from_the_package():
    assert nn.data.augment.augment is augment


def test_affine_equals_scipy_with_the_same_matrices():
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(2).standard_normal((2, 9, 7, 5))
    y = affine(x, np.random.default_rng(3), rotation=25, scale=0.3, shear=0.2, shift=1.5)
    rng = np.random.default_rng(3)
    angle, size, shear = np.radians(rng.uniform(-25, 25, 5)), rng.uniform(0.7, 1.3, 5), rng.uniform(-0.2, 0.2, 5)
    shift = rng.uniform(-1.5, 1.5, (2, 5))
    middle = np.array([4.0, 3.0])
    for n in range(5):
        turn = np.array([[np.cos(angle[n]), -np.sin(angle[n])], [np.sin(angle[n]), np.cos(angle[n])]])
        A = turn @ np.array([[1, shear[n]], [0, 1]]) / size[n]
        for c in range(2):
            framed = np.pad(x[c, :, :, n], 3)  # scipy reads nothing between the border and outside
            expected = ndimage.affine_transform(
                framed, A, middle - shift[:, n] - A @ middle + 3, output_shape=(9, 7), order=1
            )
            np.testing.assert_allclose(y[c, :, :, n], expected, atol=1e-12)


def test_affine_without_any_range_is_the_image_and_keeps_the_dtype():
    x = images(dtype=np.float32)
    y = affine(x, np.random.default_rng(0), 0, 0, 0, 0)
    assert y.dtype == np.float32 and y is not x
    np.testing.assert_allclose(y, x, rtol=1e-5)
    z = affine(x, np.random.default_rng(0))
    np.testing.assert_array_equal(z, affine(x, np.random.default_rng(0)))
    assert np.abs(z - x).max() > 1
    np.testing.assert_array_equal(x, images(dtype=np.float32))


def test_affine_without_settings_turns_scales_shears_and_shifts_as_documented():
    x = images()
    expected = affine(x, np.random.default_rng(4), rotation=10.0, scale=0.1, shear=0.1, shift=2.0)
    assert np.array_equal(affine(x, np.random.default_rng(4)), expected)


def test_affine_refuses_what_makes_no_sense():
    for settings in ({"rotation": -1}, {"shear": math.nan}, {"shift": math.inf}, {"scale": "a"}, {"rotation": None}):
        with pytest.raises(ValueError, match="of 0 or more"):
            affine(images(), np.random.default_rng(0), **settings)
    with pytest.raises(ValueError, match="floating-point images to interpolate, got uint8"):
        affine(images(3, np.uint8, h=2, w=2), np.random.default_rng(0))
    assert affine(images()[..., :0], np.random.default_rng(0)).shape == (C, H, W, 0)
    with pytest.raises(ValueError, match="scale below 1"):
        affine(images(), np.random.default_rng(0), scale=1.0)
    with pytest.raises(ValueError, match=r"\(C, H, W, N\)"):
        affine(np.zeros((3, 4)), np.random.default_rng(0))
