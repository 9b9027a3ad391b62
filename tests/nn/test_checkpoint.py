import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cases import everything

import nn
from nn import checkpoint

RUN = {"epoch": 0, "step": 0, "epoch_loss": 0.0, "history": []}


def trained(make=lambda p: nn.SGD(p, 0.1, momentum=0.9)):
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(3, 5, rng, dtype=np.float32),
        nn.Sequential(nn.ScaledTanh(), nn.Linear(5, 4, rng, bias=False, dtype=np.float32)),
    )
    net.parameters()[0].mask = np.tile(np.float32([1, 0, 1]), (5, 1))
    x, t = rng.standard_normal((3, 6)).astype(np.float32), rng.integers(0, 4, 6)
    optimizer = make(net.parameters())
    for _ in range(3):
        nn.training.training_step(net, nn.SoftmaxCrossEntropy(), optimizer, x, t)
    return net, optimizer, x, rng


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.1, momentum=0.9), lambda p: nn.Adam(p, 0.01, betas=(0.8, 0.9))])
def test_round_trip(tmp_path, make):
    net, optimizer, x, rng = trained(make)
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    loaded = checkpoint.load(path)
    np.testing.assert_array_equal(loaded.forward(x), net.forward(x))
    assert not loaded.training
    for (name, p), (other, q) in zip(loaded.named_parameters(), net.named_parameters()):
        assert name == other and p.dtype == q.dtype
        np.testing.assert_array_equal(p.data, q.data)
        np.testing.assert_array_equal(p.mask, q.mask)
    again = type(optimizer)(loaded.parameters(), 0.5)
    checkpoint.restore(path, loaded, again, np.random.default_rng(5))
    assert (type(again), again.config(), again.steps) == (type(optimizer), optimizer.config(), optimizer.steps)
    for a, b in zip(again.state, optimizer.state):
        assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_the_parameters_that_decay_are_remembered(tmp_path):
    net, optimizer, _, rng = trained(lambda p: nn.SGD(p, 0.1, momentum=0.9, weight_decay=0.01, decayed=p[1:3]))
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    loaded = checkpoint.load(path)
    again = nn.SGD(loaded.parameters(), 0.1)
    checkpoint.restore(path, loaded, again, np.random.default_rng(5))
    assert set(again.decayed) == set(loaded.parameters()[1:3])
    every = nn.SGD(net.parameters(), 0.1)
    checkpoint.restore(path, net, every, rng)
    assert every.decayed == optimizer.decayed
    few, before = nn.SGD(net.parameters()[:2], 0.1), nn.gradcheck.flat(net)
    optimizer.state = [{} for _ in optimizer.state]
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    with pytest.raises(ValueError, match=r"names, as decayed, parameters that the optimizer does not have: {'1': 1"):
        checkpoint.restore(path, net, few, rng)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    assert set(few.decayed) == set(net.parameters()[:2])


def test_groups_of_rates_and_decays_are_remembered_and_older_files_have_none(tmp_path):
    def make(p):
        return nn.Adam(p, 0.01, weight_decay=0.1, decayed={p[0]: 0.5, p[2]: 2.0}, rates={p[1]: 10})

    net, optimizer, x, rng = trained(make)
    path, t = tmp_path / "net.npz", np.arange(6) % 4
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    loaded = checkpoint.load(path)
    again = nn.Adam(loaded.parameters(), 0.5, rates={loaded.parameters()[2]: 3})
    checkpoint.restore(path, loaded, again, np.random.default_rng(5))
    p, (u, v, w) = loaded.parameters(), net.parameters()
    assert again.decayed == {p[0]: 0.5, p[2]: 2.0} and again.rates == {p[1]: 10.0}
    assert optimizer.decayed == {u: 0.5, w: 2.0} and optimizer.rates == {v: 10.0}
    for each, moved in ((net, optimizer), (loaded.train(), again)):
        nn.training.training_step(each, nn.SoftmaxCrossEntropy(), moved, x, t)
    np.testing.assert_array_equal(nn.gradcheck.flat(loaded), nn.gradcheck.flat(net))

    def older(header, arrays):  # a list of those that decay, and no rates
        header["optimizer"].pop("rates")
        header["optimizer"]["decayed"] = [0, 2]

    changed(path, older)
    checkpoint.restore(path, loaded, again, np.random.default_rng(5))
    assert again.decayed == {p[0]: 1.0, p[2]: 1.0} and again.rates == {}


