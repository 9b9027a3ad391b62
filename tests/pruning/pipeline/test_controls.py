"""The arms of a target: what each begins with, how long and how fast it trains, and what is no target."""

import numpy as np
import pytest

import nn
from pruning import filters, masks, surgery
from pruning.counts import count
from pruning.penalties import slimming
from pruning.pipeline import ARMS, Budget, arms
from pruning.scores import filter_norm, magnitude

DIGITS = (1, 8, 8)
SCHEDULE = Budget(12, (6, 9))


def small_images(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, rng, padding=1, bias=False), nn.BatchNorm(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, rng, padding=1, bias=False), nn.BatchNorm(8), nn.ReLU(),
        nn.GlobalAvgPool2d(), nn.Linear(8, 10, rng),
    )  # fmt: skip


def predefined(net, share=0.5):
    shares = {"0.W": share, "3.W": share}
    return surgery.remove(net, filters.independent(net, shares, filter_norm.saliency))


def automatic(net):
    for name, gamma in slimming.scales(net).items():
        gamma.data = gamma.data * np.linspace(0.1, 2, 8) * (3 if name.startswith("4") else 1)
    keep = slimming.keep_for_macs(net, DIGITS, 0.5, "conv_only")
    return slimming.slim(net, keep, DIGITS)


def unstructured(net, share=0.75):
    masked = surgery.duplicate(net)
    masks.apply(masked, masks.smallest(magnitude.saliency(net), share))
    return masked


def of(dense, small, fine_tuning=3, learning_rate=0.4, names=ARMS, seed=7, **more):
    rng = np.random.default_rng(seed)
    return arms(dense, small, DIGITS, SCHEDULE, learning_rate, fine_tuning, rng, names=names, **more)


def weights(net):
    return [parameter.data for parameter in net.parameters()]


def test_half_of_the_filters_by_hand():
    """A pixel costs 72 + 576 MACs, with half of all filters 36 + 144; the outputs cost 80 and 40."""
    dense = small_images()
    small = predefined(dense)
    before, after = (count(net, DIGITS).macs for net in (dense, small))
    assert (before, after) == (64 * 648 + 80, 64 * 180 + 40)
    fine, e, b = of(dense, small)
    assert [each.name for each in (fine, e, b)] == list(ARMS) == ["fine-tuned", "scratch-E", "scratch-B"]
    assert fine.budget == Budget(3) and fine.learning_rate == pytest.approx(0.4 / 100)  # two falls by ten
    assert e.budget == SCHEDULE and b.budget == Budget(43, (22, 32))  # 12, 6 and 9 times 41552/11560
    assert e.learning_rate == b.learning_rate == 0.4


def test_the_fine_tuned_arm_begins_with_the_small_net_and_the_others_with_new_weights():
    dense = small_images()
    small = predefined(dense)
    kept = [each.copy() for each in weights(small)]
    fine, e, b = of(dense, small)
    assert all(np.array_equal(x, y) for x, y in zip(weights(fine.net), kept))
    assert all(np.array_equal(x, y) for x, y in zip(weights(e.net), weights(b.net)))
    assert not np.array_equal(weights(e.net)[0], kept[0])
    for each in (fine, e, b):  # training one leaves the others and the small net as they are
        weights(each.net)[0][:] = np.nan
    assert all(np.array_equal(x, y) for x, y in zip(weights(small), kept))
    assert np.isfinite(weights(of(dense, small)[2].net)[0]).all()


@pytest.mark.parametrize("target", [predefined, automatic, unstructured])
def test_the_three_kinds_of_targets_have_their_arms(target):
    dense = small_images()
    small = target(dense)
    for each in of(dense, small, at_most=2):
        left = {name: W.data.shape for name, W in masks.prunable(small).items()}
        assert {name: W.data.shape for name, W in masks.prunable(each.net).items()} == left
        assert masks.counts(each.net) == masks.counts(small)


