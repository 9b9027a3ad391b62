"""The experiments `admm` and `lenet-record` on a handful of random images, and their stages one by one."""

import itertools
import json

import numpy as np
import pytest
import scipy.signal
import scipy.special

import nn
from nn import checkpoint
from nn.backend import to_numpy
from nn.data.augment import affine
from nn.gradcheck import relative_error
from pruning import masks
from pruning.experiments import admm_lenet5, bank, lenet_record, lenet_stages, runner, train

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module", autouse=True)
def few():
    """40 random images to train on, 20 that are held out, and 30 to test on."""
    rng = np.random.default_rng(0)
    train_part, held_out, test = ((rng.random((*SHAPE, n), np.float32), rng.integers(0, 10, n)) for n in (40, 20, 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "parts", lambda spec, root: (train_part, held_out if spec["validation"] else test))
        yield


def tiny(module, row, method, **more):
    """Return a cell with one epoch a stage, and a thin net if it is a small one that is started from."""
    found = [s for s in module.specs("mnist", [0], "cpu") if (s["row"], s["method"]) == (row, method)]
    spec = json.loads(json.dumps(found[0]))
    spec["dense"] |= {"epochs": 1, "batch_size": 20}
    if spec["teacher"] is not None:
        spec["teacher"]["dense"] = spec["dense"]
        spec["teacher"] |= {"teacher": {**bank.TEACHER, "epochs": 1}, "copies": {**bank.COPIES, "number": 2}}
    for stage in spec["stages"]:
        stage |= {name: 1 for name in ("epochs", "every", "warm_up") if name in stage}
    return spec | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


CELLS = [
    (admm_lenet5, "conv 650", "admm"),
    (admm_lenet5, "conv 650", "at once"),
    (admm_lenet5, "whole 6050", "gradual fisher"),
    (admm_lenet5, "whole 6050", "admm"),
    (lenet_record, "whole 2750", "groups"),
    (lenet_record, "whole 2750", "at once"),
]


@pytest.fixture(scope="module")
def records(folder):
    return [runner.run_one("admm", tiny(*cell), folder=folder) for cell in CELLS]


def test_structured_rows_have_the_weights_that_they_promise(records):
    for record in records[:2]:
        assert record["small"]["weights"][:2] == [50, 600]
        assert record["small"]["shapes"][:2] == [[5, 10], [15, 40]]
        assert record["small"]["conv_rate"] == 25500 / 650
        assert record["small"]["whole_rate"] == 430500 / (650 + 15 * 16 * 500 + 5000)


def test_rows_of_the_whole_net_stay_within_their_budget(records):
    for record, budget in zip(records[2:], (6050, 6050, 2750, 2750)):
        assert sum(record["small"]["weights"]) <= budget
        assert record["small"]["whole_rate"] >= 430500 / budget


def test_records_are_json_and_say_both_rates(records):
    for record in records:
        assert json.loads(json.dumps(record)) == record
        line = lenet_record.line(record)
        assert f"conv {record['small']['conv_rate']:.2f} x" in line
        assert f"whole net {record['small']['whole_rate']:.2f} x" in line
        assert ("teacher and copies" if record["spec"]["teacher"] else "labels alone") in line


def share_right(net, x, t):
    return np.mean(np.argmax(to_numpy(net.forward(x)), axis=0) == t)


def test_accuracies_and_weights_of_every_stage_are_those_of_the_nets_on_disk(records, folder):
    test, held_out = (train.parts({"validation": choice}, None)[1] for choice in (False, True))
    for record in records:
        spec = record["spec"]
        assert len(record["stages"]) == len(spec["stages"])
        for number, report in enumerate(record["stages"]):
            path = lenet_record.path_of(spec, number, folder)
            net, arrays = checkpoint.load(path), np.load(path)
            weights = [name for name in arrays.files if name.startswith("data/") and name.endswith(".W")]
            assert report["weights"] == [np.count_nonzero(arrays[name]) for name in weights]
            assert report.get("retrained", report.get("projected")) == share_right(net, *held_out)
        assert record["small"]["weights"] == record["stages"][-1]["weights"]
        assert record["small"]["held_out_accuracy"] == share_right(net, *held_out)
        assert record["small"]["test_accuracy"] == share_right(net, *test)
        if spec["start"] == lenet_record.DENSE:
            dense = train.trained(spec["dense"], None, False, folder)[0]
            assert record["start"]["held_out_accuracy"] == share_right(dense, *held_out)
            assert record["start"]["weights"] == [500, 25000, 400000, 5000]


def test_what_students_learn_from_is_the_teacher_or_the_labels(folder, records):
    (x, t), held_out = train.parts({"validation": True}, None)
    taught, plain = (
        lenet_record._lesson(record["spec"], None, False, folder)[0] for record in (records[-1], records[0])
    )
    for lesson in (taught, plain):
        assert (lesson.images, lesson.batch_size) == (40, 20)
        np.testing.assert_array_equal(lesson.held_out[0], held_out[0])
        np.testing.assert_array_equal(lesson.held_out[1], held_out[1])
    y, teacher = np.random.default_rng(0).standard_normal((2, 10, 40))
    log_p, log_soft, log_q = (scipy.special.log_softmax(z, axis=0) for z in (y, y / 3, teacher / 3))
    cross_entropy = -np.mean(log_p[t, np.arange(40)])
    divergence = np.mean(np.sum(np.exp(log_q) * (log_q - log_soft), axis=0))
    assert taught.loss.forward(y, (t, teacher)) == pytest.approx(0.2 * cross_entropy + 0.8 * 9 * divergence, rel=1e-12)
    assert plain.loss.forward(y, t) == pytest.approx(cross_entropy, rel=1e-12)
    for given, expected in zip(plain.draw(np.random.default_rng(0)), (x, t)):
        np.testing.assert_array_equal(given, expected)


def test_all_seeds_have_one_teacher():
    specs = lenet_record.specs("mnist", [0, 1], "cpu")
    assert {spec["dense"]["seed"] for spec in specs} == {0, 1}
    assert all(spec["seed"] == spec["dense"]["seed"] for spec in specs)
    assert all(spec["teacher"] == bank.spec(specs[0]["dense"]) for spec in specs)
    assert specs[0]["teacher"]["dense"]["seed"] == 0
    assert all(spec["teacher"] is None for spec in admm_lenet5.specs("mnist", [0, 1], "cpu"))


def test_the_control_has_as_many_epochs():
    for module in (admm_lenet5, lenet_record):
        total = {}
        for spec in module.specs("mnist", [0], "cpu"):
            epochs = [stage.get("epochs", 0) + stage.get("warm_up", 0) for stage in spec["stages"]]
            free = spec["stages"][0].get("score") == "fisher" and spec["stages"][0]["kind"] == "sparse at once"
            total.setdefault(spec["row"], set()).add(sum(epochs) + free)
        assert all(len(epochs) == 1 for epochs in total.values()), total


def second_pass(net, x):
    """Return LeNet-5's logits in float64 by scipy and plain loops, from the arrays alone."""
    convolutions = [layer for layer in net.layers if isinstance(layer, nn.Conv2d)]
    logits = []
    for n in range(x.shape[-1]):
        maps = x[..., n].astype(float)
        for layer in convolutions:
            full = np.zeros((layer.W.shape[0], layer.c_in * 25))
            full[:, slice(None) if layer.columns is None else layer.columns] = layer.W.data.reshape(len(full), -1)
            kernels = full.reshape(-1, layer.c_in, 5, 5)
            made = []
            for kernel, b in zip(kernels, layer.b.data):
                total = sum(scipy.signal.correlate2d(m, k, mode="valid") for m, k in zip(maps, kernel)) + float(b)
                made.append([[total[i : i + 2, j : j + 2].max() for j in range(0, len(total), 2)]
                             for i in range(0, len(total), 2)])  # fmt: skip
            maps = np.array(made)
        features = maps.reshape(-1)
        for position in net.layers[5:]:
            if isinstance(position, nn.ReLU):
                features = np.maximum(features, 0)
                continue
            layer = position
            if isinstance(position, nn.Sequential):
                select, layer = position.layers
                features = features[select.indices]
            features = layer.W.data.astype(float) @ features + layer.b.data
        logits.append(features)
    return np.stack(logits, axis=1)


def test_final_nets_pass_a_second_forward_and_a_second_count(records, folder):
    x = np.random.default_rng(1).random((*SHAPE, 4), np.float32)
    for record in records:
        net = lenet_record.small_net(record["spec"], folder)
        assert relative_error(to_numpy(net.forward(x)).astype(float), second_pass(net, x)) < 1e-5
        arrays = np.load(lenet_record.path_of(record["spec"], len(record["spec"]["stages"]) - 1, folder))
        weights = [name for name in arrays.files if name.startswith("data/") and name.endswith(".W")]
        assert sum(np.count_nonzero(arrays[name]) for name in weights) == sum(record["small"]["weights"])


def test_slim_computes_the_same(folder, records):
    lesson = Small()
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    split = lenet_stages.admm.ADMM(net, lenet_stages.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 60]}), 1.0)
    split.project()
    x = np.random.default_rng(1).random((*SHAPE, 4))
    small, _ = lenet_stages.slim(net)
    assert [W.shape for W in masks.prunable(small).values()] == [(5, 12), (20, 60), (500, 320), (10, 500)]
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12
    assert lesson.steps() == 2


