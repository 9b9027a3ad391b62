"""The stages of a LeNet-5, one by one."""

import itertools

import numpy as np
import pytest

import nn
from nn.backend import to_numpy
from nn.gradcheck import relative_error
from pruning import masks
from pruning.experiments.lenet5 import sets, stages
from pruning.pipeline import gradual

SHAPE = (1, 28, 28)


def Small():
    rng = np.random.default_rng(0)
    part = rng.random((*SHAPE, 40)), rng.integers(0, 10, 40)
    return stages.Lesson(lambda _: part, 40, nn.SoftmaxCrossEntropy(), part, 20)


def thin_net():
    return nn.models.lenet5(np.random.default_rng(0), filters=(2, 3), hidden=4, dtype=np.float64)


def one_batch(kind=stages.Lesson):
    """A lesson of ten images and one step an epoch."""
    rng = np.random.default_rng(0)
    part = rng.standard_normal((*SHAPE, 10)), rng.integers(0, 10, 10)
    return kind(lambda _: part, 10, nn.SoftmaxCrossEntropy(), part, 10)


def gradient_of(net, lesson):
    x, t = lesson.draw(None)
    lesson.loss.forward(net.forward(x), t)
    net.backward_parameters(lesson.loss.backward())
    return {name: parameter.grad.copy() for name, parameter in net.named_parameters()}


def weights_of(net):
    return {name: W.data.copy() for name, W in masks.prunable(net).items()}


def share_right(net, x, t):
    return np.mean(np.argmax(to_numpy(net.forward(x)), axis=0) == t)


def largest(values, k):
    """{name: 0/1}: which are among the k largest of all, none of them zero."""
    limit = np.sort(np.concatenate([v.reshape(-1) for v in values.values()]))[-k]
    assert limit > 0
    return {name: (v >= limit) * 1 for name, v in values.items()}


def is_there(values):
    return {name: (v != 0) * 1 for name, v in values.items()}


def test_slim_computes_the_same():
    lesson = Small()
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    split = stages.admm.ADMM(net, sets.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 60]}), 1.0)
    split.project()
    x = np.random.default_rng(1).random((*SHAPE, 4))
    small, _ = stages.slim(net)
    assert [W.shape for W in masks.prunable(small).values()] == [(5, 12), (20, 60), (500, 320), (10, 500)]
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12
    assert lesson.steps() == 2


def test_the_report_of_a_projection_by_hand():
    net, x = thin_net(), np.random.default_rng(1).standard_normal((*SHAPE, 20))
    labels = np.argmax(net.forward(x), axis=0)
    labels[:5] = (labels[:5] + 1) % 10
    lesson = stages.Lesson(None, 20, None, (x, labels), 20)
    before = weights_of(net)
    stage = {"shapes": {"0.W": [1, 5], "2.W": [2, 9]}}
    _, report = stages.structured_at_once(net, stage, lesson, np.random.default_rng(0))
    after = weights_of(net)  # the net that was given is the one that is projected
    assert [np.count_nonzero(after[name]) for name in ("0.W", "2.W")] == [5, 18]
    moved, size = (
        sum(np.sum(w[name] ** 2) for name in ("0.W", "2.W"))
        for w in ({name: after[name] - before[name] for name in after}, before)
    )
    assert report["before"] == 0.75
    assert report["relative"] == pytest.approx(np.sqrt(moved / size), rel=1e-12)
    assert report["projected"] == share_right(net, x, labels) < 0.75
    assert report["history"] == []


@pytest.mark.parametrize("kind", ["sparse at once", "gradual"])
@pytest.mark.parametrize("score", ["fisher", "magnitude"])
def test_each_score_deletes_by_its_own_ranking_and_a_rate_of_zero_moves_nothing(kind, score):
    net, lesson = thin_net(), one_batch()
    before, g = weights_of(net), gradient_of(net, lesson)
    stage = {"keep": 100, "score": score, "epochs": 1, "every": 1, "learning_rate": 0.0}
    _, report = stages.STAGES[kind](net, stage, lesson, np.random.default_rng(0))
    kept = largest(
        {n: w**2 * (g[n] ** 2 if score == "fisher" else 1) for n, w in before.items()}, report.get("kept", 100)
    )
    for name, W in masks.prunable(net).items():
        np.testing.assert_array_equal(W.data, before[name] * kept[name])


