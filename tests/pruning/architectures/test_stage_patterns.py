"""Tables 18 to 21: their own totals, what their captions say, and the nets that they guide, counted by hand too."""

import math
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest

from nn.models import densenet, preresnet, vgg
from pruning.architectures import guided, stage_patterns
from pruning.architectures.stage_patterns import DENSENET40, PRERESNET110, PRERESNET164, VGG16
from pruning.counts import count

CIFAR = (3, 32, 32)
VGG_STAGES = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)


def rounded(share, n):
    return max(1, int((Decimal(str(share)) * n).quantize(Decimal(1), ROUND_HALF_UP)))


def weighted(shares, weights):
    return sum(weight * Decimal(str(share)) for weight, share in zip(weights, shares.values())) / sum(weights)


# ---- the totals of the tables ----------------------------------------------------------------------------------------
def test_table_21_weighted_by_the_widths_of_vgg16_is_the_share_that_stays():
    widths = [n * width for n, width in zip(VGG_STAGES[16], VGG_WIDTHS)]
    assert sum(widths) == 4224
    totals = [f"{weighted(shares, widths):.4f}" for shares in VGG16.values()]
    assert totals == ["0.9000", "0.7998", "0.6997", "0.6000", "0.4998", "0.3999"]
    assert all(abs(weighted(s, widths) - 1 + Decimal(p) / 100) < Decimal("0.0005") for p, s in VGG16.items())
    plain = [f"{sum(shares.values()) / 5:.3f}" for shares in VGG16.values()]  # every stage as heavy: no such totals
    assert plain == ["0.938", "0.872", "0.810", "0.753", "0.691", "0.635"]


def test_table_18_weighted_by_its_batch_norms_says_which_columns_these_are():
    """10 to 70 %, whether a stage is blocks or sizes of maps and whether the last batch norm is counted or not."""
    of = {s: 17 * 6 * w + 2 * w + first for (s, w), first in zip(((1, 16), (2, 32), (3, 64)), (16, 64, 128))}
    assert of == {1: 1680, 2: 3392, 3: 6784} and sum(of.values()) + 256 == 12_112
    totals = [f"{weighted(shares, of.values()):.3f}" for shares in PRERESNET164.values()]
    assert totals == ["0.908", "0.807", "0.704", "0.604", "0.503", "0.403", "0.302"]
    for weights in ((1680, 3392, 6784), (1680, 3392, 7040), (1744, 3456, 6656), (1744, 3456, 6912)):
        off = [weighted(shares, weights) - 1 + Decimal(p) / 100 for p, shares in PRERESNET164.items()]
        assert max(map(abs, off)) < Decimal("0.008")


@pytest.mark.parametrize(
    ("net", "table", "layers", "expected"),
    [
        (preresnet(110, None, classes=100), PRERESNET110, 36, ("0.900", "0.463", "0.060")),
        (densenet(40, None, classes=100), DENSENET40, 36, ("0.892", "0.470", "0.073")),
    ],
    ids=["PreResNet-110", "DenseNet-40"],
)
def test_the_3x3_kernels_of_tables_19_and_20_alone_keep_less_than_the_total(net, table, layers, expected):
    sizes = {name: math.prod(p.shape) for name, p in net.named_parameters() if p.shape[2:] == (3, 3)}
    del sizes["0.W"]
    stages = guided.stages(net, CIFAR, sizes)
    assert len(sizes) == layers and set(stages.values()) == {1, 2, 3}
    whole, n = count(net, CIFAR, "conv_only").parameters, sum(sizes.values())
    for (percent, patterns), printed in zip(table.items(), expected):
        kept = sum(float(np.mean(patterns[stages[name]])) * size for name, size in sizes.items())
        assert f"{kept / n:.3f}" == printed
        others = ((100 - percent) / 100 * whole - kept) / (whole - n)  # of the other convolutions, if all are ranked
        assert kept / n < others + 0.001 and others < 1


