"""What a sparse net still carries along: nearly empty channels (surg.5), and kernels on no path (surg.6)."""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

# ---- surg.5: purify, with thresholds that are shares of means --------------------------------------------------------
TH1, TH2, TH3 = 0.2, 0.5, 0.9
KINDS = {  # columns of the eight that are there, and the modulus of their weights; the others are weak
    "full and strong": (8, 1.0),
    "two columns": (2, 0.6),
    "full and faint": (8, 0.45),
    "as full as the threshold": (4, 0.6),
    "weak columns alone": (0, 1.0),
    "one strong column": (1, 3.0),
}


def _channels(*kinds: str, scales: tuple[float, ...] = (10.0, 0.1)) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        blocks = []
        for kind in rng.permutation(np.array(kinds)):
            columns, size = KINDS[str(kind)]
            there = np.arange(8) < columns
            block = np.where(there, size, 0.05) * rng.uniform(0.9, 1.1, (3, 8))
            if columns == 8:
                block[0, :3] = 0  # a column counts as a whole, whatever the zeros in it
            blocks.append(rng.permuted(block.T, axis=0).T if columns == 8 else rng.permutation(block, axis=1))
        W = np.stack(blocks, axis=1).reshape(3, len(kinds), 2, 4)
        W *= rng.choice([-1.0, 1.0], W.shape) * float(rng.choice(scales))
        return {"W": W, "th1": TH1, "th2": TH2, "th3": TH3}

    return draw


def _column_by_column(W: Array, th1: float, th2: float, th3: float) -> tuple[Array, Array, Array]:
    # In loops; a channel is weighed against the others by its share in all that is left.
    new, (_, channels, kh, kw) = W.copy(), W.shape
    whole = float(np.vdot(W, W))
    for c, k, m in np.ndindex(channels, kh, kw):
        if sum(float(w) ** 2 for w in W[:, c, k, m]) * channels * kh * kw < th1 * whole:
            new[:, c, k, m] = 0
    counts = [sum(any(new[:, c, k, m]) for k in range(kh) for m in range(kw)) for c in range(channels)]
    energies = [float(np.vdot(new[:, c], new[:, c])) for c in range(channels)]
    for c in range(channels):
        if counts[c] < th2 * kh * kw and energies[c] * channels < th3 * sum(energies):
            new[:, c] = 0
    return np.array(counts) / (kh * kw), np.array(energies) / (kh * kw), new


def _purified(
    goes: Callable[[Array, Array, float, float], Array] = lambda eta, sigma, th2, low: (eta < th2) & (sigma < low),
    fullness: Callable[[Array, Array], Array] = lambda W, E: np.mean(E != 0, axis=(1, 2)),
    energy: Callable[[Array], Array] = lambda E: np.mean(E, axis=(1, 2)),
    column: Callable[[Array], Array] = lambda W: np.sum(W * W, axis=0),
    relative: bool = True,
    literal: bool = False,
    drop: bool = True,
) -> Callable[..., tuple[Array, Array, Array]]:
    def form(W: Array, th1: float, th2: float, th3: float) -> tuple[Array, Array, Array]:
        E = column(W)
        weak = E < th1 * (E.mean() if relative else 1)
        left = W * ~weak
        counted = E * weak if literal else E * ~weak
        eta, sigma = fullness(left, counted), energy(counted)
        gone = goes(eta, sigma, th2, th3 * (sigma.mean() if relative else 1))
        return eta, sigma, (left if drop else W) * ~gone[:, None, None]

    return form