def test_fortran_order_and_views_keep_their_values(tmp_path):
    net, _, x, _ = trained()
    W = net.parameters()[0]
    W.data = np.asfortranarray(W.data)
    checkpoint.save(tmp_path / "net.npz", net)
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "net.npz").parameters()[0].data, W.data)


def test_restore_changes_nothing_unless_everything_fits(tmp_path):
    net, optimizer, _, rng = trained()
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    other = nn.models.mlp((3, 7, 4), np.random.default_rng(1), dtype=np.float32)
    before = nn.gradcheck.flat(other)
    with pytest.raises(ValueError, match="another architecture"):
        checkpoint.restore(path, other, nn.SGD(other.parameters(), 0.1), np.random.default_rng(0))
    np.testing.assert_array_equal(nn.gradcheck.flat(other), before)
    with pytest.raises(ValueError, match="holds SGD, expected Adam"):
        checkpoint.restore(path, net, nn.Adam(net.parameters()), rng)
    with pytest.raises(ValueError, match="random generator Philox"):
        checkpoint.restore(path, net, optimizer, np.random.Generator(np.random.Philox(0)))
    before = nn.gradcheck.flat(net)
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, {"epoch": 3})
    with pytest.raises(ValueError, match=r"no run of nn\.training\.train to go on with"):
        checkpoint.restore(path, net, optimizer, rng)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    checkpoint.save(path, net)
    with pytest.raises(ValueError, match="holds no optimizer, expected SGD"):
        checkpoint.restore(path, net, optimizer, rng)


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 half a zip file"])
def test_garbage_is_refused(tmp_path, content):
    path = tmp_path / "net.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net.npz is no checkpoint of this project, or is damaged") as error:
        checkpoint.load(path)
    assert "pickle" not in str(error.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = tmp_path / "net.npz"
    checkpoint.save(path, trained()[0])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="is no checkpoint of this project, or is damaged"):
        checkpoint.load(path)


def rewrite(path, change):
    """Save a good checkpoint with its header (a dict) and arrays changed."""
    checkpoint.save(path, trained()[0])
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays["header"]))
    change(header, arrays)
    arrays["header"] = np.array(json.dumps(header))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, a: h.update(version=99), "format version 99, expected 2 or 3"),
        (
            lambda h, a: h.update(format="other"),
            r"no checkpoint of this project, or is damaged \(its format is 'other'\)",
        ),
        (lambda h, a: h.pop("architecture"), r"damaged \(its header lacks architecture\)"),
        (lambda h, a: h.update(architecture=None), "describes no net that can be built"),
        (lambda h, a: h["architecture"].pop("children"), "describes no net that can be built"),
        (
            lambda h, a: h["architecture"]["children"][1]["arguments"].update(foo=1),
            "describes no net that can be built",
        ),
        (lambda h, a: a.update({"data/1.W": a["data/1.W"].astype(int)}), "do not fit its architecture: data/1.W"),
        (lambda h, a: a.update({"data/1.W": a["data/1.W"].astype(str)}), "do not fit its architecture: data/1.W"),
        (lambda h, a: h["architecture"].update({"class": "system"}), "names the layer 'system', expected one of"),
        (lambda h, a: a.update({"data/1.W": a["data/1.W"].T}), r"do not fit its architecture: data/1.W"),
        (lambda h, a: a.pop("data/1.W"), r"do not fit its architecture: data/1.W"),
        (lambda h, a: a.update({"data/9.W": a["data/1.W"]}), r"do not fit its architecture: data/9.W"),
        (lambda h, a: a.update({"mask/1.W": np.ones(3)}), r"do not fit its architecture: mask/1.W"),
        (
            lambda h, a: a.update({"data/1.W": np.array([{}], dtype=object)}),
            "no checkpoint of this project, or is damaged",
        ),
    ],
)
def test_foreign_content_is_refused(tmp_path, change, message):
    rewrite(tmp_path / "net.npz", change)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "net.npz")


@pytest.mark.parametrize("key", ["optimizer/x/velocity", "optimizer/-1/velocity", "optimizer/9/velocity"])
def test_a_foreign_optimizer_state_is_refused(tmp_path, key):
    net, optimizer, _, rng = trained()
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **arrays, **{key: np.ones(3)})
    with pytest.raises(ValueError, match="optimizer state that fits no parameter"):
        checkpoint.restore(path, net, optimizer, rng)