def test_one_budget_is_shared_out_anew_in_every_update_and_before_the_projection(monkeypatch):
    final, update, seen = [], stages.admm.ADMM.update, []

    class Watching(stages.Lesson):
        def accuracy(self, net):
            final.append(weights_of(net))
            return 0.0

    def watched(split):
        wanted = {name: np.abs(W.data + split.U[name]) for name, W in split.parameters.items()}
        update(split)
        seen.append((largest(wanted, 100), is_there(split.Y)))

    monkeypatch.setattr(stages.admm.ADMM, "update", watched)
    net = thin_net()
    shares = [[mask.sum() for mask in largest({n: np.abs(w) for n, w in weights_of(net).items()}, 100).values()]]
    stage = {"keep": 100, "rho": [0.1, 0.1], "every": 1, "epochs": 4, "learning_rate": 0.02}
    stages.sparse_admm(net, stage, one_batch(Watching), np.random.default_rng(0))
    last, after = final  # before the projection, and after it
    seen.append((largest({n: np.abs(w) for n, w in last.items()}, 100), is_there(after)))
    assert len(seen) == 5
    for expected, found in seen:
        for name, mask in expected.items():
            np.testing.assert_array_equal(found[name], mask)
        shares.append([mask.sum() for mask in expected.values()])
    assert all(one != other for one, other in itertools.pairwise(shares))  # otherwise this would show nothing


def counting_epochs():
    """A lesson of two steps an epoch, and the list that gets longer by one with every epoch."""
    draws, lesson = [], one_batch()

    def draw(rng):
        draws.append(0)
        return lesson.draw(rng)

    return stages.Lesson(draw, 10, lesson.loss, lesson.held_out, 5), draws


def test_a_small_net_warms_up_before_it_loses_groups(monkeypatch):
    deleted, delete, (lesson, draws) = [], stages.Groups.delete, counting_epochs()
    monkeypatch.setattr(stages.Groups, "delete", lambda groups, n: deleted.append((len(draws), n)) or delete(groups, n))
    stage = {"keep": 150, "epochs": 2, "warm_up": 3, "every": 1, "learning_rate": 1e-3}
    stages.whole(thin_net(), stage, lesson, np.random.default_rng(0))
    budgets = [round(150 * (432 / 150) ** (1 - min(1, k / 3.6))) for k in (1, 2, 3, 4)]
    assert deleted == list(zip((4, 4, 5, 5), budgets))


def test_its_control_trains_as_long_and_observes_the_last_epoch(monkeypatch):
    observed, observe, (lesson, draws) = [], stages.Groups.observe, counting_epochs()
    monkeypatch.setattr(stages.Groups, "observe", lambda groups: observed.append(len(draws)) or observe(groups))
    stage = {"keep": 150, "epochs": 5, "learning_rate": 1e-3}
    stages.whole_at_once(thin_net(), stage, lesson, np.random.default_rng(0))
    assert len(draws) == 5 and observed == [5, 5]


def test_retraining_is_adam_along_a_cosine_by_hand():
    lesson, net, by_hand = one_batch(), thin_net(), thin_net()
    stage = {"epochs": 2, "learning_rate": 3e-3}
    net, report = stages.retrain(net, stage, lesson, np.random.default_rng(0))
    m = {name: 0.0 for name, _ in by_hand.named_parameters()}
    v = dict(m)
    for k, rate in ((1, 3e-3), (2, 1.5e-3)):  # half a period: (1 + cos(pi / 2)) / 2 = 1/2
        g = gradient_of(by_hand, lesson)
        for name, parameter in by_hand.named_parameters():
            m[name], v[name] = 0.9 * m[name] + 0.1 * g[name], 0.99 * v[name] + 0.01 * g[name] ** 2
            step = m[name] / (1 - 0.9**k) / (np.sqrt(v[name] / (1 - 0.99**k)) + 1e-8)
            parameter.data = parameter.data - rate * step
    for (_, found), (_, expected), (_, start) in zip(*(n.named_parameters() for n in (net, by_hand, thin_net()))):
        assert relative_error(found.data - start.data, expected.data - start.data) < 1e-5
    assert report == {"retrained": share_right(by_hand, *lesson.held_out)}