def test_close_to_uniform_across_stages_holds_for_table_18_and_fails_at_90_percent_for_19_and_20():
    def spread(shares):
        return max(shares) / min(shares)

    assert max(spread(shares.values()) for shares in PRERESNET164.values()) < 1.36
    found = {
        (name, percent): [float(P.mean()) for P in patterns.values()]
        for name, table in (("19", PRERESNET110), ("20", DENSENET40))
        for percent, patterns in table.items()
    }
    assert {key: f"{spread(shares):.2f}" for key, shares in found.items()} == {
        ("19", 10): "1.02",
        ("19", 50): "1.24",
        ("19", 90): "3.74",
        ("20", 10): "1.06",
        ("20", 50): "1.08",
        ("20", 90): "2.44",
    }
    assert all(first == max(found[key]) for key in found if key[1] == 90 for first in found[key][:1])
    assert max(spread(shares.values()) for shares in VGG16.values()) > 7  # the last stages of VGG keep least


# ---- the nets that they guide ----------------------------------------------------------------------------------------
GUIDED_VGG = {  # percent: (MACs, weights) of VGG-16, and of VGG-19 guided by the same shares
    0: ((313_463_808, 14_977_728), (398_398_464, 20_286_144)),
    10: ((279_999_768, 11_801_964), (352_327_224, 15_923_181)),
    20: ((246_116_872, 9_070_156), (306_954_028, 12_185_497)),
    30: ((220_907_072, 6_709_592), (272_204_516, 8_963_966)),
    40: ((201_581_336, 4_802_420), (245_873_468, 6_368_510)),
    50: ((183_764_096, 3_319_262), (222_349_760, 4_368_338)),
    60: ((177_662_784, 2_375_382), (214_071_168, 3_100_890)),
}
GUIDED_PRERESNET164 = {  # percent: (MACs, weights, all parameters)
    0: (242_403_840, 1_637_040, 1_703_258),
    10: (206_290_792, 1_374_358, 1_438_368),
    20: (167_122_808, 1_133_216, 1_194_782),
    30: (125_322_662, 922_775, 981_865),
    40: (98_714_264, 708_779, 765_417),
    50: (72_991_764, 513_645, 567_827),
    60: (53_888_390, 370_160, 421_962),
    70: (32_178_242, 227_630, 276_870),
}
SPARSE = {  # percent: (MACs, weights), all other layers whole
    "PreResNet-110": {
        0: (162_210_816, 1_111_728),
        10: (154_103_040, 1_053_732),
        50: (120_057_600, 799_980),
        90: (85_878_528, 565_668),
    },
    "DenseNet-40": {
        0: (264_853_248, 1_041_936),
        10: (238_185_728, 947_219),
        50: (154_141_824, 575_919),
        90: (72_583_104, 227_340),
    },
}


def vgg_by_hand(depth, shares):
    macs = weights = 0
    c, side = 3, 32
    for layers, width, share in zip(VGG_STAGES[depth], VGG_WIDTHS, shares.values()):
        for _ in range(layers):
            n = rounded(share, width)
            macs, weights, c = macs + 9 * c * n * side * side, weights + 9 * c * n, n
        side //= 2
    return macs + c * 512 + 5120, weights + c * 512 + 5120


@pytest.mark.parametrize("percent", GUIDED_VGG)
def test_vggs_that_table_21_guides(percent):
    shares = VGG16.get(percent, dict.fromkeys(range(1, 6), 1.0))
    for depth, golden in zip((16, 19), GUIDED_VGG[percent]):
        net = vgg(depth, None, filters=stage_patterns.vgg_filters(depth, shares))
        counted = count(net, CIFAR)
        assert (counted.macs, counted.parameters) == vgg_by_hand(depth, shares) == golden


