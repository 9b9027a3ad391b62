"""The smaller net computes what the masked one computes: outputs, gradients and curvatures."""

import copy
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from random_nets import ACTIVATIONS, BLOCKS, RandomNet

import nn
from nn import gradcheck
from pruning import surgery

TOLERANCE = 1e-12


def tagged(net):
    """A copy in which every number of every parameter is its own place, so that a cut shows what it kept."""
    twin = copy.deepcopy(net)
    for parameter in twin.parameters():
        parameter.data = np.arange(float(parameter.data.size)).reshape(parameter.shape)
    return twin


def kept_numbers(whole, tags, attribute):
    """One vector of those numbers of grad, hess_diag or data that the tagged small net says were kept."""
    arrays = dict(whole.named_parameters())
    pieces = [
        getattr(arrays[name], attribute).ravel()[tag.data.ravel().astype(int)] for name, tag in tags.named_parameters()
    ]
    return np.concatenate(pieces)


def sweep(net, x, t):
    """Both sweeps back, in eval mode."""
    loss = nn.SquaredError()
    loss.forward(net.eval().forward(x), t)
    return net.backward_hessian(loss.backward(), loss.backward_hessian())


def assert_same_net(small, whole, tags, x, t):
    """Outputs, dE/dx and its curvature, and grad and hess_diag of what was kept."""
    assert gradcheck.relative_error(small.eval().forward(x), whole.eval().forward(x)) <= TOLERANCE
    for ours, theirs in zip(sweep(small, x, t), sweep(whole, x, t)):
        assert gradcheck.relative_error(ours, theirs) <= TOLERANCE
    ours = dict(small.named_parameters())
    for attribute in ("grad", "hess_diag"):
        kept = np.concatenate([getattr(ours[name], attribute).ravel() for name, _ in tags.named_parameters()])
        assert gradcheck.relative_error(kept, kept_numbers(whole, tags, attribute)) <= TOLERANCE


def check(built, border, counts):
    """Cut a random net, compare it with its masked twin, and count what happened."""
    keep, gone = built.cut()
    twin = built.masked(gone)
    before = gradcheck.flat(twin)
    counts["nets"] += 1
    counts.update(built.features)
    try:
        folded = surgery.fold_constants(twin, keep, built.input_shape, border)
        small = surgery.remove(folded, keep)
    except ValueError as error:
        assert "\n" not in str(error)
        assert any(name.removesuffix(".W") in str(error) for name in built.names())
        assert built.reasons(gone) or (border == "refuse" and "border of zeros" in str(error))
        counts["refused", "border of zeros" if "border of zeros" in str(error) else built.reasons(gone)[0]] += 1
        return
    np.testing.assert_array_equal(gradcheck.flat(twin), before)
    assert sum(p.data.size for p in small.parameters()) < sum(p.data.size for p in folded.parameters())
    x, t = built.rng.standard_normal((*built.input_shape, 2)), built.rng.standard_normal((3, 2))
    assert_same_net(small, twin, surgery.remove(tagged(twin), keep), x, t)


def test_two_hundred_random_nets():
    counts = Counter()

    @settings(max_examples=200)
    @given(
        st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3, unique=True),
        st.sampled_from(sorted(ACTIVATIONS)),
        st.booleans(),
        st.sampled_from(["map"] * 7 + ["refuse"]),
        st.integers(0, 2**32 - 1),
    )
    def run(blocks, activation, flatten, border, seed):
        check(RandomNet(blocks, activation, flatten, np.random.default_rng(seed)), border, counts)

    run()
    print(dict(counts))
    refused = {reason: n for reason, n in counts.items() if isinstance(reason, tuple)}
    assert counts["nets"] == 200 and sum(refused.values()) <= 20
    assert all(counts[feature] >= 20 for feature in (*BLOCKS, "flatten", "padding"))