def Small():
    rng = np.random.default_rng(0)
    part = rng.random((*SHAPE, 40)), rng.integers(0, 10, 40)
    return lenet_stages.Lesson(lambda _: part, 40, nn.SoftmaxCrossEntropy(), part, 20)


def thin_net():
    return nn.models.lenet5(np.random.default_rng(0), filters=(2, 3), hidden=4, dtype=np.float64)


def one_batch(kind=lenet_stages.Lesson):
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


def largest(values, k):
    """{name: 0/1}: which are among the k largest of all, none of them zero."""
    limit = np.sort(np.concatenate([v.reshape(-1) for v in values.values()]))[-k]
    assert limit > 0
    return {name: (v >= limit) * 1 for name, v in values.items()}


def is_there(values):
    return {name: (v != 0) * 1 for name, v in values.items()}


def test_the_report_of_a_projection_by_hand():
    net, x = thin_net(), np.random.default_rng(1).standard_normal((*SHAPE, 20))
    labels = np.argmax(net.forward(x), axis=0)
    labels[:5] = (labels[:5] + 1) % 10
    lesson = lenet_stages.Lesson(None, 20, None, (x, labels), 20)
    before = weights_of(net)
    stage = {"shapes": {"0.W": [1, 5], "2.W": [2, 9]}}
    _, report = lenet_stages.structured_at_once(net, stage, lesson, np.random.default_rng(0))
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
    _, report = lenet_stages.STAGES[kind](net, stage, lesson, np.random.default_rng(0))
    kept = largest(
        {n: w**2 * (g[n] ** 2 if score == "fisher" else 1) for n, w in before.items()}, report.get("kept", 100)
    )
    for name, W in masks.prunable(net).items():
        np.testing.assert_array_equal(W.data, before[name] * kept[name])