PURIFY = Exercise(
    id="surg.5",
    function="purify",
    outputs=("eta", "sigma", "W"),
    formula="η = columns that are left / Λ,  σ = Σ ‖column‖² / Λ;  a channel goes if η < Th₂ and σ < Th₃ · mean σ",
    slide="S3, section 3, equations (8) and (9), Algorithm 1",
    ledger="S3-F13, S3-F14, S3-F15, C5",
    section="notebook 15, sections 3 and 4",
    minutes=25,
    referee=_column_by_column,
    cases=(
        Case("three channels", 1, _channels(*list(KINDS)[:3], scales=(10.0,)), public=True),
        Case("more channels in other scales", 2, _channels(*list(KINDS)[:5]), draws=3),
        Case("a channel of one strong column", 1, _channels(*KINDS), draws=2),
    ),
    wrong=(
        Wrong(
            "thresholds as they are",
            _purified(relative=False),
            "This compares with Th1 and Th3 themselves, as the paper does. Here they are shares of a mean, so that the"
            " scale of a layer does not matter.",
        ),
        Wrong(
            "η above the threshold",
            _purified(lambda eta, sigma, th2, low: (eta > th2) & (sigma < low)),
            "This deletes the full channels: the sentence under equation (8) says so, Algorithm 1 does not (C5).",
        ),
        Wrong(
            "weak columns alone",
            _purified(literal=True),
            "This takes η and σ over the weak columns, as Algorithm 1 is printed. A channel without any goes first then"
            " (S3-F15).",
        ),
        Wrong(
            "or for and",
            _purified(lambda eta, sigma, th2, low: (eta < th2) | (sigma < low)),
            "This deletes a channel for one reason. It takes both: few columns, and little energy (S3-F15).",
        ),
        Wrong(
            "fullness alone",
            _purified(lambda eta, sigma, th2, low: eta < th2),
            "This deletes by η alone. One strong column is few columns, and may carry much (S3-F15).",
        ),
        Wrong(
            "σ not divided",
            _purified(energy=lambda E: np.sum(E, axis=(1, 2))),
            "This σ is a sum. Equation (9) divides by the number of columns of a channel (S3-F14).",
        ),
        Wrong(
            "σ over what is left",
            _purified(energy=lambda E: np.sum(E, axis=(1, 2)) / np.maximum(1, np.sum(E != 0, axis=(1, 2)))),
            "This divides σ by the number of columns that are left. Equation (9) has all of them (S3-F14).",
        ),
        Wrong(
            "norms not squared",
            _purified(column=lambda W: np.sqrt(np.sum(W * W, axis=0))),
            "This has the norms of the columns. Algorithm 1 and equation (9) have their squares (S3-F14).",
        ),
        Wrong(
            "emptiness",
            _purified(fullness=lambda W, E: np.mean(E == 0, axis=(1, 2))),
            "This η is the share of the columns that are empty, as the paper calls it. Equation (8) counts the others"
            " (S3-F13).",
        ),
        Wrong(
            "weights for columns",
            _purified(fullness=lambda W, E: np.mean(W != 0, axis=(0, 2, 3))),
            "This η counts weights. A column counts as a whole, whatever the zeros in it (S3-F13).",
        ),
        Wrong(
            "weak columns stay",
            _purified(drop=False),
            "This leaves the weak columns in the channels that stay. They go in the first step (S3-F15).",
        ),
    ),
    hint="Three steps: weak columns to zero, then eta and sigma of what is left, then whole channels.",
    package="pruning.surgery.purify",
)


# ---- surg.6: kernels on no path --------------------------------------------------------------------------------------
def _swept(
    summands: Callable[[Array, Array], Array] = np.logical_or,
    shortcut_reads: bool = True,
    sums: bool = True,
    far: bool = True,
    blank: bool = True,
    unread: bool = True,
) -> Callable[..., list[Array]]:
    # Which maps are alive, forwards, and which are read, backwards; `far`: by what is alive and read itself.
    def form(keep: list[Array], jumps: Array) -> list[Array]:
        pairs = [(int(a), int(b)) for a, b in jumps] if sums else []
        alive = [np.ones(keep[0].shape[1], bool)]
        for l, K in enumerate(keep):
            made = K @ (alive[l] if far else np.ones(K.shape[1])) > 0
            for a, _ in (pair for pair in pairs if pair[1] == l):
                made = summands(made, alive[a + 1])
            alive.append(made)
        read = [np.zeros(K.shape[1], bool) for K in keep] + [np.ones(len(keep[-1]), bool)]
        for l in reversed(range(len(keep))):
            for _, b in (pair for pair in pairs if pair[0] == l and shortcut_reads):
                read[l + 1] = read[l + 1] | read[b + 1]
            read[l] = keep[l].T @ (read[l + 1] if far else np.ones(len(keep[l]))) > 0
        return [K * (read[l + 1] | (not unread))[:, None] * (alive[l] | (not blank)) for l, K in enumerate(keep)]

    return form