@pytest.mark.slow
def test_rho_grows_by_one_factor_and_deletion_ends_in_time(monkeypatch):
    seen, kept = [], []
    grow, keep = stages.admm.ADMM.set_rho, gradual.keep_highest
    monkeypatch.setattr(stages.admm.ADMM, "set_rho", lambda split, rho: seen.append(rho) or grow(split, rho))
    monkeypatch.setattr(gradual, "keep_highest", lambda *given: kept.append(given[2]) or keep(*given))
    stage = {"shapes": {"0.W": [5, 12], "2.W": [20, 60]}, "rho": [0.02, 0.32], "every": 1, "learning_rate": 1e-3}
    stage |= {"epochs": 2, "keep": 1000, "score": "magnitude"}
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    stages.structured_admm(net, stage, Small(), np.random.default_rng(0))  # two epochs of two steps
    np.testing.assert_allclose(seen, [0.02 * 16 ** (k / 4) for k in (1, 2, 3, 4)])
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    stages.gradual(net, {**stage, "epochs": 5}, Small(), np.random.default_rng(0))
    shares = [1 - min(1, k / 9) for k in range(1, 11)]  # nine tenths of ten steps
    np.testing.assert_allclose(kept, [round(1000 * 430.5 ** (share**1.5)) for share in shares])


def test_admm_pulls_the_weights_towards_its_sets():
    stage = {"shapes": {"0.W": [2, 8], "2.W": [3, 20]}, "keep": 200, "epochs": 40}
    stage |= {"every": 10, "learning_rate": 2e-3}
    for run in (stages.structured_admm, stages.sparse_admm):
        moved = []
        for rho in (1e-6, 10.0):
            net = nn.models.lenet5(np.random.default_rng(0), filters=(4, 6), hidden=10, dtype=np.float64)
            _, report = run(net, {**stage, "rho": [rho, rho]}, one_batch(), np.random.default_rng(0))
            moved.append(report["relative"])
        assert moved[1] < 0.95 * moved[0], moved  # ||W - Y|| / ||W|| when it is projected


@pytest.mark.slow
def test_at_once_as_many_weights_are_on_paths_as_asked_for():
    net = nn.models.lenet5(np.random.default_rng(0), filters=(5, 12), hidden=60, dtype=np.float64)
    stage = {"score": "magnitude", "keep": 300}
    small, report = stages.sparse_at_once(net, stage, one_batch(), np.random.default_rng(0))
    assert 0.95 * 300 <= masks.counts(small)[0] <= 300 < report["kept"]

    stage = {"keep": 2750, "epochs": 1, "learning_rate": 1e-3}
    net = nn.models.lenet5(np.random.default_rng(0), filters=(10, 24), hidden=120, dtype=np.float64)
    small, report = stages.whole_at_once(net, stage, one_batch(), np.random.default_rng(0))
    assert 0.9 * 2750 <= masks.counts(small)[0] <= 2750 < report["kept"]


def test_a_budget_above_the_net_or_below_its_layers_is_refused():
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    for kind in ("gradual", "sparse at once", "whole", "whole at once", "sparse admm"):
        for keep in (3, 430501):
            stage = {"kind": kind, "keep": keep, "epochs": 0, "every": 1, "score": "magnitude", "warm_up": 0}
            stage |= {"learning_rate": 1e-3, "rho": [1, 1]}
            if kind == "whole at once":
                stage["epochs"] = 1
            with pytest.raises(ValueError, match=f"expected to keep 4 to 430500 weights.* got {keep}"):
                stages.STAGES[kind](net, stage, Small(), np.random.default_rng(0))