def test_one_budget_is_shared_out_anew_in_every_update_and_before_the_projection(monkeypatch):
    final, update, seen = [], lenet_stages.admm.ADMM.update, []

    class Watching(lenet_stages.Lesson):
        def accuracy(self, net):
            final.append(weights_of(net))
            return 0.0

    def watched(split):
        wanted = {name: np.abs(W.data + split.U[name]) for name, W in split.parameters.items()}
        update(split)
        seen.append((largest(wanted, 100), is_there(split.Y)))

    monkeypatch.setattr(lenet_stages.admm.ADMM, "update", watched)
    net = thin_net()
    shares = [[mask.sum() for mask in largest({n: np.abs(w) for n, w in weights_of(net).items()}, 100).values()]]
    stage = {"keep": 100, "rho": [0.1, 0.1], "every": 1, "epochs": 4, "learning_rate": 0.02}
    lenet_stages.sparse_admm(net, stage, one_batch(Watching), np.random.default_rng(0))
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

    return lenet_stages.Lesson(draw, 10, lesson.loss, lesson.held_out, 5), draws


def test_a_small_net_warms_up_before_it_loses_groups(monkeypatch):
    deleted, delete, (lesson, draws) = [], lenet_stages.Groups.delete, counting_epochs()
    monkeypatch.setattr(
        lenet_stages.Groups, "delete", lambda groups, n: deleted.append((len(draws), n)) or delete(groups, n)
    )
    stage = {"keep": 150, "epochs": 2, "warm_up": 3, "every": 1, "learning_rate": 1e-3}
    lenet_stages.whole(thin_net(), stage, lesson, np.random.default_rng(0))
    budgets = [round(150 * (432 / 150) ** (1 - min(1, k / 3.6))) for k in (1, 2, 3, 4)]
    assert deleted == list(zip((4, 4, 5, 5), budgets))


def test_its_control_trains_as_long_and_observes_the_last_epoch(monkeypatch):
    observed, observe, (lesson, draws) = [], lenet_stages.Groups.observe, counting_epochs()
    monkeypatch.setattr(lenet_stages.Groups, "observe", lambda groups: observed.append(len(draws)) or observe(groups))
    stage = {"keep": 150, "epochs": 5, "learning_rate": 1e-3}
    lenet_stages.whole_at_once(thin_net(), stage, lesson, np.random.default_rng(0))
    assert len(draws) == 5 and observed == [5, 5]


