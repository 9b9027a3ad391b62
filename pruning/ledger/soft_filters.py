"""Soft filters: what is left of a filter at zero, and how many a rate zeroes."""

from collections.abc import Iterator

import numpy as np

import nn
from pruning import surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Measured, relative
from pruning.pipeline import SoftFilters


def _removed(rng: np.random.Generator) -> Iterator[Measured]:
    layers = [nn.Conv2d(2, 6, 3, rng, bias=False), nn.BatchNorm(6), nn.ReLU(), nn.Conv2d(6, 3, 2, rng)]
    net = plain.chain(rng, *layers)
    net.layers[0].W.data = rng.standard_normal((6, 2, 3, 3))
    soft = SoftFilters(net, {"0.W": 0.5}, every=1)
    soft.zero(1)
    x, keep = rng.standard_normal((*plain.SHAPE, 3)), soft.keep()
    y = plain.forward(net, x)
    sizes = np.linalg.norm(net.layers[0].W.data.reshape(6, -1), axis=1)
    yield Measured("filters left, of the largest norms", float(keep["0.W"] != np.flatnonzero(sizes).tolist()))
    small = surgery.remove(surgery.fold_constants(net, keep, plain.SHAPE), keep)
    yield Measured("folded and removed", relative(small.forward(x), y))
    message = "Behind batch norm a filter at zero emits beta - gamma mean / deviation, not zero."
    yield Measured("removed", relative(surgery.remove(net, keep).forward(x), y), True, message)


def _rates(rng: np.random.Generator) -> Iterator[Measured]:
    """Rates, the share that is kept, whose number of filters is a whole one."""
    for n, rate, gone in ((10, 0.9, 1), (20, 0.9, 2), (16, 0.75, 4), (30, 0.7, 9), (40, 0.8, 8)):
        net = nn.Sequential(nn.Conv2d(1, n, 1, rng))
        soft = SoftFilters(net, {"0.W": round(1 - rate, 2)}, every=1)
        soft.zero(1)
        yield Measured("filters zeroed", abs(soft.history[0]["zeroed"] - gone))
        if (n, rate) in ((10, 0.9), (20, 0.9)):
            message = "1 - 0.9 is 0.09999999999999998, and int() cuts off: none of 10 filters is zeroed, one of 20."
            yield Measured("int(n (1 - rate))", abs(int(n * (1 - rate)) - gone), True, message)
            yield Measured("rate taken for the share zeroed", abs(int(n * rate) - gone), True, "0.9 is kept.")


STATEMENTS = (
    Claim(
        id="D65",
        title="soft filters, removed at the end",
        printed=r"\mathcal F^{(i+1)}_j=0\ \Rightarrow\ \text{filter }j\text{ can be removed}",
        verdict="right if",
        remark="If what it still emits is folded into the next layer: batch norm is not zeroed with the filter.",
        where="He et al. 2018, obtaining the compact model",
        code="pruning.pipeline.soft_filters.SoftFilters",
        notebook="18, section 8",
        measure=_removed,
        referee="net in plain NumPy",
    ),
    Claim(
        id="D66",
        title="how many filters a rate zeroes",
        printed=r"\mathrm{int}(n(1-\mathrm{rate}))",
        verdict="slip",
        remark="The rate is the share that is kept, and in floating point 10 (1 - 0.9) is below 1.",
        where="the authors' code of He et al. 2018",
        code="pruning.pipeline.soft_filters.SoftFilters",
        notebook="18, section 8",
        tolerance=0.0,
        measure=_rates,
        referee="whole numbers",
    ),
)
