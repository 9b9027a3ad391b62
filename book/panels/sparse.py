"""What zeros save."""

import numpy as np
from panels.drawing import BLUE, RED, Drawn, canvas, curves, show, without
from panels.nets import record
from panels.surgery import sparse_rows_and_columns

from pruning import sparse
from pruning.experiments import accelerators


def by_formats() -> Drawn:
    """A matrix without its zeros: compressed rows keep each nonzero and its column; where whole rows and columns are
    zero, a smaller dense matrix does. With {share:.0%} of its numbers, the matrix of {dense:,} bytes takes {csr:,} as
    compressed rows and {compact:,} as a smaller matrix.

    Seen: A matrix with scattered and whole gray rows and columns, and the smaller dense matrix of its living ones.
    """
    W = sparse_rows_and_columns()[:, :36].astype(float)
    W = W * (np.abs(W) > np.quantile(np.abs(W[W != 0]), 0.4))
    csr, compact = sparse.CSR.of(W), sparse.Compact.of(W)
    figure, axes = canvas(2, 9, 2.3, gridspec_kw={"width_ratios": [1.6, 1]})
    show(axes[0], without(W), f"{W.shape[0]} × {W.shape[1]}: {np.count_nonzero(W)} nonzeros")
    V = compact.values
    show(axes[1], without(V), f"compact: {V.shape[0]} × {V.shape[1]}")
    numbers = {"share": np.mean(W != 0), "dense": W.nbytes}
    return figure, {**numbers, "csr": csr.nbytes, "compact": compact.nbytes}


def by_accelerators() -> Drawn:
    """Cycles on two accelerators that skip zeros, by their published rules: single weights against small nets of as
    many multiply-accumulates. On the dotted line all that is saved is time. At {macs:.0f} times fewer
    multiply-accumulates the small net gains {small:.1f} times, the scattered weights {scattered:.1f} times on the first
    machine. A net of the records.

    Seen: Four curves below a dotted diagonal; small nets are nearer to it than scattered zeros, whose gain on the
    second machine hardly rises.
    """
    rows = record("accelerators")
    figure, (axis,) = canvas(1, 7.2, 2.9)
    ends = {}
    for method, color in (("weights", RED), ("filters", BLUE)):
        found = [row for row in rows["rows"] if row["method"] == method]
        hollow = {"markerfacecolor": "white"} if method == "weights" else {}
        x = [accelerators.gain(rows, row, "macs") for row in found]
        for machine, look in (("cambricon_x", "-o"), ("cnvlutin", "--s")):
            y = [accelerators.gain(rows, row, machine) for row in found]
            ends[method, machine] = x[-1], y[-1]
            axis.plot(x, y, look, color=color, markersize=5, **hollow, label=f"{method}, {machine.replace('_', '-')}")
    axis.plot([1, 20], [1, 20], color="black", linewidth=0.8, linestyle=":")
    axis.set(xlabel="times fewer multiply-accumulates", ylabel="times fewer cycles", xscale="log", yscale="log")
    curves(axis)
    (macs, small), (_, scattered) = (ends[method, "cambricon_x"] for method in ("filters", "weights"))
    return figure, {"macs": macs, "small": small, "scattered": scattered}


PANELS = {
    "sparse.formats": by_formats,
    "sparse.accelerators": by_accelerators,
}