def test_retraining_is_adam_along_a_cosine_by_hand():
    lesson, net, by_hand = one_batch(), thin_net(), thin_net()
    stage = {"epochs": 2, "learning_rate": 3e-3}
    net, report = lenet_stages.retrain(net, stage, lesson, np.random.default_rng(0))
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


def test_the_second_convolution_chooses_among_columns_that_are_read(folder):
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    W1, W2 = net.layers[0].W.data, net.layers[2].W.data
    W1[7:] *= 0.01
    W2[:, 7:] *= 100
    first, second = lenet_stages.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 60]}).values()
    made = first(W1).reshape(20, -1).any(axis=1)
    read = second(W2).reshape(50, 20, -1).any(axis=(0, 2))
    assert made.sum() == 5 and not made[7:].any() and not (read & ~made).any()


def test_a_net_that_has_less_keeps_what_it_has(folder):
    net = nn.models.lenet5(np.random.default_rng(0), filters=(3, 50), dtype=np.float64)
    lenet_stages.admm.ADMM(net, lenet_stages.conv_sets(net, {"0.W": [5, 12], "2.W": [20, 80]}), 1.0).project()
    assert [np.count_nonzero(W.data) for W in masks.prunable(net, ["0.W", "2.W"]).values()] == [36, 20 * 75]


def test_rho_grows_by_one_factor_and_deletion_ends_in_time(monkeypatch):
    seen, kept = [], []
    grow, keep = lenet_stages.admm.ADMM.set_rho, lenet_stages._keep
    monkeypatch.setattr(lenet_stages.admm.ADMM, "set_rho", lambda split, rho: seen.append(rho) or grow(split, rho))
    monkeypatch.setattr(lenet_stages, "_keep", lambda *given: kept.append(given[3]) or keep(*given))
    stage = {"shapes": {"0.W": [5, 12], "2.W": [20, 60]}, "rho": [0.02, 0.32], "every": 1, "learning_rate": 1e-3}
    stage |= {"epochs": 2, "keep": 1000, "score": "magnitude"}
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    lenet_stages.structured_admm(net, stage, Small(), np.random.default_rng(0))  # two epochs of two steps
    np.testing.assert_allclose(seen, [0.02 * 16 ** (k / 4) for k in (1, 2, 3, 4)])
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    lenet_stages.gradual(net, {**stage, "epochs": 5}, Small(), np.random.default_rng(0))
    shares = [1 - min(1, k / 9) for k in range(1, 11)]  # nine tenths of ten steps
    np.testing.assert_allclose(kept, [round(1000 * 430.5 ** (share**1.5)) for share in shares])


def test_admm_pulls_the_weights_towards_its_sets():
    stage = {"shapes": {"0.W": [2, 8], "2.W": [3, 20]}, "keep": 200, "epochs": 40}
    stage |= {"every": 10, "learning_rate": 2e-3}
    for run in (lenet_stages.structured_admm, lenet_stages.sparse_admm):
        moved = []
        for rho in (1e-6, 10.0):
            net = nn.models.lenet5(np.random.default_rng(0), filters=(4, 6), hidden=10, dtype=np.float64)
            _, report = run(net, {**stage, "rho": [rho, rho]}, one_batch(), np.random.default_rng(0))
            moved.append(report["relative"])
        assert moved[1] < 0.95 * moved[0], moved  # ||W - Y|| / ||W|| when it is projected


def test_at_once_as_many_weights_are_on_paths_as_asked_for():
    net = nn.models.lenet5(np.random.default_rng(0), filters=(5, 12), hidden=60, dtype=np.float64)
    stage = {"score": "magnitude", "keep": 300}
    small, report = lenet_stages.sparse_at_once(net, stage, one_batch(), np.random.default_rng(0))
    assert 0.95 * 300 <= masks.counts(small)[0] <= 300 < report["kept"]

    stage = {"keep": 2750, "epochs": 1, "learning_rate": 1e-3}
    net = nn.models.lenet5(np.random.default_rng(0), filters=(10, 24), hidden=120, dtype=np.float64)
    small, report = lenet_stages.whole_at_once(net, stage, one_batch(), np.random.default_rng(0))
    assert 0.9 * 2750 <= masks.counts(small)[0] <= 2750 < report["kept"]