def test_a_layer_that_could_not_be_built_again_is_not_saved(tmp_path):
    class Swish(nn.Activation):
        pass

    with pytest.raises(
        ValueError, match=r"live in nn or pruning can be saved .*, got a Swish at 0 that lives in .*test_"
    ):
        checkpoint.save(tmp_path / "net.npz", nn.Sequential(Swish()))
    assert not (tmp_path / "net.npz").exists()


def test_an_npz_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "net.npz", a=np.ones(3))
    with pytest.raises(ValueError, match="no checkpoint of this project"):
        checkpoint.load(tmp_path / "net.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*net.npz"):
        checkpoint.load(tmp_path / "net.npz")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    net = trained()[0]
    path = tmp_path / "net.npz"
    checkpoint.save(path, net)
    old = path.read_bytes()

    def full_disk(*args, **kwargs):
        args[0].write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, net)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_progress_can_be_read_alone(tmp_path):
    net = nn.models.mlp((4, 3, 2), np.random.default_rng(0))
    for progress, expected in (({"epoch": 3}, {"epoch": 3}), (None, {})):
        checkpoint.save(tmp_path / "net.npz", net, progress=progress)
        assert checkpoint.load_progress(tmp_path / "net.npz") == expected
    with pytest.raises(FileNotFoundError):
        checkpoint.load_progress(tmp_path / "none.npz")


def header_of(path):
    with np.load(path) as file:
        return json.loads(str(file["header"]))


