"""Which small net to train."""

import numpy as np
from panels.drawing import BLUE, GRAY, RED, Drawn, bars, canvas, curves, pictures_of, show, tiles, without
from panels.nets import LAYER, LOSS, accuracy, array, convolutions, deleted, digits, record

import nn
from pruning import masks, surgery
from pruning.architectures import guided, layer_compensation, principal_filters, stage_patterns, width_mix, widths
from pruning.scores import magnitude, taylor


def by_principal() -> Drawn:
    """Principal filter analysis: how many directions the responses of a layer have. As many filters stay as hold
    {share:.0%} of the energy: {kept} of {all}, in three convolutions.

    Seen: Growing bars of three layers that reach a dotted line; those behind it are pale.
    """
    found = principal_filters.responses(convolutions(), digits().train[0])
    found = {name: A for name, A in found.items() if array(convolutions(), name).ndim == 4}
    share, kept = 0.95, []
    figure, axes = canvas(len(found), 9, 2.5, sharey=True)
    for axis, (name, A) in zip(axes, found.items()):
        shares = np.sort(principal_filters.spectrum(A))[::-1]
        k = principal_filters.by_energy(shares, share)
        kept.append((k, len(shares)))
        bars(axis, np.cumsum(shares), list(range(k)), f"layer {name.split('.')[0]}: {k} of {len(shares)}", "")
        axis.axhline(share, color="black", linewidth=0.8, linestyle=":")
        axis.set_xlabel("direction")
    axes[0].set_ylabel("energy so far")
    return figure, {"share": share, "kept": sum(k for k, _ in kept), "all": sum(n for _, n in kept)}