FORMS = {
    "any summand": _swept(np.logical_and),
    "sums forgotten": _swept(sums=False),
    "the shortcut does not read": _swept(shortcut_reads=False),
    "neighbours alone": _swept(far=False),
    "unread maps stay": _swept(unread=False),
    "blank maps stay": _swept(blank=False),
}


def _chain(layers: int, jumps: tuple[tuple[int, int], ...]) -> Draw:
    # Anew until each wrong form is wrong here, where it can be: without a sum, the first three are right.
    forms = list(FORMS.values())[0 if jumps else 3 :]

    def draw(rng: np.random.Generator) -> Inputs:
        pairs = np.array(jumps, dtype=np.int64).reshape(-1, 2)
        while True:
            widths = [4, *[6] * (layers - 1), 3]
            keep = [(rng.random(shape) < 0.3) * 1.0 for shape in zip(widths[1:], widths)]
            right = _swept()(keep, pairs)
            if min(K.sum() for K in right) > 1 and all(_differ(form(keep, pairs), right) for form in forms):
                return {"keep": keep, "jumps": pairs}

    return draw


def _differ(these: list[Array], those: list[Array]) -> bool:
    return any(not np.array_equal(a, b) for a, b in zip(these, those))


def _without_each(keep: list[Array], jumps: Array) -> list[Array]:
    # All weights 1 and all inputs 1: no sum can cancel, so a kernel is of use if some output is less without it.
    def outputs(net: list[Array]) -> Array:
        maps = [np.ones(net[0].shape[1])]
        for l, K in enumerate(net):
            maps.append(K @ maps[l] + sum(maps[int(a) + 1] for a, b in jumps if b == l))
        return maps[-1]

    whole, used = outputs(keep), []
    for l, K in enumerate(keep):
        used.append(np.zeros(K.shape))
        for k in zip(*np.nonzero(K)):
            less = [each.copy() for each in keep]
            less[l][k] = 0
            used[l][k] = float(np.any(outputs(less) != whole))
    return used


MESSAGES = {
    "any summand": "This takes a map for blank if any of its summands is. A sum is blank only if all of them are"
    " (S3-F12).",
    "sums forgotten": "This is the chain without its sums: a map that is added further on is read there, and feeds what"
    " comes behind.",
    "the shortcut does not read": "This takes a map for unread that no kernel reads. If it is added to another one that"
    " is read, it is read (S3-F12).",
    "neighbours alone": "This looks at the neighbours of a map alone. When a map goes, others become blank or unread:"
    " it goes on to a fixed point.",
    "unread maps stay": "This goes forwards alone. A map that nobody reads is unused, too, and so is what only it read"
    " (S3-F12).",
    "blank maps stay": "This goes backwards alone. A map without live kernels is blank, and what reads blank maps alone"
    " is blank, too.",
}

UNUSED = Exercise(
    id="surg.6",
    function="unused",
    outputs=("keep",),
    formula="a kernel stays if its map is read and what it reads is not blank, both to the fixed point; a sum is blank"
    " if all its summands are",
    slide="S3, section 3, unused path removal",
    ledger="S3-F12",
    section="notebook 15, section 2",
    minutes=25,
    referee=_without_each,
    cases=(
        Case("four layers with a sum", 1, _chain(4, ((0, 2),)), public=True),
        Case("a chain without a sum", 1, _chain(5, ()), draws=2),
        Case("two sums in a row", 1, _chain(6, ((0, 2), (2, 4))), draws=2),
    ),
    wrong=tuple(Wrong(name, form, MESSAGES[name]) for name, form in FORMS.items()),
    hint="Walk from the data to the outputs once, and back once. Which kernels lie on a path?",
    package="pruning.surgery.remove_unused_paths",
)
