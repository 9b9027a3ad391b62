import copy
from itertools import pairwise

import numpy as np
import pytest

import nn
from pruning import masks, schedules
from pruning.pipeline import Objective, account, delete, prune_and_retrain
from pruning.scores import magnitude, obd

LOSS = nn.SoftmaxCrossEntropy()


def problem(weight_decay=0.01):
    data = nn.data.load("digits")
    train, test = ((x[..., :200], t[:200]) for x, t in (data.train, data.test))
    net = nn.models.mlp((64, 9, 10), np.random.default_rng(0), activation=nn.Tanh)
    objective = Objective(LOSS, train, test, weight_decay, batch_size=64)
    retrain(net, objective, 30)
    return net, objective


def retrain(net, objective, epochs=5):
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=objective.weight_decay)
    nn.training.train(net, LOSS, optimizer, *objective.train, epochs, 50, np.random.default_rng(1), progress=False)


def score(net, objective):
    return obd.saliency(net, LOSS, *objective.train, weight_decay=objective.weight_decay)


def test_the_loop_of_the_lecture():
    net, objective = problem()
    schedule = schedules.geometric(0.8, 4)
    records = prune_and_retrain(
        net, lambda each: score(each, objective), schedule, objective, lambda each: retrain(each, objective)
    )
    assert [record["sparsity"] for record in records] == pytest.approx(schedule, abs=1e-3)
    assert [record["weights_left"] for record in records] == [round(666 * (1 - s)) for s in schedule]
    assert all(record["retrained"]["E"] < record["E"] for record in records)
    left, total = masks.counts(net)
    assert (left, total) == (records[-1]["weights_left"], 666)
    for parameter in masks.prunable(net).values():
        assert not parameter.data[parameter.mask == 0].any()
        assert np.all(parameter.data[parameter.mask == 1] != 0)


def test_a_schedule_may_be_an_iterator():
    net, objective = problem()
    schedule = iter([0.2, 0.5])
    records = prune_and_retrain(net, magnitude.saliency, schedule, objective)
    assert [record["weights_left"] for record in records] == [round(0.8 * 666), 333]


def test_what_is_deleted_in_one_round_stays_deleted_in_the_next():
    net, objective = problem()
    seen = []

    def watch(each):
        retrain(each, objective)
        seen.append({name: parameter.mask.copy() for name, parameter in masks.prunable(each).items()})

    prune_and_retrain(net, magnitude.saliency, [0.3, 0.6, 0.9], objective, watch)
    for earlier, later in pairwise(seen):
        assert all(np.all(later[name] <= earlier[name]) for name in earlier)


def test_the_dead_stay_dead_whatever_the_score_says_of_them():
    net, objective = problem()

    def praises_the_dead(each):
        return {name: (u.data == 0) * 1e9 + np.abs(u.data) for name, u in masks.prunable(each).items()}

    prune_and_retrain(net, praises_the_dead, [0.3], objective)
    first = {name: u.mask.copy() for name, u in masks.prunable(net).items()}
    prune_and_retrain(net, praises_the_dead, [0.6], objective)
    assert all(np.all(u.mask <= first[name]) for name, u in masks.prunable(net).items())
    assert masks.counts(net) == (666 - 400, 666)


def test_true_change_is_the_change_of_the_objective_with_decay():
    net, objective = problem()
    before = objective.value(net)
    record = delete(net, masks.smallest(score(net, objective), 0.5), objective)
    assert record["true"] == pytest.approx(objective.value(net) - before, abs=1e-15)
    squares = sum(float(np.sum(p.data**2)) for p in net.parameters())
    assert record["E"] == pytest.approx(record["train_loss"] + 0.01 / 2 * squares, rel=1e-14)
    for part, data in (("train", objective.train), ("test", objective.test)):
        expected = nn.batches.evaluate(net, LOSS, *data, batch_size=64)
        assert (record[f"{part}_loss"], record[f"{part}_accuracy"]) == expected


def test_a_few_deletions_at_a_minimum_are_predicted_well_and_many_are_not():
    net, objective = problem()
    predictions = {}
    for sparsity in (0.1, 0.9):
        record = delete(copy.deepcopy(net), masks.smallest(score(net, objective), sparsity), objective)
        predictions[sparsity] = record["predicted_with_gradient"] / record["true"]
    assert predictions[0.1] == pytest.approx(1, abs=0.3)
    assert predictions[0.9] < 0.5


def test_obd_beats_magnitude_where_both_prune_the_same_weights():
    net, objective = problem()
    losses = {}
    for name, scores in (("obd", score(net, objective)), ("magnitude", magnitude.saliency(net))):
        losses[name] = delete(copy.deepcopy(net), masks.smallest(scores, 0.5), objective)["train_loss"]
    assert losses["obd"] < losses["magnitude"]


