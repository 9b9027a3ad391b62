"""What is no net, no optimizer and no name is refused in one sentence, by every public function that takes one."""

import numpy as np
import pytest

import nn
from pruning import architectures, channels, counts, filters, masks, surgery
from pruning.dynamic import self_adaptive
from pruning.scores import activation, filter_norm, magnitude, nisp, taylor

SHAPE = (1, 8, 8)
X = np.ones((*SHAPE, 2))
KEEP = {"0.W": [0]}
RNG = np.random.default_rng(0)
DOORS = {
    "channels.groups": channels.groups,
    "channels.table": channels.table,
    "channels.tracing.trace": channels.tracing.trace,
    "counts.connections_per_parameter": lambda net: counts.connections_per_parameter(net, SHAPE),
    "counts.count": lambda net: counts.count(net, SHAPE),
    "counts.live_connections": lambda net: counts.live_connections(net, SHAPE),
    "dynamic.self_adaptive.cost": self_adaptive.cost,
    "dynamic.self_adaptive.cost_slopes": self_adaptive.cost_slopes,
    "dynamic.self_adaptive.gated": self_adaptive.gated,
    "dynamic.self_adaptive.WithinBudget": lambda net: self_adaptive.WithinBudget(None, net, 0.5, 1.0),
    "filters.alike": filters.alike,
    "filters.greedy": lambda net: filters.greedy(net, {"0.W": 0.5}, filter_norm.saliency),
    "filters.independent": lambda net: filters.independent(net, {"0.W": 0.5}, filter_norm.saliency),
    "filters.share_for_macs": lambda net: filters.share_for_macs(net, ["0.W"], SHAPE, 0.5),
    "masks.counts": masks.counts,
    "architectures.guided.sparse": lambda net: architectures.guided.sparse(net, {"0.W": 1}, {}, RNG),
    "architectures.guided.sparse_cost": lambda net: architectures.guided.sparse_cost(net, SHAPE, {"0.W": 1}, {}),
    "architectures.guided.stages": lambda net: architectures.guided.stages(net, SHAPE),
    "architectures.from_scratch.costs": lambda net: architectures.from_scratch.costs(net, SHAPE),
    "architectures.from_scratch.gated": architectures.from_scratch.gated,
    "architectures.from_scratch.gates": architectures.from_scratch.gates,
    "architectures.principal_filters": lambda net: architectures.principal_filters.saliency(net, X),
    "architectures.widths.together": lambda net: architectures.widths.together(net, {"0.W": X}, SHAPE, 0.5),
    "channels.maps.emitters": channels.maps.emitters,
    "scores.activation": lambda net: activation.saliency(net, X),
    "scores.magnitude": magnitude.saliency,
    "scores.nisp": lambda net: nisp.saliency(net, np.ones(3), SHAPE),
    "scores.taylor": lambda net: taylor.saliency(net, nn.SoftmaxCrossEntropy(), X, np.zeros(2, int)),
    "surgery.duplicate": surgery.duplicate,
    "surgery.fold_batchnorm": surgery.fold_batchnorm,
    "surgery.fold_constants": lambda net: surgery.fold_constants(net, KEEP, SHAPE),
    "surgery.harden": surgery.harden,
    "surgery.preview": lambda net: surgery.preview(net, KEEP),
    "surgery.purify": lambda net: surgery.purify(net, surgery.Thresholds()),
    "surgery.remove": lambda net: surgery.remove(net, KEEP),
    "surgery.remove_blocks": lambda net: surgery.remove_blocks(net, ["0"]),
    "surgery.remove_columns": lambda net: surgery.remove_columns(net, KEEP),
    "surgery.remove_unused_paths": lambda net: surgery.remove_unused_paths(net, SHAPE),
    "surgery.used_columns": lambda net: surgery.used_columns(net, ["0.W"]),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("wrong", [None, [nn.ReLU()], "net.npz"], ids=["None", "list", "str"])
def test_what_is_no_net_is_refused(door, wrong):
    with pytest.raises(TypeError, match=f"^expected a net, got {type(wrong).__name__}$"):
        DOORS[door](wrong)


def test_what_is_no_optimizer_is_refused():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, np.random.default_rng(0)), nn.ReLU(), nn.Conv2d(2, 2, 3, None))
    for wrong in ("sgd", nn.SGD, list(net.parameters())):
        with pytest.raises(TypeError, match=f"^expected the optimizer of this net, got {type(wrong).__name__}$"):
            surgery.remove(net, KEEP, optimizer=wrong)


def test_what_is_no_convention_is_refused():
    net = nn.models.mlp((3, 2), None)
    for wrong in (["full"], None, "Full", counts.CONVENTIONS["full"]):
        with pytest.raises(ValueError, match=r"^expected a convention of li2017, conv_only, full, got "):
            counts.count(net, (3,), wrong)
