"""Rows and columns deleted by price, against a plain search, and taken out exactly."""

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn.gradcheck import relative_error
from pruning import masks, surgery
from pruning.pipeline.rows_and_columns import Groups

NAMES = ["0.W", "2.W", "5.W"]
# Which weight reads the rows, each by so many columns side by side.
READS = {"0.W": ("2.W", 25), "2.W": ("5.W", 1), "5.W": ("7.W", 1)}


@pytest.fixture
def observed():
    rng = np.random.default_rng(0)
    net = nn.models.lenet5(rng, size=16, filters=(3, 4), hidden=5)
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    groups = Groups(net, NAMES, NAMES, memory=0.8)
    x, t = rng.random((1, 16, 16, 6)), rng.integers(0, 10, 6)
    for part in (slice(0, 3), slice(3, 6)):
        sweep(net, x[..., part], t[part])
        groups.observe()
    return net, groups, x, t


def sweep(net, x, t):
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())


def test_the_running_mean_by_hand(observed):
    net, groups, x, t = observed
    W = net.layers[2].W
    squares = []
    for part in (slice(0, 3), slice(3, 6)):
        sweep(net, x[..., part], t[part])
        squares.append((W.data * W.grad).reshape(4, -1).sum(axis=0) ** 2)
    assert relative_error(groups.means["column", "2.W"], 0.8 * squares[0] + 0.2 * squares[1]) < 1e-12


def test_the_first_group_is_the_cheapest_of_all_by_a_plain_search(observed):
    net, groups, _, _ = observed
    shapes = {name: W.data.reshape(len(W.data), -1).shape for name, W in masks.prunable(net).items()}
    prices = {}
    for (kind, name), means in groups.means.items():
        rows, columns = shapes[name]
        for k, mean in enumerate(means):
            reader, width = READS[name]
            freed = rows if kind == "column" else columns + width * shapes[reader][0]
            prices[kind, name, k] = mean / freed
    kind, name, k = min(prices, key=prices.get)
    before = groups.left()
    assert before == sum(rows * columns for rows, columns in shapes.values())
    groups.delete(before - 1)
    changed = {key for key in shapes if (masks.prunable(net)[key].data == 0).any()}
    keep = groups.keep[name]
    assert not (keep[:, k] if kind == "column" else keep[k]).any()
    assert changed == ({name} if kind == "column" else {name, READS[name][0]})


def places(kind, name, k, shapes):
    """All (weight, row, column) that go with a group."""
    rows, columns = shapes[name]
    if kind == "column":
        return {(name, row, k) for row in range(rows)}
    reader, width = READS[name]
    read = {(reader, row, width * k + i) for row in range(shapes[reader][0]) for i in range(width)}
    return {(name, k, column) for column in range(columns)} | read


def delete_by_a_plain_search(alive, groups, means, budget):
    """Take out of `alive`, a set of places, the group of least mean over number of its living places, and again."""
    while len(alive) > budget:
        prices = {}
        for (kind, name, k), group in groups.items():
            others = {place["row column".split().index(kind) + 1] for place in alive if place[0] == name}
            if k in others and len(others) > 1:
                prices[kind, name, k] = means[kind, name][k] / len(group & alive)
        alive -= groups[min(prices, key=prices.get)]


def test_many_groups_in_sequence_by_a_plain_search(observed):
    net, groups, _, _ = observed
    matrices = {name: W.data.reshape(len(W.data), -1) for name, W in masks.prunable(net).items()}
    shapes = {name: W.shape for name, W in matrices.items()}
    alive = {(name, i, j) for name, W in matrices.items() for i, j in np.argwhere(W).tolist()}
    all_groups = {(*key, k): places(*key, k, shapes) for key, means in groups.means.items() for k in range(len(means))}
    for budget in (420, 300, 200, 100):
        delete_by_a_plain_search(alive, all_groups, groups.means, budget)
        groups.delete(budget)
        kept = {(name, i, j) for name, keep in groups.keep.items() for i, j in np.argwhere(keep).tolist()}
        assert kept == alive


def test_of_groups_that_cost_the_same_the_one_that_frees_most_goes_first(observed):
    _, groups, _, _ = observed
    groups.means = {key: np.ones_like(means) for key, means in groups.means.items()}
    groups.delete(groups.left() - 1)  # a map of the first convolution, with 25 + 25 * 4 weights
    assert groups.keep["0.W"].any(axis=1).tolist() == [False, True, True]
    assert groups.keep["2.W"].reshape(4, 3, 25).any(axis=(0, 2)).tolist() == [False, True, True]
    assert groups.keep["5.W"].all() and groups.keep["7.W"].all()