@pytest.mark.parametrize("rule", nn.curvature.RULES)
def test_the_prediction_uses_the_rule_that_was_asked_for(rule):
    net, objective = problem()
    keep = masks.smallest(magnitude.saliency(net), 0.5)
    h = nn.curvature.hess_diag(net, LOSS, *objective.train, rule, weight_decay=0.01)
    u = {name: parameter.data.copy() for name, parameter in net.named_parameters()}
    predicted = sum(float(np.sum(h[name] * (u[name] * (1 - mask)) ** 2)) / 2 for name, mask in keep.items())
    assert delete(net, keep, objective, rule)["predicted"] == pytest.approx(predicted, rel=1e-12)


def test_the_rules_predict_different_changes():
    net, objective = problem()
    keep = masks.smallest(magnitude.saliency(net), 0.5)
    predictions = {delete(copy.deepcopy(net), keep, objective, rule)["predicted"] for rule in nn.curvature.RULES}
    assert len(predictions) == len(nn.curvature.RULES)


def test_gradient_norm_is_that_of_the_objective():
    net, objective = problem()
    g = np.concatenate([g.ravel() for g in objective.gradient(net).values()])
    assert objective.gradient_norm(net) == pytest.approx(np.linalg.norm(g), rel=1e-12)


@pytest.mark.parametrize("schedule", [[0.5, 0.3], [0.5, 1.2], [-0.1]])
def test_a_bad_schedule_leaves_the_net_untouched(schedule):
    net, objective = problem()
    before = nn.gradcheck.flat(net)
    with pytest.raises(ValueError, match=r"ascending sparsities|sparsity from 0 to 1"):
        prune_and_retrain(net, magnitude.saliency, schedule, objective)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)


def test_without_retraining_there_is_no_second_measure():
    net, objective = problem()
    (record,) = prune_and_retrain(net, magnitude.saliency, [0.5], objective, scope="layer")
    assert "retrained" not in record
    assert [int(np.sum(p.mask == 0)) for p in masks.prunable(net).values()] == [288, 45]


def whole_expansion(net, objective, keep):
    """The five numbers of `account` from the full Hessian of the small net, by the complex step, decay included."""
    u = nn.gradcheck.flat(net)
    case = net, objective.loss, *objective.train
    decay = objective.weight_decay
    H = nn.gradcheck.hessian_by_differences(*case) + decay * np.eye(len(u))
    g = nn.gradcheck.gradient(*case, u) + decay * u
    kept = np.concatenate([np.ravel(keep.get(name, np.ones(p.shape))) for name, p in net.named_parameters()])
    E = lambda v: float(nn.gradcheck.energy(*case, v)) + decay / 2 * float(v @ v)  # noqa: E731
    true = E(u * kept) - E(u)
    nn.gradcheck.set_flat(net, u)
    du = u * (kept - 1)
    diagonal, quadratic = np.diag(H) @ (du * du) / 2, du @ H @ du / 2
    parts = {"gradient": g @ du, "diagonal": diagonal, "off_diagonal": quadratic - diagonal, "true": true}
    return {**parts, "higher_order": true - g @ du - quadratic}


@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_the_account_of_a_deletion_is_the_expansion_with_the_full_hessian(weight_decay):
    rng = np.random.default_rng(0)
    net = nn.Sequential(*nn.models.mlp((4, 5, 6, 3), rng, activation=nn.Tanh).layers, nn.ScaledTanh())
    for u in net.parameters():
        u.data = u.data + 0.3 * rng.standard_normal(u.shape)
    part = rng.standard_normal((4, 11)), rng.standard_normal((3, 11))
    objective = Objective(nn.SquaredError(), part, part, weight_decay, batch_size=4)
    h, g, before = objective.curvature(net, "exact"), objective.gradient(net), nn.gradcheck.flat(net)
    keep = {name: rng.integers(0, 2, u.shape).astype(float) for name, u in net.named_parameters()}
    parts, expected = account(net, keep, objective, h, g), whole_expansion(net, objective, keep)
    assert parts == pytest.approx(expected, rel=1e-11, abs=1e-14)
    assert parts["true"] == pytest.approx(sum(parts[name] for name in parts if name != "true"), rel=1e-13)
    assert min(abs(part) for part in expected.values()) > 1e-3
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    assert all(parameter.mask is None for parameter in net.parameters())


@pytest.mark.parametrize("orthogonal", [True, False])
def test_a_least_squares_layer_has_no_higher_order_and_no_off_diagonal_part_if_its_inputs_are_orthogonal(orthogonal):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 8))
    x = np.linalg.qr(x.T)[0].T * np.sqrt(8) if orthogonal else x
    net = nn.Sequential(nn.Linear(3, 4, rng, bias=False))
    part = x, rng.standard_normal((4, 8))
    objective = Objective(nn.SquaredError(), part, part)
    keep = {"0.W": np.tile([0.0, 1.0, 0.0], (4, 1))}
    parts = account(net, keep, objective, objective.curvature(net), objective.gradient(net))
    assert abs(parts["higher_order"]) < 1e-12
    assert (abs(parts["off_diagonal"]) < 1e-12) == orthogonal
