"""Every architecture: its sweeps at the smallest size, its published number of parameters, its twin in torch."""

import copy
import inspect
import math

import numpy as np
import pytest
from cases import TINY, build_model
from referees.twins import TWINS, Twin

import nn
from nn import backend, gradcheck, models

N = 4


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The threads of torch cost more than nets of this size can gain."""
    try:
        import torch
    except ImportError:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", TINY)
def test_every_sweep_runs_and_keeps_the_dtype(name, dtype):
    net, x, t = build_model(name, dtype)
    loss = nn.SoftmaxCrossEntropy()
    y = net.forward(x)
    assert (y.shape, y.dtype) == ((TINY[name][2], N), dtype)
    assert net.output_shape(x.shape[:-1]) == y.shape[:1]
    loss.forward(y, t)
    net.backward_parameters(loss.backward())
    gradients = [parameter.grad for parameter in net.parameters()]
    assert all(np.linalg.norm(g) > 0 for g in gradients)
    gx = net.backward(loss.backward())
    for parameter, gradient in zip(net.parameters(), gradients):
        np.testing.assert_array_equal(parameter.grad, gradient)
    net.eval()
    loss.forward(net.forward(x), t)
    gx_again, hx = net.backward_hessian(loss.backward(), loss.backward_hessian())
    assert gx.shape == gx_again.shape == hx.shape == x.shape
    for parameter in net.parameters():
        for array in (parameter.data, parameter.grad, parameter.hess_diag):
            assert (array.shape, array.dtype) == (parameter.shape, dtype)
            assert np.all(np.isfinite(array))
    assert {array.dtype for array in (gx, gx_again, hx, *(b for _, b in net.named_buffers()))} == {np.dtype(dtype)}


@pytest.mark.parametrize("name", TINY)
def test_an_outline_is_the_net_without_numbers(name):
    make, shape, _ = TINY[name]
    net, outline = make(np.random.default_rng(0), np.float32), make(None, np.float32)
    names = [key for key, _ in net.named_parameters()]
    assert len(set(names)) == len(names)
    assert names == [key for key, _ in outline.named_parameters()]
    assert [(p.shape, p.dtype) for p in net.parameters()] == [(p.shape, p.dtype) for p in outline.parameters()]
    assert all(p.is_outline for p in outline.parameters())
    assert not any(p.is_outline for p in net.parameters())
    assert outline.output_shape(shape) == net.output_shape(shape)
    with pytest.raises(ValueError, match=r"outline \(rng=None\)"):
        outline.forward(np.ones((*shape, N), np.float32))


@pytest.mark.parametrize("name", TINY)
def test_equal_seeds_make_equal_nets_in_both_dtypes(name):
    make = TINY[name][0]
    nets = [make(np.random.default_rng(3), dtype) for dtype in (np.float64, np.float64, np.float32)]
    for a, b, single in zip(*(net.parameters() for net in nets)):
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.data.astype(np.float32), single.data)


@pytest.mark.parametrize("name", TINY)
def test_checkpoint_round_trip(name, tmp_path):
    net, x, _ = build_model(name, np.float32)
    net.forward(x)  # moves the running statistics
    net.parameters()[0].mask = np.ones_like(net.parameters()[0].data)
    nn.checkpoint.save(tmp_path / "net.npz", net)
    loaded = nn.checkpoint.load(tmp_path / "net.npz")
    assert nn.checkpoint.architecture(loaded) == nn.checkpoint.architecture(net)
    np.testing.assert_array_equal(loaded.forward(x), net.eval().forward(x))


# Twice the same computation in another order: norms of the difference, relative to those of the result.
TOLERANCE = 3e-12  # fifty layers deep the order in which a BLAS kernel adds shows: 1.1e-12 with that of Haswell


def assert_close(ours, reference):
    assert gradcheck.relative_error(backend.to_numpy(ours), reference) <= TOLERANCE


DEEP = ["resnet_imagenet 50", "resnet_imagenet 18", "resnet18_cifar", "densenet-bc", "alexnet"]  # strict takes seconds


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in DEEP else name for name in TINY]
)
def test_every_library_gives_the_same(name, library):
    net, x, t = build_model(name)
    other = copy.deepcopy(net).to(library.xp)
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    loss, other_loss = nn.SoftmaxCrossEntropy(), nn.SoftmaxCrossEntropy()
    assert_close(other_loss.forward(other.forward(z), s), loss.forward(net.forward(x), t))
    net.backward_parameters(loss.backward())
    other.backward_parameters(other_loss.backward())
    assert_close(
        np.concatenate([np.reshape(backend.to_numpy(p.grad), -1) for p in other.parameters()]),
        gradcheck.flat(net, "grad"),
    )
    net.eval()
    other.eval()
    assert_close(other_loss.forward(other.forward(z), s), loss.forward(net.forward(x), t))
    gx, hx = net.backward_hessian(loss.backward(), loss.backward_hessian())
    other_gx, other_hx = other.backward_hessian(other_loss.backward(), other_loss.backward_hessian())
    assert_close(other_gx, gx)
    assert_close(other_hx, hx)
    for a, b in zip(other.parameters(), net.parameters()):
        assert_close(a.grad, b.grad)
        assert_close(a.hess_diag, b.hess_diag)


@pytest.mark.parametrize("name", TINY)
def test_gradients_equal_autograd(name):
    """Torch differentiates our own forward, in train mode: through the statistics of the batch."""
    net, x, t = build_model(name)
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    gx = net.backward(loss.backward())
    ours = gradcheck.flat(net, "grad")
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    from referees.networks import autograd_gradient

    for module in net.modules():
        for buffer in module.buffers:
            setattr(module, buffer, torch.from_numpy(getattr(module, buffer)))
    gu_reference, gx_reference = autograd_gradient(net, loss, x, t)
    assert gradcheck.relative_error(ours, gu_reference) <= TOLERANCE
    assert gradcheck.relative_error(gx, gx_reference) <= TOLERANCE


@pytest.mark.parametrize("name", TWINS)
def test_architecture_equals_a_twin_in_torch(name):
    net, x, _ = build_model(name)
    assert_close(net.forward(x), Twin(net).run(TWINS[name], x))


def parameters(net):
    return sum(math.prod(p.shape) for p in net.parameters())


def parameters_of_resnet_cifar(n):
    """By hand: 3x3 convolutions, two numbers of batch norm a channel, the last layer."""
    stages = [(16, 16), (16, 32), (32, 64)]
    convolutions = 3 * 16 * 9 + sum((a * b + (2 * n - 1) * b * b) * 9 for a, b in stages)
    batch_norm = 2 * (16 + sum(2 * n * b for _, b in stages))
    return convolutions + batch_norm + 64 * 10 + 10


@pytest.mark.parametrize(
    ("net", "exact", "published"),
    [
        (models.lenet300(None), 266_610, "267K"),
        (models.lenet5(None), 431_080, "431K"),
        (models.lenet1990(None), 2_578, "2578"),
        (models.resnet_cifar(20, None), 269_722, "0.27M"),
        (models.resnet_cifar(32, None), parameters_of_resnet_cifar(5), "0.46M"),
        (models.resnet_cifar(44, None), parameters_of_resnet_cifar(7), "0.66M"),
        (models.resnet_cifar(56, None), 853_018, "0.85M"),
        (models.resnet_cifar(110, None), 1_727_962, "1.7M"),
        (models.preresnet(164, None), 1_703_258, "1.7M"),
        (models.densenet(40, None), 1_019_722, "1.0M"),
        (models.densenet(100, None, bottleneck=True), 769_162, "0.8M"),
        (models.vgg_imagenet(11, None), 132_863_336, "133M"),
        (models.vgg_imagenet(16, None), 138_357_544, "138M"),
        (models.vgg_imagenet(19, None), 143_667_240, "144M"),
        (models.resnet_imagenet(18, None), 11_689_512, "11.7M"),
        (models.resnet_imagenet(34, None), 21_797_672, "21.8M"),
        (models.resnet_imagenet(50, None), 25_557_032, "25.6M"),
        (models.alexnet(None), 60_965_224, "61M"),
    ],
)
def test_published_numbers_of_parameters(net, exact, published):
    assert parameters(net) == exact
    unit = {"K": 1e3, "M": 1e6}.get(published[-1], 1)
    digits = published.rstrip("KM")
    assert f"{exact / unit:.{len(digits.partition('.')[2])}f}" == digits


@pytest.mark.parametrize("depth", [8, 20, 56, 110])
def test_parameters_of_resnets_by_hand(depth):
    assert parameters(models.resnet_cifar(depth, None)) == parameters_of_resnet_cifar((depth - 2) // 6)


def parameters_of_preresnet(n, seen, inner):
    """By hand: convolutions and batch norm of the blocks, the projections, the last batch norm and layer."""
    total, there = 3 * 16 * 9, [16, *(4 * width for width in (16, 32, 64) for _ in range(n))]
    for block, (read, width) in enumerate(zip(seen, inner)):
        c_in, c_out = there[block : block + 2]
        total += read * width + 9 * width * width + width * c_out + 2 * (read + 2 * width)
        total += c_in * c_out if block % n == 0 else 0
    return total + 2 * seen[-1] + 10 * seen[-1] + 10


@pytest.mark.parametrize("n", [1, 2, 18])
def test_parameters_of_preresnets_by_hand(n):
    inner, rng = [w for w in (16, 32, 64) for _ in range(n)], np.random.default_rng(n)
    there = [16, *(4 * w for w in inner)]
    assert parameters(models.preresnet(9 * n + 2, None)) == parameters_of_preresnet(n, there, inner)
    usual = models.preresnet(9 * n + 2, None, inner=inner, seen=there)
    assert nn.checkpoint.architecture(usual) == nn.checkpoint.architecture(models.preresnet(9 * n + 2, None))
    thin, seen = (np.array([rng.integers(1, w + 1) for w in widths]) for widths in (inner, there))
    net = models.preresnet(9 * n + 2, None, inner=thin, seen=seen)
    assert parameters(net) == parameters_of_preresnet(n, seen, thin) and net.output_shape((3, 8, 8)) == (10,)


@pytest.mark.parametrize(
    ("net", "shape", "classes"),
    [
        (models.lenet5(None), (1, 28, 28), 10),
        (models.lenet5(None, channels=3, size=32, classes=7), (3, 32, 32), 7),
        (models.vgg(16, None), (3, 32, 32), 10),
        (models.vgg(19, None, channels=1, size=64, classes=7), (1, 64, 64), 7),
        (models.vgg(11, None, filters=(8, 0, 8, 0), size=28, channels=1), (1, 28, 28), 10),
        (models.resnet_cifar(20, None, channels=1, classes=7), (1, 28, 28), 7),
        (models.resnet_cifar(20, None), (3, 64, 48), 10),
        (models.preresnet(164, None, classes=100), (3, 32, 32), 100),
        (models.preresnet(11, None, channels=1), (1, 28, 28), 10),
        (models.densenet(40, None, classes=100), (3, 32, 32), 100),
        (models.densenet(100, None, bottleneck=True, channels=1), (1, 28, 28), 10),
        (models.resnet18_cifar(None, classes=100), (3, 32, 32), 100),
        (models.resnet_imagenet(18, None), (3, 224, 224), 1000),
        (models.resnet_imagenet(34, None, classes=7), (3, 160, 192), 7),
        (models.resnet_imagenet(50, None), (3, 224, 224), 1000),
        (models.vgg_imagenet(11, None), (3, 224, 224), 1000),
        (models.vgg_imagenet(16, None, classes=7), (3, 224, 224), 7),
        (models.vgg_imagenet(19, None), (3, 224, 224), 1000),
        (models.alexnet(None), (3, 227, 227), 1000),
        (models.alexnet(None, classes=7), (3, 227, 227), 7),
    ],
)
def test_sizes_channels_and_classes(net, shape, classes):
    assert net.output_shape(shape) == (classes,)


def test_lenet5_runs_on_larger_images_with_colours():
    net = models.lenet5(np.random.default_rng(0), channels=3, size=32, classes=7)
    assert net.forward(np.ones((3, 32, 32, 2))).shape == (7, 2)


def test_vgg_runs_on_larger_images():
    filters = (4, 0, 4, 0, 4, 4, 0, 4, 4, 0, 4, 4, 0)
    net = models.vgg(11, np.random.default_rng(0), size=64, filters=filters, head=8)
    assert net.forward(np.ones((3, 64, 64, 2))).shape == (10, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.vgg(13, None), "expected a VGG of depth 11, 16, 19, got 13"),
        (lambda: models.vgg_thinet("tiny", None), "expected ThiNet's VGG Conv, GAP, Tiny, got 'tiny'"),
        (lambda: models.vgg_thinet(["GAP"], None), "expected ThiNet's VGG Conv, GAP, Tiny, got \\['GAP'\\]"),
        (
            lambda: models.vgg_thinet("GAP", None, filters=(3, -1)),
            "expected a list of numbers of filters, 0 for a pool, integers of at least 0, got \\(3, -1\\)",
        ),
        (
            lambda: models.vgg_thinet("GAP", None, size=15),
            "VGG-GAP needs images of at least 16 x 16 pixels, got 15 x 15",
        ),
        (lambda: models.vgg_imagenet(12, None), "expected a VGG of depth 11, 16, 19, got 12"),
        (lambda: models.resnet_cifar(18, None), "expected a depth of 6 n \\+ 2, such as 20, got 18"),
        (lambda: models.resnet_cifar(2, None), "expected a depth of 6 n \\+ 2, such as 20, got 2"),
        (lambda: models.preresnet(21, None), "expected a depth of 9 n \\+ 2, such as 29, got 21"),
        (lambda: models.preresnet(11, None, inner=(3, 4)), "expected 3 numbers of inner filters, one a block, got 2"),
        (
            lambda: models.preresnet(11, None, seen=(16, 64, 128)),
            "expected 4 numbers of channels read, one a block and one at the end, got 3",
        ),
        (
            lambda: models.preresnet(11, None, seen=(16, 65, 128, 256)),
            "expected to read at most 64 channels, got 65",
        ),
        (lambda: models.resnet_imagenet(101, None), "expected a ResNet of depth 18, 34, 50, got 101"),
        (lambda: models.densenet(41, None), "expected a depth of 3 n \\+ 4, such as 13, got 41"),
        (lambda: models.densenet(4, None), "expected a depth of 3 n \\+ 4, such as 13, got 4"),
        (lambda: models.densenet(43, None, bottleneck=True), "expected a depth of 6 n \\+ 4, such as 22, got 43"),
        (lambda: models.mlp((3,), None), "at least two sizes"),
        (lambda: models.mlp((3, 2), None, activation="relu"), "expected an activation class"),
        (
            lambda: models.resnet_cifar(20, None, inner=(16,) * 8),
            "expected 9 numbers of inner filters, one a block, got 8",
        ),
        (lambda: models.resnet_imagenet(34, None, inner=(64,)), "expected 16 numbers of inner filters"),
        (lambda: models.resnet18_cifar(None, stages=(64, 128)), "expected 4 numbers of channels, one a stage, got 2"),
        (lambda: models.lenet5(None, filters=(3, 4, 5)), "expected 2 numbers of filters, one a convolution, got 3"),
        (lambda: models.alexnet(None, filters=(4, 6)), "expected 5 numbers of filters, one a convolution, got 2"),
        (lambda: models.lenet5(None, size=15), "LeNet-5 needs images of at least 16 x 16 pixels, got 15 x 15"),
        (lambda: models.lenet5(None, size=0), "at least 16 x 16 pixels, got 0 x 0"),
        (lambda: models.vgg(16, None, size=31), "VGG-16 needs images of at least 32 x 32 pixels, got 31 x 31"),
        (lambda: models.vgg_imagenet(11, None, size=8), "VGG-11 needs images of at least 32 x 32 pixels, got 8 x 8"),
        (lambda: models.vgg(11, None, size=3, filters=(4, 0, 5, 0)), "at least 4 x 4 pixels, got 3 x 3"),
        (lambda: models.alexnet(None, size=66), "AlexNet needs images of at least 67 x 67 pixels, got 66 x 66"),
        (
            lambda: models.alexnet(None).output_shape((3, 10, 10)),
            r"layer 0 \(Conv2d\): an image of 10 x 10 is smaller than the kernel",
        ),
        (
            lambda: models.densenet(40, None).output_shape((3, 3, 3)),
            r"layer 32 \(AvgPool2d\): an image of 1 x 1 is smaller than the kernel",
        ),
    ],
)
def test_what_is_no_architecture_is_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


WRONG_SIZES = [None, 0, -1, 1.5, "3", (3,), True, 2**63, math.nan, np.array([3, 4])]
WRONG_LISTS = [-1, 3, 1.5, "3", "garbage", object(), {3: 4}, np.eye(2, dtype=int)]


def mistakes():
    """(function, its good arguments, the wrong one, its wrong values)."""
    good = {
        "mlp": {"sizes": (5, 4, 3)},
        "lenet5": {},
        "vgg": {"depth": 11},
        "vgg_imagenet": {"depth": 11, "size": 32, "hidden": 8},
        "vgg_thinet": {"variant": "Tiny", "size": 16},
        "alexnet": {"size": 67, "hidden": 8},
        "resnet_cifar": {"depth": 8},
        "preresnet": {"depth": 11},
        "resnet_imagenet": {"depth": 18},
        "resnet18_cifar": {},
        "densenet": {"depth": 7},
    }
    for name, arguments in good.items():
        make = getattr(models, name)
        for argument in inspect.signature(make).parameters:
            if argument in ("depth", "channels", "classes", "size", "hidden", "head", "growth"):
                yield make, arguments, argument, WRONG_SIZES
            elif argument in ("filters", "inner", "seen", "stages", "sizes"):
                yield make, arguments, argument, [*WRONG_LISTS, [3, "a"], [3, -1], [3, 1.5], [3, [4]]]
            elif argument == "init":
                yield make, arguments, argument, [None, "he_normal", 3]
            elif argument == "bottleneck":
                yield make, arguments, argument, [None, 10, "no"]


@pytest.mark.parametrize(
    ("make", "arguments", "argument", "values"),
    [pytest.param(*case, id=f"{case[0].__name__}-{case[2]}") for case in mistakes()],
)
def test_a_wrong_argument_is_one_sentence_that_shows_it(make, arguments, argument, values):
    for value in values:
        with pytest.raises((ValueError, TypeError), match=r"^(expected |.* needs images of at least)") as error:
            make(**{**arguments, "rng": None, argument: value})
        shown = " ".join(repr(value).split())
        assert str(error.value).endswith((f", got {shown}", f", got {len(str(value))}", f" x {value}")), error.value


@pytest.mark.parametrize(
    "make", [models.resnet_cifar, models.preresnet, models.densenet, models.vgg, models.resnet_imagenet]
)
@pytest.mark.parametrize("depth", [10**6, 10**6 + 2, 9 * 10**6 + 2, 6 * 10**6 + 4, 2**63])
def test_an_absurd_depth_is_refused_at_once(make, depth):
    with pytest.raises(ValueError, match=rf"^expected a .*depth .*, got {depth}$"):
        make(depth, None)


def test_the_deepest_published_nets_are_not_absurd():
    assert parameters(models.resnet_cifar(1202, None)) == parameters_of_resnet_cifar(200)  # 19.4 million
    assert parameters(models.preresnet(1001, None)) == 10_327_706
    with pytest.raises(ValueError, match=r"^expected a depth of at most 2000, got 2006$"):
        models.resnet_cifar(2006, None)


def test_sizes_may_be_numpy_integers():
    net = models.lenet5(None, np.int64(3), np.int32(20), np.uint8(7), filters=np.array([4, 5]), hidden=np.int16(6))
    assert parameters(net) == parameters(models.lenet5(None, 3, 20, 7, filters=(4, 5), hidden=6))
    assert parameters(models.resnet_cifar(np.int64(20), None)) == 269_722


def test_without_settings_the_images_are_those_of_the_data_sets():
    usual = {"lenet5": (1, 28, 10), "vgg": (3, 32, 10), "vgg_imagenet": (3, 224, 1000), "alexnet": (3, 227, 1000)}
    for name, expected in usual.items():
        settings = inspect.signature(getattr(models, name)).parameters
        assert tuple(settings[each].default for each in ("channels", "size", "classes")) == expected
    # Without a pool every pixel of the 32 x 32 counts; behind five of them 33 x 33 would make the same net.
    convolution = 3 * 4 * 9 + 2 * 4
    assert parameters(models.vgg(11, None, filters=(4,))) == convolution + 32 * 32 * 4 * 512 + 512 + 512 * 10 + 10