def by_compensation() -> Drawn:
    """Layer compensation: scores of different layers are made comparable by a constant a layer, then one line cuts all.
    Here the constants make the means equal; the method finds them by evolution. {moved} of {all} filters change sides.

    Seen: Three rows of points and a vertical line, before and after the rows are shifted: other numbers go.
    """
    scores = taylor.saliency(convolutions(), LOSS, *digits().train)
    scores = {name: np.log10(np.asarray(each)) for name, each in scores.items() if len(each) > 10}
    moved = layer_compensation.compensated(scores, {name: -float(np.mean(each)) for name, each in scores.items()})
    figure, axes = canvas(2, 8.4, 2.6)
    sides = []
    for axis, values, title in zip(axes, (scores, moved), ("as they are", "with a constant a layer")):
        joined = np.concatenate([np.asarray(each) for each in values.values()])
        cut = np.sort(joined)[joined.size // 2]
        sides.append(joined < cut)
        for k, each in enumerate(values.values()):
            each = np.asarray(each)
            axis.plot(each, np.full(len(each), k), "o", color=BLUE, alpha=0.6)
            axis.annotate(
                f"{np.count_nonzero(each < cut)} go", (1.02, k), xycoords=("axes fraction", "data"), va="center"
            )
        axis.axvline(cut, color=RED, linewidth=1)
        axis.set(
            title=title,
            yticks=range(len(values)),
            yticklabels=list(values),
            xlabel="log10 of Taylor's score",
            ylim=(-0.5, 2.5),
        )
    return figure, {"moved": sum(sides[0] != sides[1]), "all": sides[0].size}


def by_scratch_gates() -> Drawn:
    """Pruning from scratch: gates over random weights that are never trained. One ranking of all gates under a budget
    of {budget:.0%} of the multiply-accumulates gives the widths {widths}; the small net is then drawn anew. A net of
    the records.

    Seen: Bars of the gates of three layers; the low ones are pale, and many are zero.
    """
    found = record("from_scratch")
    row = [each for each in found["rows"] if each["method"] == "gates"][-1]
    figure, axes = canvas(3, 9, 2.4, sharey=True)
    for axis, (name, values), width in zip(axes, found["gates"]["values"].items(), row["widths"]):
        keep = np.argsort(-np.array(values), kind="stable")[:width]
        bars(axis, np.array(values), list(keep), f"layer {name.split('.')[0]}: width {width}", "")
    axes[0].set_ylabel("gate")
    return figure, {"budget": row["budget"], "widths": ", ".join(map(str, row["widths"]))}


def by_transformable() -> Drawn:
    """Transformable architecture search: the probabilities of {widths} widths of each layer, epoch by epoch. They start
    even; at the end the largest is {ends} in the three layers. A net of the records.

    Seen: Three pictures of probabilities over epochs, pale at first; in the third one row becomes dark.
    """
    search, ends, count = record("transformable")["search"], [], 0
    figure, axes = canvas(3, 9, 2.4)
    for axis, (name, width) in zip(axes, search["widths"].items()):
        course = np.array([each["probabilities"][name] for each in search["history"]]).T
        count = len(course)
        ends.append(f"{course[:, -1].max():.2f}")
        image = show(axis, course, f"layer {name}: {width} channels", 1, "Blues")
        axis.set(
            xlabel=f"epochs 1 to {course.shape[1]}",
            ylabel="width",
            aspect="auto",
            yticks=[0, len(course) - 1],
            yticklabels=["least", "most"],
        )
    figure.colorbar(image, ax=axes[-1])
    return figure, {"widths": count, "ends": ", ".join(ends)}


def by_patterns() -> Drawn:
    """Guided sparsification: the share of the weights that stay at the nine places of the square kernels of DenseNet,
    by stage, as the lecture prints it for the net that lost {gone} % of all weights. New nets are drawn after it. The
    middle keeps less than the mean of its stage in {middle} of {stages} stages.

    Seen: Three grids of nine shares; the middle is palest, and the first stage a little darker than the last.
    """
    gone = 50
    found = stage_patterns.DENSENET40[gone]
    figure, axes = canvas(len(found), 7.2, 2.4)
    for axis, (stage, P) in zip(axes, found.items()):
        P = np.array(P, float)
        show(axis, P, f"stage {stage}: {100 * P.mean():.0f} % stay", 1, "Blues")
        for i in range(3):
            for j in range(3):
                axis.text(j, i, f"{P[i, j]:.2f}", ha="center", va="center", color="white" if P[i, j] > 0.6 else "black")
    middle = sum(P[1, 1] < np.mean(P) for P in found.values())
    return figure, {"gone": gone, "middle": middle, "stages": len(found)}


def by_guided() -> Drawn:
    """Guided sparsification: of a convolution that lost {gone:.0%} of its weights by magnitude only the share that
    stays at each place of the kernels is kept; a new net draws its masks after it. Both have {weights} weights in this
    layer, at {same:.0%} of which the two masks agree.

    Seen: A grid of small square kernels with holes, nine shares, and a grid of kernels with other holes.
    """
    small = deleted(magnitude.saliency(convolutions(), [LAYER]), convolutions(), 0.6)
    old = np.asarray(masks.prunable(small)[LAYER].mask)
    pattern = guided.patterns({LAYER: old}, {LAYER: 1})
    new = guided.sparse(small, {LAYER: 1}, pattern, np.random.default_rng(0))[LAYER]
    figure, axes = canvas(3, 9, 2.9, gridspec_kw={"width_ratios": [1.3, 0.8, 1.3]})
    for axis, mask, title in zip(axes[::2], (old, new), ("the pruned net", "a new net, drawn after it")):
        show(axis, tiles(without(mask.reshape(-1, 9)), 16, 3), title, 1.6, "Blues")
    show(axes[1], pattern[1], "share that stays", 1, "Blues")
    for (i, j), share in np.ndenumerate(pattern[1]):
        axes[1].text(j, i, f"{share:.2f}", ha="center", va="center")
    numbers = {"gone": 1 - old.mean(), "weights": int(new.sum())}
    return figure, {**numbers, "same": (old * new).sum() / old.sum()}


def by_width_cost() -> Drawn:
    """What a net costs whose widths are still random: the expected multiply-accumulates, as a share of the largest net,
    epoch by epoch of a search of the records, and those of the net of the likeliest widths. The search ends at
    {expected:.2f} and {chosen:.2f}, for a target of {target:.2f} within {tolerance:.0%} (gray).

    Seen: Two curves that wander, and end near a gray band.
    """
    found = record("transformable")
    history, spec = found["search"]["history"], found["spec"]["search"]
    figure, (axis,) = canvas(1, 7.2, 2.8)
    low, high = ((1 + sign * spec["tolerance"]) * spec["target"] for sign in (-1, 1))
    axis.axhspan(low, high, color=GRAY, zorder=0, label="the target")
    epochs = range(1, len(history) + 1)
    axis.plot(epochs, [each["expected"] for each in history], color=BLUE, label="expected")
    axis.step(epochs, [each["chosen"] for each in history], "--", color="black", where="mid", label="likeliest widths")
    axis.set(xlabel="epoch", ylabel="share of the MACs", xticks=range(1, len(history) + 1, 3))
    curves(axis)
    last = {name: history[-1][name] for name in ("expected", "chosen")}
    return figure, {**last, "target": spec["target"], "tolerance": spec["tolerance"]}


def by_width_mix() -> Drawn:
    """A layer with several widths at once, on the maps of a digit: of its {all} channels the first {few} are stretched
    to {many} by means of neighbours, and mixed with the first {many}, here in the shares {shares}. What lies behind is
    zero.

    Seen: Three grids of maps: the narrow width, stretched, some maps twice; the wide one; and their mixture, in which
    the last maps are empty.
    """
    maps, few, many = pictures_of(convolutions()), 6, 12
    net = nn.Sequential(width_mix.WidthMix(*map(nn.BatchNorm, (few, many, len(maps))), rng=np.random.default_rng(0)))
    (mix,) = net.layers
    mix.noise = np.array([[1.0, 2.0, -9.0], [0.0, 0.0, -9.0]])
    mix.temperature = 1.0
    y = mix.forward(maps[..., None].astype(float))
    narrow, wide = (np.pad(each, ((0, len(maps) - many), (0, 0))) for each in mix.stretched)
    figure, axes = canvas(3, 9, 2.9)
    size = float(np.abs(wide).max())
    titles = (f"{few} channels, stretched to {many}", f"{many} channels", "mixed")
    for axis, rows, title in zip(axes, (narrow, wide, y.reshape(len(maps), -1)), titles):
        shown = np.where(rows.any(axis=1)[:, None], rows, np.nan)
        show(axis, tiles(shown, 4, maps.shape[-1]), title, size)
    shares = " and ".join(f"{each:.2f}" for each in mix.p)
    return figure, {"all": len(maps), "few": few, "many": many, "shares": shares}


def by_widths() -> Drawn:
    """One ranking of the filters of all layers, here by normalised Taylor scores: the lowest go until {share:.0%} of
    the multiply-accumulates are left at most. {kept} stay in the three layers; accuracy, nothing retrained,
    {before:.1f} % before, {after:.1f} % after.

    Seen: Bars of the scores of three layers, pale below one height, which is the same in all of them.
    """
    net, share = convolutions(), 0.5
    names = [name for name, each in masks.prunable(net).items() if each.data.ndim == 4]
    scores = taylor.normalised(taylor.saliency(net, LOSS, *digits().train, names))
    keep = widths.together(net, scores, (1, 8, 8), share)
    figure, axes = canvas(len(names), 9, 2.5, sharey=True)
    for axis, name in zip(axes, names):
        values = np.asarray(scores[name])
        bars(axis, values, keep[name], f"{name}: {len(keep[name])} of {len(values)}", "")
    axes[0].set_ylabel("score")
    kept = ", ".join(f"{len(keep[name])} of {len(scores[name])}" for name in names)
    after = accuracy(surgery.remove(net, keep))
    return figure, {"share": share, "kept": kept, "before": accuracy(net), "after": after}


PANELS = {
    "architectures.principal_filters": by_principal,
    "architectures.layer_compensation": by_compensation,
    "architectures.from_scratch": by_scratch_gates,
    "architectures.transformable": by_transformable,
    "architectures.stage_patterns": by_patterns,
    "architectures.guided": by_guided,
    "architectures.width_cost": by_width_cost,
    "architectures.width_mix": by_width_mix,
    "architectures.widths": by_widths,
}
