"""How many filters of each layer stay: principal filter analysis, and one ranking with a constant a layer."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning.architectures import layer_compensation, principal_filters, widths
from pruning.ledger.core import Form, Formula

Array = np.ndarray


# ---- D38: principal filters ------------------------------------------------------------------------------------------
SPECTRA = (np.ones(6), np.eye(6)[0], 0.8 ** np.arange(6), 0.6 ** np.arange(6), np.array([5.0, 3, 1, 0.5, 0.3, 0.2]))
TAU = 0.75


def _draw_responses(rng: np.random.Generator) -> dict[str, Any]:
    """Responses (6, 40) with these eigenvalues, and with means that are large."""
    responses = []
    for values in SPECTRA:
        patterns = np.linalg.qr(np.column_stack([np.ones(40), rng.standard_normal((40, 6))]))[0][:, 1:]
        turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
        responses.append(turn @ np.diag(np.sqrt(values)) @ patterns.T + rng.uniform(3, 5, (6, 1)))
    return {"responses": responses}


def _kept(responses: list[Array]) -> Array:
    shares = [principal_filters.spectrum(A) for A in responses]
    return np.array(
        [[principal_filters.by_energy(each, TAU), principal_filters.by_divergence(each)] for each in shares]
    )


def _kept_by(
    values: Callable[[Array], Array] = lambda A: np.linalg.svd(A - A.mean(1, keepdims=True))[1] ** 2,
    ratio: Callable[[float], float] = lambda KL: 1 - KL / np.log(6),
    more: int = 0,
) -> Callable[..., Array]:
    def form(responses: list[Array]) -> Array:
        found = []
        for A in responses:
            shares, energy, k = values(A) / values(A).sum(), 0.0, 0
            while energy < TAU:
                energy, k = energy + shares[k], k + 1
            KL = float(sum(share * np.log(6 * share) for share in shares if share > 0))
            found.append([k + more, max(1, round(6 * ratio(KL)))])
        return np.array(found)

    return form


# ---- D39: a constant a layer -----------------------------------------------------------------------------------------
SIZES = {"0.W": 6, "2.W": 5, "4.W": 7}


def _draw_ranking(rng: np.random.Generator) -> dict[str, Any]:
    convs = [nn.Conv2d(1, 6, 3, rng), nn.ReLU(), nn.Conv2d(6, 5, 3, rng), nn.ReLU(), nn.Conv2d(5, 7, 3, rng)]
    scores = {name: rng.uniform(0, 1, n) for name, n in SIZES.items()}
    constants = dict(zip(SIZES, rng.permutation([0.0, 0.7, -0.5]).tolist()))
    head = nn.Flatten(), nn.Linear(28, 3, rng)
    return {"net": nn.Sequential(*convs, nn.ReLU(), *head), "scores": scores, "constants": constants}


def _rows(keep: dict[str, list[int]]) -> Array:
    return np.concatenate([np.isin(np.arange(n), keep[name]) for name, n in SIZES.items()]).astype(float)


def _compensated(net: Any, scores: dict[str, Array], constants: dict[str, float]) -> Array:
    shifted = {name: constant + 8 for name, constant in constants.items()}
    return _rows(widths.together(net, layer_compensation.compensated(scores, shifted), (1, 8, 8), 0.5))


def _one_by_one(
    rank: Callable[[float, float], float] = lambda s, beta: s + beta, sign: int = 1
) -> Callable[..., Array]:
    """The lowest of all layers go one by one until at most half of the convolutions' MACs are left."""

    def form(net: Any, scores: dict[str, Array], constants: dict[str, float]) -> Array:
        keep = {name: list(range(n)) for name, n in SIZES.items()}
        queue = sorted(
            (sign * rank(float(s), constants[name]), name, i) for name in SIZES for i, s in enumerate(scores[name])
        )
        while _macs(keep) > _macs({name: list(range(n)) for name, n in SIZES.items()}) / 2:
            _, name, i = queue.pop(0)
            if len(keep[name]) > 1:
                keep[name].remove(i)
        return _rows(keep)

    return form


def _macs(keep: dict[str, list[int]]) -> int:
    a, b, c = (len(rows) for rows in keep.values())
    return 9 * (36 * a + 16 * a * b + 4 * b * c) + 4 * 3 * c


STATEMENTS = (
    Formula(
        id="D38",
        title="principal filters: energy and divergence",
        printed=r"k_E=\min\Big\{k:\sum_{i\le k}\hat\lambda_i\ge\tau\Big\},"
        r"\quad k_{KL}=C\Big(1-\frac{KL(\hat\lambda\,\|\,u)}{\log C}\Big)",
        verdict="right",
        remark="The ratio is the normalised entropy: uniform responses keep all, one direction keeps one.",
        where="Suau et al. 2018; named in S0, Methods for pruning",
        code="pruning.architectures.principal_filters.by_energy, pruning.architectures.principal_filters.by_divergence",
        notebook="17, section 5",
        tolerance=0,
        draw=_draw_responses,
        right=_kept,
        referees=(Form("singular values and loops", _kept_by()),),
        wrong=(
            Form(
                "not centred",
                _kept_by(lambda A: np.linalg.svd(A)[1] ** 2),
                "The mean of the responses is no direction in which they vary.",
            ),
            Form(
                "singular values",
                _kept_by(lambda A: np.linalg.svd(A - A.mean(1, keepdims=True))[1]),
                "Energy is the variance, the square of a singular value.",
            ),
            Form("KL itself", _kept_by(ratio=lambda KL: KL / np.log(6)), "It is 0 where all filters are needed."),
            Form("KL without log C", _kept_by(ratio=lambda KL: 1 - KL), "The divergence reaches log C, not 1."),
            Form("one more", _kept_by(more=1), "The k-th eigenvalue is the one that reaches tau."),
        ),
    ),
    Formula(
        id="D39",
        title="layer compensation: one ranking, a constant a layer",
        printed=r"I(\text{filter})+\beta_{\text{layer}},\quad\beta\to\beta+c\text{ leaves the ranking}",
        verdict="right",
        remark="Only differences of the constants say anything; in a layer the order is that of I.",
        where="Chin et al. 2018; named in S0, Methods for pruning",
        code="pruning.architectures.layer_compensation.compensated, pruning.architectures.widths.together",
        notebook="17, section 5",
        tolerance=0,
        draw=_draw_ranking,
        right=_compensated,
        referees=(Form("one filter at a time", _one_by_one()),),
        wrong=(
            Form("constants subtracted", _one_by_one(lambda s, beta: s - beta), "A high constant protects a layer."),
            Form("no constants", _one_by_one(lambda s, _: s), "The raw scores of layers are then compared."),
            Form("the highest go", _one_by_one(sign=-1), "What has the lowest rank goes first."),
        ),
    ),
)