def preresnet_by_hand(depth, shares):
    n, side, c_in = (depth - 2) // 9, 32, 16
    macs, weights, norms = 3 * 16 * 9 * 32 * 32, 3 * 16 * 9, 0
    for stage, w in enumerate((16, 32, 64), 1):
        width = rounded(shares[stage], w)
        for block in range(n):
            read, after = rounded(shares[stage], c_in), side // 2 if stage > 1 and block == 0 else side
            first, rest = read * width, 9 * width * width + 4 * w * width
            macs, weights = macs + first * side**2 + rest * after**2, weights + first + rest
            norms, side, c_in = norms + read + 2 * width, after, 4 * w
    read = rounded(shares[3], 256)
    projections = 16 * 64 + 64 * 128 + 128 * 256
    return macs + 10 * read, weights + 10 * read, weights + 10 * read + 10 + projections + 2 * (norms + read)


@pytest.mark.parametrize("percent", GUIDED_PRERESNET164)
def test_preresnets_that_table_18_guides(percent):
    shares = PRERESNET164.get(percent, dict.fromkeys((1, 2, 3), 1.0))
    net = preresnet(164, None, **stage_patterns.preresnet_widths(164, shares))
    counted, full = count(net, CIFAR), count(net, CIFAR, "full")
    golden = counted.macs, counted.parameters, full.parameters
    assert golden == preresnet_by_hand(164, shares) == GUIDED_PRERESNET164[percent]


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_nets_that_tables_19_and_20_guide(name):
    make, table = {
        "PreResNet-110": (lambda: preresnet(110, None, classes=100), PRERESNET110),
        "DenseNet-40": (lambda: densenet(40, None, classes=100), DENSENET40),
    }[name]
    net = make()
    names = [key for key, p in net.named_parameters() if p.shape[2:] == (3, 3) and key != "0.W"]
    stages, whole = guided.stages(net, CIFAR, names), count(net, CIFAR)
    shapes = {key: p.shape for key, p in net.named_parameters()}
    assert (whole.macs, whole.parameters) == SPARSE[name][0]
    for percent, patterns in table.items():
        # By hand: what goes of each layer at each place, times the pixels of its stage.
        gone = {
            key: sum(
                shapes[key][0] * shapes[key][1]
                - int((Decimal(str(p)) * shapes[key][0] * shapes[key][1]).quantize(Decimal(1), ROUND_HALF_UP))
                for p in patterns[stages[key]].ravel().tolist()
            )
            for key in names
        }
        pixels = {1: 1024, 2: 256, 3: 64}
        macs = whole.macs - sum(n * pixels[stages[key]] for key, n in gone.items())
        assert guided.sparse_cost(net, CIFAR, stages, patterns) == (macs, whole.parameters - sum(gone.values()))
        assert (macs, whole.parameters - sum(gone.values())) == SPARSE[name][percent]


def test_a_guided_sparse_net_is_drawn_with_these_densities():
    net = densenet(40, None)
    names = [key for key, p in net.named_parameters() if p.shape[2:] == (3, 3) and key != "0.W"]
    stages = guided.stages(net, CIFAR, names)
    drawn = guided.sparse(net, stages, DENSENET40[90], np.random.default_rng(0))
    for stage, pattern in guided.patterns(drawn, stages).items():
        assert abs(pattern - DENSENET40[90][stage]).max() < 12 / 2 / (12 * 12 * 16) + 1e-12


def test_the_tables_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        PRERESNET110[10][1][0, 0] = 0


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="expected a VGG of depth 11, 16, 19, got 13"):
        stage_patterns.vgg_filters(13, VGG16[10])
    with pytest.raises(ValueError, match="expected a share of stage 4, got those of 1, 2, 3"):
        stage_patterns.vgg_filters(16, PRERESNET164[10])
    with pytest.raises(ValueError, match=r"expected a depth of 9 n \+ 2, such as 29, got 40"):
        stage_patterns.preresnet_widths(40, PRERESNET164[10])