def test_with_validation_no_accuracy_on_the_test_images(folder, records):
    spec = {**records[0]["spec"], "validation": True}
    record = runner.run_one("admm", spec, folder=folder)
    assert "test_accuracy" in records[0]["small"] and "test_accuracy" not in record["small"]
    assert "held out" in lenet_record.line(record) and "test" not in lenet_record.line(record)


def test_an_interrupted_run_goes_on_after_its_last_stage(tmp_path, monkeypatch):
    spec = tiny(admm_lenet5, "conv 110", "admm")
    whole = runner.run_one("admm", spec, folder=tmp_path)
    final = lenet_record.path_of(spec, len(spec["stages"]) - 1, tmp_path)
    kept = checkpoint.load(final)
    final.unlink()
    called = []
    for kind, stage in lenet_stages.STAGES.items():
        monkeypatch.setitem(
            lenet_stages.STAGES, kind, lambda *a, kind=kind, stage=stage: called.append(kind) or stage(*a)
        )
    again = runner.run_one("admm", spec, folder=tmp_path)
    assert called == ["retrain"]
    assert again["small"] == whole["small"]
    for one, other in zip(kept.parameters(), checkpoint.load(final).parameters()):
        assert (one.data == other.data).all()


def test_another_specification_goes_its_own_way(tmp_path):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    changed = {**spec, "stages": [spec["stages"][0], {**spec["stages"][1], "learning_rate": 0.1}]}
    paths = [lenet_record.path_of(each, number, tmp_path) for each in (spec, changed) for number in (0, 1)]
    assert paths[0] == paths[2] and paths[1] != paths[3]
    for name, value in (("teacher", {}), ("seed", 1), ("dense", {}), ("start", {})):
        assert lenet_record.path_of({**spec, name: value}, 0, tmp_path) != paths[0]


def test_a_run_that_diverges_says_so(tmp_path):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    spec["stages"][-1]["learning_rate"] = 1e30
    with np.errstate(all="ignore"):
        record = runner.run_one("admm", spec)
    assert record["diverged"].startswith("the training loss became") and record["small"] is None
    assert record["diverged"] in lenet_record.line(record)


def test_a_bank_has_the_images_first_and_the_teachers_logits(folder, records):
    (spec,) = [r["spec"] for r in records if (r["spec"]["row"], r["spec"]["method"]) == ("whole 2750", "groups")]
    copies = bank.bank(spec["teacher"], None, folder)
    (x, t), _ = train.parts(spec["dense"], None)
    assert copies.images.shape == (3, 40, 784) and copies.images.dtype == np.uint8
    assert np.max(np.abs(copies.images[0].T.reshape(*SHAPE, 40) / 255 - x)) <= 0.5 / 255 + 1e-6
    assert not (copies.images[1] == copies.images[0]).all()
    nets = [bank.teacher(spec["teacher"], None, folder), train.trained(spec["dense"], None, False, folder)[0]]
    pixels = (copies.images[1].T.reshape(*SHAPE, 40) / np.float32(255)).astype(np.float32)
    logits = 2 / 3 * nets[0].forward(pixels) + 1 / 3 * nets[1].forward(pixels)
    assert np.max(np.abs(copies.logits[1] - logits)) < 0.01
    drawn, (labels, taught) = copies.draw(np.random.default_rng(0))
    chosen = np.random.default_rng(0).integers(0, 3, 40)
    for n in range(40):
        assert (np.rint(255 * drawn[..., n]).reshape(-1) == copies.images[chosen[n], n]).all()
        assert (taught[:, n] == copies.logits[chosen[n], :, n]).all()
    assert (labels == t).all()


def test_the_copies_are_the_warped_images_and_the_logits_those_of_their_bytes(monkeypatch):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    (x, _), _ = train.parts(spec["dense"], None)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(784, 10, np.random.default_rng(0), dtype=np.float32)) for _ in "ab"]
    for first, net in zip((300, 500), nets):  # logit k is pixel 300 + k, pixel 500 + k
        net.layers[1].W.data = np.eye(10, 784, first, dtype=np.float32)
    monkeypatch.setattr(bank, "teacher", lambda *given: nets[0])
    monkeypatch.setattr(train, "trained", lambda *given: (nets[1], {}))
    copies = bank.bank(spec, None, None)
    rng = np.random.default_rng([0, 2])
    for number in range(3):
        warped = affine(x, rng, rotation=8.0, scale=0.08, shear=0.08, shift=1.2) if number else x
        np.testing.assert_array_equal(copies.images[number], np.rint(255 * warped).astype(np.uint8).reshape(784, 40).T)
    pixels = copies.images.astype(float) / 255
    logits = 2 / 3 * pixels[..., 300:310] + 1 / 3 * pixels[..., 500:510]
    # Half a unit of float16, and float32's rounding; the images before they are rounded are up to 1/510 away.
    np.testing.assert_allclose(copies.logits.transpose(0, 2, 1), logits, rtol=2.0**-11 * 1.001, atol=1e-7)


