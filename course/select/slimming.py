"""Network slimming by scales that know their readers (slim.1), and the control's budget (slim.2)."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

Score = Callable[[Array, Array], Array]
Masks = list[Array]


# ---- slim.1: one threshold for all layers ------------------------------------------------------------------------
def _scales(widths: tuple[int, ...], gone: int, weak: bool = False, ties: bool = False) -> Draw:
    # `gone` channels of all; `weak`: the last layer is the smallest.  Draw until every slip shows that can.
    share = round((gone + 0.6) / sum(widths), 3)

    def layer(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        sizes, norms = rng.uniform(0.2, 2, n), rng.uniform(0.2, 2, n)
        if ties:
            sizes, norms = rng.choice([0.5, 1.0, 2.0], n), rng.choice([0.5, 1.0, 2.0], n)
        return sizes * rng.choice([-1.0, 1.0], n), norms

    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            gammas, norms = (list(each) for each in zip(*(layer(rng, n) for n in widths)))
            if weak:
                norms[-1] = norms[-1] / 64
            inputs = {"gammas": gammas, "norms": norms, "share": share}
            if _shows(inputs, weak, ties):
                return inputs

    return draw


def _shows(inputs: Inputs, weak: bool, ties: bool) -> bool:
    rounded = {name: [np.round(v, 1) for v in inputs[name]] for name in ("gammas", "norms")}
    public = inputs if weak or ties else {**rounded, "share": inputs["share"]}
    scores = np.sort(np.concatenate([abs(g) * n for g, n in zip(public["gammas"], public["norms"])]))
    if not ties and np.diff(scores).min() < 1e-3:
        return False
    if weak:
        needed = ["a layer emptied", "nothing in its place"]
    else:
        needed = ["gamma alone", "a threshold a layer", *(["ties the other way"] if ties else [])]
    right = np.concatenate(_slim()(**public))
    return all(np.any(np.concatenate(SLIPS[name](**public)) != right) for name in needed)


def _one_by_one(gammas: Masks, norms: Masks, share: float) -> Masks:
    # Channel after channel: the worst of all layers that have more than one left.
    live = {(layer, c) for layer, gamma in enumerate(gammas) for c in range(len(gamma))}
    for _ in range(int(share * len(live))):
        spare = [(layer, c) for layer, c in live if sum(other == layer for other, _ in live) > 1]
        live.remove(
            min(spare, key=lambda place: (abs(float(gammas[place[0]][place[1]])) * norms[place[0]][place[1]], *place))
        )
    return [np.array([float((layer, c) in live) for c in range(len(gamma))]) for layer, gamma in enumerate(gammas)]


def _slim(
    score: Score = lambda gamma, norm: np.abs(gamma) * norm,
    more: int = 0,
    guard: str = "others go",
    ties: int = 1,
) -> Callable[..., Masks]:
    def form(gammas: Masks, norms: Masks, share: float) -> Masks:
        scores = [score(gamma, norm) for gamma, norm in zip(gammas, norms)]
        order = [np.lexsort((ties * np.arange(len(s)), s)) for s in scores]
        if guard == "others go":
            for s, worst_first in zip(scores, order):
                s[worst_first[-1]] = np.inf
        flat = np.concatenate(scores)
        keep = np.ones(len(flat))
        keep[np.lexsort((ties * np.arange(len(flat)), flat))[: int(share * len(flat)) + more]] = 0
        masks = np.split(keep, np.cumsum([len(s) for s in scores])[:-1])
        if guard == "largest comes back":
            for mask, worst_first in zip(masks, order):
                mask[worst_first[-1]] = 1
        return masks

    return form


def _a_layer(gammas: Masks, norms: Masks, share: float) -> Masks:
    return [_slim()([gamma], [norm], share)[0] for gamma, norm in zip(gammas, norms)]


SLIPS: dict[str, Callable[..., Masks]] = {
    "gamma alone": _slim(lambda gamma, norm: np.abs(gamma) + 0 * norm),
    "a threshold a layer": _a_layer,
    "a layer emptied": _slim(guard="none"),
    "nothing in its place": _slim(guard="largest comes back"),
    "quantile off by one": _slim(more=1),
    "no modulus": _slim(lambda gamma, norm: gamma * norm),
    "squared norm": _slim(lambda gamma, norm: np.abs(gamma) * norm**2),
    "ties the other way": _slim(ties=-1),
}
MESSAGES = {
    "gamma alone": "This ranks by |γ| alone, as the lecture and pruning.penalties.slimming. Twice γ and half of the"
    " weights that read it is the same net, and has to be the same choice.",
    "a threshold a layer": "This has a threshold for each layer. Slimming has one for all: the widths are what it"
    " finds (S0-F10).",
    "a layer emptied": "This empties a layer, and cuts the net in two. One channel of each stays (S0-F10).",
    "nothing in its place": "This puts back the best channel of an empty layer, and lets nothing go in its place: fewer"
    " than asked for go.",
    "quantile off by one": "One channel more than ⌊share · N⌋ goes here. The value at the quantile itself stays"
    " (S0-F10).",
    "no modulus": "This ranks by γ with its sign, so that large negative scales go first.",
    "squared norm": "This squares the norm and not γ. Doubled scales, read by half of the weights, are the same net.",
    "ties the other way": "Among equals this lets the highest index of the last layer go first. The earlier one goes"
    " first here.",
}

SLIM = Exercise(
    id="slim.1",
    function="slim",
    outputs=("keep",),
    formula="of N channels the ⌊share · N⌋ of smallest |γ_c| ‖V_c‖ go, whatever layer they are in; the best of each"
    " layer is no candidate",
    slide="S0, Experiments - Automatic structured: Network Slimming",
    ledger="S0-F10",
    section="notebook 18, section 3",
    minutes=15,
    referee=_one_by_one,
    cases=(
        Case("two layers", 1, _scales((3, 4), 3), public=True),
        Case("one threshold would empty a layer", 1, _scales((6, 9, 4), 9, weak=True), draws=2),
        Case("equal products", 1, _scales((7, 8, 6), 8, ties=True), draws=2),
    ),
    wrong=tuple(Wrong(name, form, MESSAGES[name]) for name, form in SLIPS.items()),
    hint="Take the largest of each layer out of the list before you count.",
    package="pruning.penalties.slimming.keep",
)


# ---- slim.2: as many operations as the pipeline had ----------------------------------------------------------------
def _run(epochs: int, milestones: tuple[int, ...], pieces: int) -> Draw:
    # The operations of an epoch fall `pieces` - 1 times, by a fifth to a half each time.
    def draw(rng: np.random.Generator) -> Inputs:
        while True:
            falls = np.cumprod([1.0, *rng.uniform(0.5, 0.8, pieces - 1)])
            full = np.round(rng.uniform(8, 9) * np.sort(np.resize(falls, epochs))[::-1], 1)
            pruned = round(0.37 * float(full[-1]), 1)
            if 0.1 < full.sum() / pruned % 1 < 0.9:  # no whole number of epochs
                break
        return {"epochs": epochs, "milestones": np.array(milestones), "full": full, "pruned": pruned}

    return draw


def _by_the_clock(epochs: int, milestones: Array, full: Array, pruned: float) -> tuple[float, Array]:
    # The small net is trained until it has made as many operations; the last epoch is a part of one.
    def until(count: int) -> float:
        left, gone = sum(Fraction(float(each)) for each in full[:count]), 0
        while left >= Fraction(pruned):
            left, gone = left - Fraction(pruned), gone + 1
        return gone + float(left / Fraction(pruned))

    return until(epochs), np.array([until(int(each)) for each in milestones])


def _budget(
    whole: Callable[[Array, float], float] = lambda full, pruned: full.sum() / pruned,
    fall: Callable[[int, int, Array, float], float] = lambda m, epochs, full, pruned: full[:m].sum() / pruned,
    rounded: bool = False,
) -> Callable[..., tuple[float, Array]]:
    def form(epochs: int, milestones: Array, full: Array, pruned: float) -> tuple[float, Array]:
        E, falls = whole(full, pruned), np.array([fall(int(m), epochs, full, pruned) for m in milestones])
        return (round(E), np.round(falls)) if rounded else (E, falls)

    return form


BUDGET = Exercise(
    id="slim.2",
    function="scratch_b",
    outputs=("epochs", "milestones"),
    formula="E_B = Σ_e F_e / F′, and a milestone m becomes Σ_{e ≤ m} F_e / F′; with one F in all epochs E·F/F′ and"
    " m·F/F′",
    slide="S0, Training budget",
    ledger="S0-F12",
    section="notebook 16, section 10",
    minutes=20,
    referee=_by_the_clock,
    cases=(
        Case("the net is as large in all epochs", 1, _run(8, (4, 6), 1), public=True),
        Case("it was pruned in the course of training", 1, _run(24, (8, 14, 20), 4), draws=3),
    ),
    wrong=(
        Wrong(
            "milestones stay",
            _budget(fall=lambda m, epochs, full, pruned: m),
            "The milestones are those of the dense net. The schedule of the learning rate is stretched as well"
            " (S0-F12).",
        ),
        Wrong(
            "inverse ratio",
            _budget(
                lambda full, pruned: np.sum(pruned / full), lambda m, epochs, full, pruned: np.sum(pruned / full[:m])
            ),
            "This has F′/F for F/F′. The small net is cheaper, so that it trains for longer (S0-F12).",
        ),
        Wrong(
            "scratch-E",
            _budget(lambda full, pruned: len(full), lambda m, epochs, full, pruned: m),
            "This is scratch-E: as many epochs, and fewer operations (S0-F12).",
        ),
        Wrong(
            "as if never pruned",
            _budget(
                lambda full, pruned: len(full) * full[0] / pruned, lambda m, epochs, full, pruned: m * full[0] / pruned
            ),
            "This is E·F/F′ with the F of the first epoch, the lecture's case. Here the net became smaller on the way,"
            " and made fewer operations.",
        ),
        Wrong(
            "one factor for all milestones",
            _budget(fall=lambda m, epochs, full, pruned: m * full.mean() / pruned),
            "This stretches all milestones by the factor of the epochs. A milestone is reached after as many operations"
            " as in the run before, and early epochs made more of them.",
        ),
        Wrong(
            "milestone one epoch early",
            _budget(fall=lambda m, epochs, full, pruned: full[: m - 1].sum() / pruned),
            "This leaves out the last epoch in front of a milestone: after m epochs, m of them have been paid for.",
        ),
        Wrong(
            "rounded",
            _budget(rounded=True),
            "These are whole epochs. Parts of one are asked for: leave them unrounded.",
        ),
    ),
    hint="How many operations had been made when the learning rate fell?",
    package="pruning.pipeline.scratch_b",
)