def test_masks_count_weights_for_computation():
    dense = small_images()
    masked = unstructured(dense)
    left, total = masks.counts(masked)
    assert (left, total) == (182, 728)
    b = of(dense, masked, names=["scratch-B"])[0]
    assert b.budget == Budget(48, (24, 36))  # four times
    capped = of(dense, masked, names=["scratch-B"], at_most=2)[0]
    assert capped.budget == Budget(24, (12, 18))
    for (name, W), (_, old) in zip(masks.prunable(b.net).items(), masks.prunable(masked).items()):
        assert np.array_equal(W.mask, old.mask) and not W.data[W.mask == 0].any(), name
    (scaled,) = of(dense, masked, names=["scratch-B"], density=True)
    for name, W in masks.prunable(scaled.net).items():
        plain = masks.prunable(b.net)[name]
        np.testing.assert_allclose(W.data * np.sqrt(W.mask.mean()), plain.data, atol=1e-12)


def test_only_the_named_arms_in_the_order_of_their_names():
    dense = small_images()
    found = of(dense, predefined(dense), names=["scratch-B", "fine-tuned"])
    assert [each.name for each in found] == ["scratch-B", "fine-tuned"]


def test_an_arm_can_be_trained_with_its_budget_and_its_rate():
    x, t = nn.data.load("digits").train
    dense = small_images()
    for arm in of(dense, predefined(dense), names=["fine-tuned", "scratch-E"]):
        schedule = nn.step_decay(arm.learning_rate, arm.budget.milestones)
        optimizer = nn.SGD(arm.net.parameters(), arm.learning_rate, 0.9, nesterov=True)
        history = nn.training.train(
            arm.net, nn.SoftmaxCrossEntropy(), optimizer, x[..., :64], t[:64],
            arm.budget.epochs, 32, np.random.default_rng(0), schedule, progress=False,
        )  # fmt: skip
        assert len(history) == arm.budget.epochs
        assert history[-1]["learning_rate"] == pytest.approx(0.004)


def wider():
    rng = np.random.default_rng(1)
    return nn.Sequential(nn.Conv2d(1, 9, 3, rng, padding=1), nn.GlobalAvgPool2d(), nn.Linear(9, 10, rng))


def narrow():
    rng = np.random.default_rng(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3, rng, padding=1), nn.GlobalAvgPool2d(), nn.Linear(4, 10, rng))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"dense": narrow(), "small": wider()},
            ValueError,
            r"^expected a small net of 1 to .*, those of the dense one",
        ),
        ({"small": predefined(small_images(), 0.0)}, ValueError, "with all 41,552 of its multiply-accumulates and all"),
        ({"small": unstructured(small_images(), 0.0)}, ValueError, "all 728 weights: nothing is pruned"),
        ({"names": ["scratch-C"]}, ValueError, "^expected arms of fine-tuned, scratch-E, scratch-B, got 'scratch-C'$"),
        ({"names": []}, ValueError, "^expected arms of fine-tuned, scratch-E, scratch-B, got none$"),
        ({"names": "scratch-E"}, TypeError, "^expected a list of arms, got 'scratch-E'$"),
        ({"fine_tuning": 0}, ValueError, "^expected at least one epoch, got 0$"),
        ({"fine_tuning": 1.5}, TypeError, r"^expected whole numbers of epochs, got 1\.5$"),
        ({"learning_rate": 0.0}, ValueError, "^expected a positive learning rate, got 0"),
        ({"learning_rate": "fast"}, TypeError, "learning rate"),
        ({"at_most": 0.5}, ValueError, "^expected at_most to be 1 or more, got 0.5$"),
        ({"dense": None}, TypeError, "^expected a net, got NoneType$"),
        ({"small": [1]}, TypeError, "^expected a net, got list$"),
        ({"seed": "a"}, TypeError, "Generator"),
    ],
)
def test_what_is_no_target_is_refused_in_one_sentence(arguments, error, message):
    dense = small_images()
    given = {"dense": dense, "small": predefined(dense), "fine_tuning": 3, "learning_rate": 0.4, "names": ARMS}
    given |= arguments
    rng = np.random.default_rng(0) if given.pop("seed", None) is None else "a"
    with pytest.raises(error, match=message):
        arms(input_shape=DIGITS, schedule=SCHEDULE, rng=rng, **given)


def test_a_mask_that_leaves_nothing_is_refused():
    dense = small_images()
    nothing = surgery.duplicate(dense)
    masks.apply(nothing, {"0.W": np.zeros((8, 1, 3, 3))})
    with pytest.raises(ValueError, match=r"expected a mask that leaves some of 0\.W, got one of zeros"):
        of(dense, nothing)