def changed(path, change):
    """Change header (a dict) and arrays of the file at `path`."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays["header"]))
    change(header, arrays)
    arrays["header"] = np.array(json.dumps(header))
    np.savez(path, **arrays)


def to_version_2(header, arrays):
    header["version"], header["dropout"] = 2, header.pop("generators")
    del header["companions"], header["optimizer"]["parameters"]


def test_files_of_version_2_load_and_go_on(tmp_path):
    net, optimizer, x, rng = trained()
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    changed(path, to_version_2)
    assert header_of(path)["version"] == 2
    np.testing.assert_array_equal(checkpoint.load(path).forward(x), net.forward(x))
    other = copy.deepcopy(net)
    for parameter in other.parameters():
        parameter.data = 0 * parameter.data
    again, twin = nn.SGD(other.parameters(), 0.5), np.random.default_rng(3)
    assert checkpoint.restore(path, other, again, twin) == RUN
    np.testing.assert_array_equal(nn.gradcheck.flat(other), nn.gradcheck.flat(net))
    assert again.config() == optimizer.config() and twin.bit_generator.state == rng.bit_generator.state
    with pytest.raises(ValueError, match="holds a run with other companions: none in the file and Companion here"):
        checkpoint.restore(path, other, again, twin, [nn.Companion()])


def test_a_run_of_version_2_with_dropout_goes_on_to_the_bit(tmp_path):
    def setup():
        rng = np.random.default_rng(5)
        net = nn.Sequential(nn.Linear(3, 6, rng), nn.Dropout(0.5, np.random.default_rng(6)), nn.Linear(6, 4, rng))
        x, t = rng.standard_normal((3, 12)), rng.integers(0, 4, 12)
        optimizer = nn.SGD(net.parameters(), 0.1, 0.9)
        return net, (net, nn.SoftmaxCrossEntropy(), optimizer, x, t), np.random.default_rng(1)

    path, settings = tmp_path / "run.npz", {"batch_size": 4, "progress": False}
    net, arguments, rng = setup()
    nn.training.train(*arguments, epochs=4, rng=rng, **settings)
    _, arguments, rng = setup()
    nn.training.train(*arguments, epochs=2, rng=rng, checkpoint_path=path, **settings)
    changed(path, to_version_2)
    resumed, arguments, rng = setup()
    nn.training.train(*arguments, epochs=4, rng=rng, checkpoint_path=path, **settings)
    np.testing.assert_array_equal(nn.gradcheck.flat(resumed), nn.gradcheck.flat(net))
    assert header_of(path)["version"] == 3 and [*header_of(path)["generators"]] == ["1.rng"]


def test_a_run_of_version_3_that_names_the_layer_of_a_generator_alone_goes_on_to_the_bit(tmp_path):
    def setup(own):
        net = nn.Sequential(nn.Linear(3, 4, np.random.default_rng(5)), nn.Dropout(0.5, np.random.default_rng(own)))
        return net, nn.SGD(net.parameters(), 0.1), np.random.default_rng(1)

    path = tmp_path / "run.npz"
    net, optimizer, rng = setup(6)
    net.forward(np.ones((3, 5)))
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    changed(path, lambda h, a: h.update(generators={"1.": h["generators"]["1.rng"]}))
    other, optimizer, rng = setup(7)
    checkpoint.restore(path, other, optimizer, rng)
    np.testing.assert_array_equal(other.forward(np.ones((3, 5))), net.forward(np.ones((3, 5))))


def test_the_committed_nets_load():
    for path in (Path(__file__).parents[2] / "notebooks" / "nets").glob("*.npz"):
        assert checkpoint.load(path).output_shape((1, 28, 28)) == (10,)


CORRUPT = {
    "settings: parameters": lambda h, a: h["optimizer"]["settings"].update(parameters=[]),
    "settings: none": lambda h, a: h["optimizer"].update(settings=None),
    "settings: missing": lambda h, a: h["optimizer"]["settings"].pop("momentum"),
    "rate: NaN": lambda h, a: h["optimizer"]["settings"].update(learning_rate=float("nan")),
    "rate: text": lambda h, a: h["optimizer"]["settings"].update(learning_rate="0.1"),
    "momentum: 2": lambda h, a: h["optimizer"]["settings"].update(momentum=2),
    "steps: -1": lambda h, a: h["optimizer"].update(steps=-1),
    "steps: half": lambda h, a: h["optimizer"].update(steps=1.5),
    "parameters": lambda h, a: h["optimizer"]["parameters"].reverse(),
    "decayed": lambda h, a: h["optimizer"].update(decayed=[77]),
    "decayed: text": lambda h, a: h["optimizer"].update(decayed="all"),
    "decayed: -1": lambda h, a: h["optimizer"].update(decayed={"0": -1.0}),
    "rates": lambda h, a: h["optimizer"].update(rates={"77": 2.0}),
    "rates: text": lambda h, a: h["optimizer"].update(rates={"0": "2"}),
    "rates: none": lambda h, a: h["optimizer"].update(rates=None),
    "memory": lambda h, a: a.update({"optimizer/0/square": a["optimizer/0/velocity"]}),
    "memory: NaN": lambda h, a: a["optimizer/0/velocity"].fill(np.nan),
    "rng: none": lambda h, a: h.update(rng=None),
    "rng: text": lambda h, a: h.update(rng="PCG64"),
    "rng: kind": lambda h, a: h["rng"].update(bit_generator="MT19937"),
    "rng: state": lambda h, a: h["rng"].update(state={"state": "x", "inc": 1}),
    "rng: huge": lambda h, a: h["rng"]["state"].update(state=2**200),
    "generators: none": lambda h, a: h.update(generators={}),
    "generators: other": lambda h, a: h.update(generators={"7.": h["rng"]}),
    "generators: state": lambda h, a: h["generators"].update({"3.": {"bit_generator": "PCG64"}}),
    "progress: epoch": lambda h, a: h["progress"].update(epoch="3"),
    "progress: step": lambda h, a: h["progress"].update(step=-1),
    "progress: loss": lambda h, a: h["progress"].update(epoch_loss=None),
    "progress: history": lambda h, a: h["progress"].update(history={}),
    "progress: loss NaN": lambda h, a: h["progress"].update(epoch_loss=float("nan")),
    "progress: records": lambda h, a: h["progress"].update(history=[1, 2]),
    "progress: list": lambda h, a: h.update(progress=[]),
    "companions: stranger": lambda h, a: h.update(companions=[{"class": "ADMM", "values": {}}]),
    "companions: number": lambda h, a: h.update(companions=[3]),
    "companions: none": lambda h, a: h.update(companions=None),
    "mask": lambda h, a: a.update({"mask/0.W": 0.5 * a["mask/0.W"]}),
    "mask: NaN": lambda h, a: a.update({"mask/0.W": np.nan * a["mask/0.W"]}),
    "weights: NaN": lambda h, a: a.update({"data/0.W": np.nan * a["data/0.W"]}),
    "weights: inf": lambda h, a: a.update({"data/0.W": np.full((5, 3), np.inf)}),
    "variance": lambda h, a: a.update({"buffer/1.running_variance": -a["buffer/1.running_variance"]}),
    "mean": lambda h, a: a.update({"buffer/1.running_mean": np.nan * a["buffer/1.running_mean"]}),
    "fewer layers": lambda h, a: h["architecture"]["children"].pop(),
    "no architecture": lambda h, a: h.update(architecture=None),
    "architecture": lambda h, a: h["architecture"].update(children=None),
}


@pytest.mark.parametrize("change", CORRUPT.values(), ids=CORRUPT)
def test_a_run_that_does_not_fit_changes_nothing_at_all(tmp_path, change):
    def setup(seed):
        rng = np.random.default_rng(seed)
        layers = [nn.Linear(3, 5, rng), nn.BatchNorm(5), nn.ReLU(), nn.Dropout(0.3, rng), nn.Linear(5, 4, rng)]
        net = nn.Sequential(*layers)
        net.layers[0].W.mask = (rng.random((5, 3)) < 0.7) * 1.0
        optimizer = nn.SGD(net.parameters(), 0.1 * seed, 0.9, weight_decay=0.01, decayed=net.parameters()[:seed])
        x, t = rng.standard_normal((3, 6)), rng.integers(0, 4, 6)
        for _ in range(seed):
            nn.training.training_step(net, nn.SoftmaxCrossEntropy(), optimizer, x, t)
        return net, optimizer, rng

    path = tmp_path / "run.npz"
    net, optimizer, rng = setup(2)
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    changed(path, lambda h, a: None)
    other, another, generator = setup(1)
    checkpoint.restore(path, other, another, generator)
    assert everything(other, another, generator) == everything(net, optimizer, rng)
    changed(path, change)
    other, another, generator = setup(1)
    before = everything(other, another, generator)
    with pytest.raises(ValueError, match=r"run\.npz"):
        checkpoint.restore(path, other, another, generator)
    assert everything(other, another, generator) == before


def test_squares_of_adam_that_are_none_are_refused(tmp_path):
    net, optimizer, _, rng = trained(lambda p: nn.Adam(p, 0.01))
    path = tmp_path / "net.npz"
    for value in (-1.0, np.nan):
        checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
        changed(path, lambda h, a: a["optimizer/1/square"].fill(value))  # noqa: B023
        with pytest.raises(ValueError, match="squares of gradients below 0 or NaN: optimizer/1/square"):
            checkpoint.restore(path, net, optimizer, rng)


def test_the_optimizer_of_another_net_is_refused(tmp_path):
    net, optimizer, _, rng = trained()
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    twin = copy.deepcopy(net)
    before = nn.gradcheck.flat(twin)
    for give in (checkpoint.restore, lambda p, n, o, r: checkpoint.save(p, n, o)):
        with pytest.raises(ValueError, match="an optimizer of this net, got one with 3 of 3 parameters of another"):
            give(path, twin, optimizer, rng)
    np.testing.assert_array_equal(nn.gradcheck.flat(twin), before)


@pytest.mark.parametrize("where", ["weight", "mask", "buffer", "variance"])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, where):
    net = nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)), nn.BatchNorm(2))
    W, norm = net.layers[0].W, net.layers[1]
    if where == "weight":
        W.data[0, 0] = np.inf
    elif where == "mask":
        W.mask = np.full((2, 3), 0.5)
    elif where == "buffer":
        norm.running_mean[0] = np.nan
    else:
        norm.running_variance[0] = -1
    name = {"weight": "data/0.W", "mask": "mask/0.W", "buffer": "buffer/1.running_mean"}
    with pytest.raises(ValueError, match=f"in the net to be saved, got .* in {name.get(where, 'buffer/1.running_v')}"):
        checkpoint.save(tmp_path / "net.npz", net)
    assert not (tmp_path / "net.npz").exists()


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_layers_is_said(tmp_path, more):
    rng = np.random.default_rng(0)
    inner = [nn.Tanh(), nn.Linear(3, 3, rng), nn.Tanh()]
    net = nn.Sequential(nn.Flatten(), nn.Sequential(*inner))
    path = tmp_path / "net.npz"
    checkpoint.save(path, net, nn.SGD(net.parameters(), 0.1), rng.bit_generator.state, RUN)
    other = nn.Sequential(nn.Flatten(), nn.Sequential(*inner[: 3 + min(more, 0)], *[nn.ReLU()] * max(more, 0)))
    with pytest.raises(ValueError, match=f"architecture than .*: 1 has 3 layers in the file and {3 + more} here"):
        checkpoint.restore(path, other, nn.SGD(other.parameters(), 0.1), rng)


def layer_of(module, name, **members):
    """A class as if it were defined in this module."""
    return type(name, (nn.Activation,), {"__module__": module, "f": lambda self, a: 2 * a, **members})


def test_layers_of_pruning_are_saved_and_loaded_and_those_of_elsewhere_are_not(tmp_path):
    path, x = tmp_path / "net.npz", np.ones((3, 2))
    Twice = layer_of("pruning.layers.of_a_test", "TwiceInPruning")
    checkpoint.save(path, nn.Sequential(nn.Sequential(Twice())))
    loaded = checkpoint.load(path)
    assert type(loaded.layers[0].layers[0]) is Twice
    np.testing.assert_array_equal(loaded.forward(x), 2 * x)
    for module in ("__main__", "pruning_elsewhere.layers", "mine.nn", "nnn"):
        Elsewhere = layer_of(module, "TwiceElsewhere")
        sentence = rf"got a TwiceElsewhere at 0\.1 that lives in {module}: move its class into a module of pruning"
        with pytest.raises(ValueError, match=sentence):
            checkpoint.save(tmp_path / "other.npz", nn.Sequential(nn.Sequential(nn.Tanh(), Elsewhere())))
        rewrite(tmp_path / "file.npz", lambda h, a: h["architecture"].update({"class": "TwiceElsewhere"}))
        with pytest.raises(ValueError, match="names the layer 'TwiceElsewhere', expected one of"):
            checkpoint.load(tmp_path / "file.npz")
    assert not (tmp_path / "other.npz").exists()


def test_two_classes_of_one_name_are_refused_on_both_ways(tmp_path):
    first = layer_of("pruning.one", "NameOfTwo")
    checkpoint.save(tmp_path / "net.npz", nn.Sequential(first()))
    second = layer_of("nn.other", "NameOfTwo")
    for each in (first, second):
        with pytest.raises(ValueError, match="two layers have the name NameOfTwo"):
            checkpoint.save(tmp_path / "other.npz", nn.Sequential(each()))
    with pytest.raises(ValueError, match=r"names the layer 'NameOfTwo', .* it names two classes"):
        checkpoint.load(tmp_path / "net.npz")


def test_loading_imports_nothing_that_a_file_names(tmp_path):
    rewrite(tmp_path / "net.npz", lambda h, a: h["architecture"].update({"class": "pruning.counts.Counts"}))
    command = f"""