def test_the_teacher_sees_affine_copies_along_a_cosine(monkeypatch):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    ranges = {"rotation": 3.0, "scale": 0.02, "shear": 0.03, "shift": 1.0}
    spec = {**spec, "teacher": {"epochs": 2, "affine": ranges}}
    seen, runs, run = [], [], nn.training.train
    monkeypatch.setattr(
        bank, "affine", lambda x, rng, **given: seen.append((x.shape[-1], given)) or affine(x, rng, **given)
    )
    monkeypatch.setattr(nn.training, "train", lambda *given, **named: runs.append(run(*given, **named)))
    bank.teacher(spec, None, None)
    assert seen == 4 * [(20, ranges)]  # two epochs of two batches
    (history,) = runs
    np.testing.assert_allclose([epoch["learning_rate"] for epoch in history], [0.05, 0.025], rtol=1e-15)


def test_a_bank_of_other_images_is_refused(tmp_path):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    path = tmp_path / f"bank-{bank.digest(spec)}.npz"
    np.savez(path, images=np.zeros((3, 7, 784)), logits=np.zeros((3, 10, 7)))
    with pytest.raises(ValueError, match=r"holds \(3, 7\) copies and images, expected \(3, 40\); move the file away"):
        bank.bank(spec, None, tmp_path)
    np.savez(path, images=np.zeros((3, 40, 784), np.uint8), logits=np.zeros((3, 10, 40)))
    with pytest.raises(ValueError, match=r"is the bank of other images; move the file away"):
        bank.bank(spec, None, tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b"logits", b"digits")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bank-\w+\.npz is no bank that can be read .*; move the file away"):
            bank.bank(spec, None, tmp_path)


def test_figures(records, tmp_path):
    for module in (admm_lenet5, lenet_record):
        for path in module.draw(records, tmp_path):
            assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="admm is LeNet-5 on MNIST on the CPU: expected --data mnist, got"):
        admm_lenet5.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        lenet_record.specs("mnist", [-1], "cpu")


def test_a_stage_that_cannot_be_is_refused(tmp_path):
    spec = tiny(admm_lenet5, "conv 650", "at once")
    for change, message in (
        ({"kind": "prune"}, "expected a stage of the kind structured admm, .*; got 'prune'"),
        ({"every": 0}, "expected a positive rho, every so many steps"),
        ({"rho": [0.1, -0.3]}, "expected a positive rho, every so many steps"),
        ({"shapes": {"0.W": [21, 10], "2.W": [15, 40]}}, "0.W has 20 filters and 25 columns.*; got 0.W: 21, 10"),
        ({"shapes": {"0.W": [5, 0], "2.W": [15, 40]}}, "got 0.W: 5, 0"),
        ({"shapes": {"9.W": [5, 10]}}, "got 9.W: 5, 10"),
    ):
        stages = [spec["stages"][0] | change, *spec["stages"][1:]]
        with pytest.raises(ValueError, match=message):
            runner.run_one("admm", {**spec, "stages": stages}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    with pytest.raises(ValueError, match=r"expected shapes of 0\.W and 2\.W, got 2\.W, 0\.W"):
        lenet_stages.conv_sets(net, {"2.W": [15, 40], "0.W": [5, 10]})


def test_a_budget_above_the_net_or_below_its_layers_is_refused():
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float64)
    for kind in ("gradual", "sparse at once", "whole", "whole at once", "sparse admm"):
        for keep in (3, 430501):
            stage = {"kind": kind, "keep": keep, "epochs": 0, "every": 1, "score": "magnitude", "warm_up": 0}
            stage |= {"learning_rate": 1e-3, "rho": [1, 1]}
            if kind == "whole at once":
                stage["epochs"] = 1
            with pytest.raises(ValueError, match=f"expected to keep 4 to 430500 weights.* got {keep}"):
                lenet_stages.STAGES[kind](net, stage, Small(), np.random.default_rng(0))
