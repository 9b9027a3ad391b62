import json

import numpy as np
import pytest

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
    assert again.decayed == set(loaded.parameters()[1:3])
    every = nn.SGD(net.parameters(), 0.1)
    checkpoint.restore(path, net, every, rng)
    assert every.decayed == optimizer.decayed
    few, before = nn.SGD(net.parameters()[:2], 0.1), nn.gradcheck.flat(net)
    optimizer.state = [{} for _ in optimizer.state]
    checkpoint.save(path, net, optimizer, rng.bit_generator.state, RUN)
    with pytest.raises(ValueError, match=r"names decayed parameters that the optimizer does not have: \[1, 2\]"):
        checkpoint.restore(path, net, few, rng)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    assert few.decayed == set(net.parameters()[:2])


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
