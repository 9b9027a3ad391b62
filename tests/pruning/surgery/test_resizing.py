"""A net built again: what is copied, what is left behind, and masks that do not fit."""

import re

import numpy as np
import pytest
from random_nets import shortcut_net, small_net

import nn
from nn import gradcheck
from pruning import surgery


def trained(rng):
    """A net in train mode with a mask, after one step of SGD with momentum, and the optimizer."""
    net, loss = small_net(rng).train(), nn.SquaredError()
    net.layers[0].W.mask = (rng.random(net.layers[0].W.shape) < 0.5) * 1.0
    net.layers[4].b.mask = np.ones(4)
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
    nn.training.training_step(net, loss, optimizer, rng.standard_normal((2, 6, 5, 8)), rng.standard_normal((3, 8)))
    return net, optimizer


def test_a_duplicate_has_what_a_checkpoint_has():
    net, optimizer = trained(np.random.default_rng(0))
    net.layers[4].eval()
    again = surgery.duplicate(net)
    assert nn.checkpoint.architecture(again) == nn.checkpoint.architecture(net)
    assert [m.training for m in again.modules()] == [m.training for m in net.modules()]
    for name, theirs in net.named_parameters():
        ours = dict(again.named_parameters())[name]
        np.testing.assert_array_equal(ours.data, theirs.data)
        assert not np.shares_memory(ours.data, theirs.data) and ours.grad is None and theirs.grad is not None
        # ones only are no mask
        assert ours.mask is None if name != "0.W" else np.array_equal(ours.mask, theirs.mask)
    for ours, theirs in zip(again.named_buffers(), net.named_buffers()):
        np.testing.assert_array_equal(ours[1], theirs[1])
    assert again.layers[6].rng is not net.layers[6].rng
    assert again.layers[6].rng.random() == net.layers[6].rng.random()
    assert not hasattr(again.layers[0], "padded") and hasattr(net.layers[0], "padded")  # nothing of a forward pass
    small, moved = surgery.duplicate(net, optimizer)
    assert [id(p) for p in moved.parameters] == [id(p) for p in small.parameters()]
    for ours, theirs in zip(moved.state, optimizer.state):
        assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
    with pytest.raises(
        ValueError, match="expected the optimizer of this net, got one that moves parameters of another"
    ):
        surgery.duplicate(again, optimizer)


SHAPES = [(np.ones((6, 2)), "shape (6, 2)"), (np.ones(6), "shape (6,)"), ([1.0], "a list"), (1.0, "a float")]


@pytest.mark.parametrize(("mask", "given"), SHAPES)
def test_a_mask_that_does_not_fit_is_one_sentence(mask, given):
    """Whatever part of surgery builds the net again, and before it starts."""
    net = small_net(np.random.default_rng(0)).eval()
    before = gradcheck.flat(net)
    net.layers[0].W.mask = mask
    message = f"the mask of 0.W does not fit: expected shape (6, 2, 3, 3), got {given}"
    for cut in (
        lambda: surgery.remove(net, {"4.W": [0, 1]}),
        lambda: surgery.preview(net, {"4.W": [0, 1]}),
        lambda: surgery.remove_columns(net, {"4.W": [0, 1]}),
        lambda: surgery.remove_blocks(net, []),
        lambda: surgery.fold_constants(net, {}, (2, 6, 5)),
        lambda: surgery.fold_batchnorm(net),
        lambda: surgery.remove_unused_paths(net, (2, 6, 5)),
        lambda: surgery.duplicate(net),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            cut()
    np.testing.assert_array_equal(gradcheck.flat(net), before)


def copies(monkeypatch):
    """A list that grows by one with every net that surgery builds."""
    made, build = [], surgery.resizing.Rebuild.__init__
    monkeypatch.setattr(surgery.resizing.Rebuild, "__init__", lambda *a: made.append(1) or build(*a))
    return made


def test_unused_paths_build_a_net_once_a_round(monkeypatch):
    """One round for the silent block, one for the channel that nobody reads; without either, one copy."""
    rng = np.random.default_rng(0)
    net, made = shortcut_net(rng).eval(), copies(monkeypatch)
    same = surgery.remove_unused_paths(net, (2, 6, 5))
    assert len(made) == 1 and same is not net
    net.layers[2].body.layers[2].W.data[:] = 0
    net.layers[4].body.layers[0].W.data[1] = 0
    made.clear()
    small = surgery.remove_unused_paths(net, (2, 6, 5))
    assert len(made) == 2 and isinstance(small.layers[2], nn.Identity) and small.layers[4].body.layers[0].c_out == 2
    assert not any(hasattr(module, "padded") for module in [*net.modules(), *small.modules()])
