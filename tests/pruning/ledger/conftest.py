"""Small statements whose outcomes are known."""

import numpy as np
import pytest

from pruning.ledger.core import Claim, Form, Formula, Measured

WORDS = {
    "title": "twice a number | doubled",
    "printed": "y=2x",
    "verdict": "right",
    "remark": "A line.",
    "where": "S0, a | b",
    "code": "nn.Linear, textbook.lasso",
    "notebook": "02, section 2",
}


@pytest.fixture
def formula():
    def make(id="S0-F1", right=lambda x: 2 * x, referees=None, wrong=None, **changed):
        return Formula(
            id=id,
            draw=lambda rng: {"x": rng.standard_normal(3)},
            right=right,
            referees=referees or (Form("sum", lambda x: x + x),),
            wrong=wrong if wrong is not None else (Form("x | squared", lambda x: x * x, "That is a square."),),
            **{**WORDS, **changed},
        )

    return make


@pytest.fixture
def claim():
    def make(*errors, id="S0-F2", tolerance=1e-12):
        measured = [Measured(name, error, wrong=name != "right", message="Why.") for name, error in errors]
        return Claim(id=id, measure=lambda rng: iter(measured), referee="a count", **WORDS, tolerance=tolerance)

    return make


@pytest.fixture
def nan():
    return np.float64("nan")
