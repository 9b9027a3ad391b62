"""The Fisher saliency against plain loops."""

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning.scores import fisher


def test_fisher_is_the_running_mean_of_squared_gradients_by_hand():
    rng = np.random.default_rng(0)
    net = nn.models.mlp((4, 3, 2), rng)
    optimizer, loss = nn.Adam(net.parameters(), 0.01, betas=(0.9, 0.8)), nn.SoftmaxCrossEntropy()
    mean = 0.0
    for _ in range(5):
        nn.training.training_step(net, loss, optimizer, rng.standard_normal((4, 7)), rng.integers(0, 2, 7))
        mean = 0.8 * mean + 0.2 * net.layers[1].W.grad ** 2
    scores = fisher.saliency(net, optimizer)
    assert list(scores) == ["1.W", "3.W"]
    assert relative_error(scores["1.W"], net.layers[1].W.data ** 2 * mean) < 1e-14


def test_fisher_refuses_what_keeps_no_squares():
    net = nn.models.mlp((4, 3, 2), np.random.default_rng(0))
    for optimizer in (nn.Adam(net.parameters()), nn.SGD(net.parameters(), 0.1, momentum=0.9)):
        with pytest.raises(ValueError, match=r"an Adam that has made steps with 1\.W"):
            fisher.saliency(net, optimizer)


def test_fisher_takes_an_optimizer_only():
    net = nn.models.mlp((4, 3, 2), np.random.default_rng(0))
    for wrong in (None, net, []):
        with pytest.raises(TypeError, match=f"expected the Adam that trains the net, got {type(wrong).__name__}"):
            fisher.saliency(net, wrong)


def test_names_from_an_iterator_are_all_of_them():
    net = nn.models.mlp((4, 3, 2), np.random.default_rng(0))
    optimizer = nn.Adam(net.parameters())
    for parameter in net.parameters():
        parameter.grad = 2 * parameter.data
    optimizer.step()
    assert list(fisher.saliency(net, optimizer, iter(["3.W", "1.W"]))) == ["3.W", "1.W"]