def test_nothing_goes_where_the_budget_is_kept(observed):
    _, groups, _, _ = observed
    groups.delete(300)
    left = groups.left()
    groups.delete(left)
    assert groups.left() == left


def test_a_weight_that_is_zero_is_gone_already(observed):
    net, _, _, _ = observed
    net.layers[5].W.data[2] = 0
    net.layers[2].W.data[1, :, 0, 0] = 0
    groups = Groups(net, NAMES, NAMES)
    assert groups.left() == sum(np.count_nonzero(W.data) for W in masks.prunable(net).values())
    assert groups._freed("row", "2.W").tolist() == [75 + 4, 72 + 4, 75 + 4, 75 + 4]
    assert groups._freed("column", "2.W").tolist() == 3 * [3, *24 * [4]]


def test_a_row_frees_what_reads_it_too(observed):
    _, groups, _, _ = observed
    # Conv 2 reads a map by 25 columns of 4 filters, fc1 one of 1 x 1 by a column of 5 units, fc2 a unit by 10.
    assert groups._freed("row", "0.W").tolist() == [25 + 25 * 4] * 3
    assert groups._freed("row", "2.W").tolist() == [75 + 5] * 4
    assert groups._freed("row", "5.W").tolist() == [4 + 10] * 5
    assert groups._freed("column", "2.W").tolist() == [4] * 75


def test_what_was_deleted_is_masked_and_comes_out_exactly(observed):
    net, groups, x, _ = observed
    groups.delete(150)
    left, _ = masks.counts(net)
    assert left == groups.left() <= 150
    assert left == sum(np.count_nonzero(W.data) for W in masks.prunable(net).values())
    small = surgery.remove_unused_paths(net, (1, 16, 16))
    assert sum(W.data.size for W in small.parameters()) < sum(W.data.size for W in net.parameters())
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12
    row = int(np.flatnonzero(~groups.keep["5.W"].any(axis=1))[0])
    assert net.layers[5].b.data[row] == 0 and not net.layers[7].W.data[:, row].any()


def test_every_layer_keeps_a_row_and_a_column(observed):
    net, groups, _, _ = observed
    groups.delete(1)
    for name in NAMES:
        assert groups.keep[name].any()
    assert groups.left() > 1


def test_masks_that_were_there_stay(observed):
    net, _, x, t = observed
    mask = np.ones_like(net.layers[5].W.data)
    mask[2] = 0
    masks.apply(net, {"5.W": mask})
    groups = Groups(net, NAMES, [])
    sweep(net, x, t)
    groups.observe()
    assert groups.left() == sum(W.data.size for W in masks.prunable(net).values()) - mask[2].size
    groups.delete(groups.left() - 1)
    assert not net.layers[5].W.data[2].any()


def test_bad_input_is_one_sentence(observed):
    net, _, _, _ = observed
    with pytest.raises(ValueError, match=r"the rows of 7\.W are the outputs of the net"):
        Groups(net, ["7.W"], [])
    with pytest.raises(ValueError, match=r"the net has no parameter 1\.W"):
        Groups(net, ["1.W"], [])
    with pytest.raises(ValueError, match=r"a memory in \[0, 1\), got 1"):
        Groups(net, NAMES, [], memory=1)
    with pytest.raises(ValueError, match="expected at least one backward sweep to be observed"):
        Groups(net, NAMES, []).delete(10)
    rng = np.random.default_rng(0)
    for layer, what in (
        (nn.Conv2d(2, 2, 3, rng, groups=2), "a grouped convolution"),
        (nn.BatchNorm(2), "BatchNorm"),
        (nn.Residual(nn.Linear(2, 2, rng)), "Residual"),
        (nn.Concat(nn.Linear(2, 2, rng)), "Concat"),
    ):
        with pytest.raises(ValueError, match=f"in plain nets only, and this one has {what}"):
            Groups(nn.Sequential(nn.Linear(3, 2, rng), layer, nn.Linear(2, 4, rng)), ["0.W"], [])


RUN = """
from pruning import schedules
from pruning.pipeline.rows_and_columns import Groups

rng = np.random.default_rng(0)
layers = [nn.Conv2d(1, 6, 3, rng, dtype=np.float32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
layers += [nn.Linear(54, 12, rng, dtype=np.float32), nn.ReLU(), nn.Linear(12, 10, rng, dtype=np.float32)]
net = nn.Sequential(*layers)
x, t = (each[..., :200] for each in nn.data.load("digits", dtype=np.float32).train)
budget = lambda step: None if step % 3 else schedules.weights_left(822, 200, min(1.0, step / 150))
groups = Groups(net, ["0.W", "4.W"], ["0.W", "4.W"], budget=budget)
nn.training.train(net, nn.SoftmaxCrossEntropy(), nn.Adam(net.parameters(), 2e-3), x, t, epochs=22, batch_size=20,
                  rng=rng, companions=[groups], checkpoint_path=path, checkpoint_every=1, progress=False)
"""