import sys
import nn
before = set(sys.modules)
try:
    nn.checkpoint.load({str(tmp_path / "net.npz")!r})
except ValueError as error:
    print("names the layer 'pruning.counts.Counts'" in str(error), sorted(set(sys.modules) - before))
"""
    printed = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("True") and "pruning" not in printed


def test_arguments_that_json_cannot_hold_are_said_before_anything_is_written(tmp_path):
    Odd = layer_of("pruning.odd", "OddInPruning", config=lambda self: {"a": np.ones(3)})
    with pytest.raises(ValueError, match="the OddInPruning at 0 has arguments that no file can hold"):
        checkpoint.save(tmp_path / "net.npz", nn.Sequential(Odd()))
    assert list(tmp_path.iterdir()) == []


def test_a_layer_of_pruning_with_a_generator_goes_on_to_the_bit(tmp_path):
    class Noise(nn.Module):
        __module__ = "pruning.noise_of_a_test"

        def __init__(self, rng):
            self.rng = rng

        def config(self):
            return {"rng": None}

        def forward(self, x):
            return x + self.rng.standard_normal(x.shape) if self.training else x

        def backward(self, gy):
            return gy

    def setup():
        rng = np.random.default_rng(5)
        net = nn.Sequential(nn.Linear(3, 6, rng), Noise(np.random.default_rng(6)), nn.Linear(6, 4, rng))
        x, t = rng.standard_normal((3, 12)), rng.integers(0, 4, 12)
        return net, (net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1, 0.9), x, t)

    ends = []
    for epochs in ([4], [1, 2, 4]):
        path = tmp_path / f"{len(epochs)}.npz"
        for number in epochs:
            net, arguments = setup()
            nn.training.train(*arguments, epochs=number, rng=np.random.default_rng(1), batch_size=4,
                              checkpoint_path=path, progress=False)  # fmt: skip
        ends.append(nn.gradcheck.flat(net))
    np.testing.assert_array_equal(*ends)