@pytest.mark.slow
def test_a_gradual_run_killed_ten_times_ends_in_the_same_bits(tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN, tmp_path)
    left = masks.counts(nn.checkpoint.load(tmp_path / "reference.npz"))[0]
    assert 150 < left <= 200  # so the deletion went on to its end, in the run with ten lives too


def test_as_a_companion_it_does_what_the_calls_by_hand_do():
    def run(by_hand):
        rng = np.random.default_rng(0)
        net = nn.Sequential(nn.Linear(6, 5, rng), nn.Tanh(), nn.Linear(5, 4, rng), nn.Tanh(), nn.Linear(4, 3, rng))
        x, t = rng.standard_normal((6, 9)), rng.integers(0, 3, 9)
        budget = {2: 50, 4: 40, 5: 30}.get
        groups = Groups(net, ["0.W", "2.W"], ["0.W"], budget=None if by_hand else budget)
        optimizer, loss = nn.SGD(net.parameters(), 0.1, 0.9), nn.SoftmaxCrossEntropy()
        for step in range(1, 8):
            if not by_hand:
                nn.training.training_step(net, loss, optimizer, x, t, [groups])
                continue
            sweep(net, x, t)
            groups.observe()
            optimizer.step()
            if budget(step) is not None:
                groups.delete(budget(step))
        return net, groups

    (net, groups), (other, same) = run(False), run(True)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), nn.gradcheck.flat(other))
    assert groups.left() == same.left() <= 30
    assert all(np.array_equal(mean, same.means[key]) for key, mean in groups.means.items())


def test_a_state_that_does_not_fit_is_refused_and_one_that_does_is_taken(observed):
    net, groups, x, t = observed
    groups.delete(300)
    good = groups.state()
    assert len(good) == 6 + 4
    other = Groups(nn.models.lenet5(np.random.default_rng(1), size=16, filters=(3, 4), hidden=5), NAMES, NAMES, 0.8)
    wrong = [
        ({}, "expected the state of keep/0.W, .*, got that of nothing"),
        ({key: value for key, value in good.items() if key != "keep/0.W"}, "expected the state of keep/0.W"),
        (good | {"mean/row/9.W": np.ones(3)}, r"got that of .*mean/row/9\.W"),
        (good | {"keep/0.W": good["keep/0.W"][1:]}, r"expected keep/0\.W of bool \(3, 25\), got bool \(2, 25\)"),
        (good | {"keep/0.W": good["keep/0.W"] * 1.0}, r"expected keep/0\.W of bool \(3, 25\), got float64"),
        (good | {"mean/row/0.W": np.ones(2)}, r"expected mean/row/0\.W of float64 \(3,\), got float64 \(2,\)"),
        (good | {"mean/column/0.W": -np.ones(25)}, r"numbers of 0 or more in mean/column/0\.W"),
        (good | {"mean/column/0.W": np.full(25, np.nan)}, r"finite numbers of 0 or more in mean/column/0\.W"),
        (good | {"mean/column/0.W": 3}, r"expected mean/column/0\.W of float64 \(25,\), got 3"),
    ]
    for state, message in wrong:
        with pytest.raises(ValueError, match=message):
            other.load(state)
        assert other.means == {} and all(keep.all() for keep in other.keep.values())
    other.load(Groups(net, NAMES, NAMES).state())  # of a run that made no step yet
    assert other.means == {}
    other.load(good)
    assert other.left() == groups.left()
    sweep(net, x, t)
    groups.observe()
    groups.delete(200)
    assert other.left() != groups.left()  # what was handed over is a copy
    other.net = net  # the running means go on where they stood
    sweep(net, x, t)
    groups.load(good)
    for each in (groups, other):
        each.observe()
    assert all(np.array_equal(mean, other.means[key]) for key, mean in groups.means.items())


def test_numbers_and_names_that_are_none(observed):
    net, groups, _, _ = observed
    for budget in (float("nan"), 10.5, -1):
        with pytest.raises(ValueError, match="whole budget of weights of at least 0, got "):
            groups.delete(budget)
    with pytest.raises(TypeError, match="a number for the memory"):
        Groups(net, NAMES, [], memory="long")
    with pytest.raises(ValueError, match=r"a list of names, got the string '0\.W'"):
        Groups(net, "0.W", [])
    assert Groups(net, iter(NAMES), iter(NAMES)).columns == NAMES
    assert type(Groups(net, NAMES, [], memory=np.float32(0.5)).memory) is float
