"""Frames: what goes to a student's process and comes back is what was sent, without pickle."""

import io
import struct

import numpy as np
import pytest

from course.worker import Energy, frame, pack, unpack


def test_everything_that_can_be_an_argument_comes_back_as_it_was():
    rng = np.random.default_rng(0)
    sent = {
        "W": rng.standard_normal((2, 3)),
        "labels": np.arange(3),
        "k": 3,
        "lam": 0.25,
        "kind": "max",
        "bias": None,
        "flag": True,
        "groups": [np.array([0, 2]), np.array([1])],
        "E": Energy(rng.standard_normal((4, 3)), rng.standard_normal(4), "tanh"),
    }
    data = frame(pack(sent))
    (size,) = struct.unpack("<Q", data[:8])
    assert size == len(data) - 8
    with np.load(io.BytesIO(data[8:]), allow_pickle=False) as archive:
        got = unpack(dict(archive))
    assert list(got) == list(sent)
    for name in ("W", "labels"):
        assert got[name].dtype == sent[name].dtype and np.array_equal(got[name], sent[name])
    assert [got[name] for name in ("k", "lam", "kind", "bias", "flag")] == [3, 0.25, "max", None, True]
    assert type(got["k"]) is int and type(got["lam"]) is float
    assert [each.tolist() for each in got["groups"]] == [[0, 2], [1]]
    u = rng.standard_normal(3)
    assert got["E"](u) == sent["E"](u)


@pytest.mark.parametrize("kind", ["tanh", "sin", "exp", "square"])
def test_an_energy_is_the_sum_that_it_says_and_takes_the_complex_step(kind):
    rng = np.random.default_rng(1)
    A, c, u = rng.standard_normal((4, 3)), rng.standard_normal(4), rng.standard_normal(3)
    f = {"tanh": np.tanh, "sin": np.sin, "exp": np.exp, "square": lambda a: a * a}[kind]
    df = {"tanh": lambda a: 1 - np.tanh(a) ** 2, "sin": np.cos, "exp": np.exp, "square": lambda a: 2 * a}[kind]
    E = Energy(A, c, kind)
    assert E(u) == pytest.approx(sum(c[k] * f(A[k] @ u) for k in range(4)))
    slope = [np.imag(E(u + 1e-30j * np.eye(3)[j])) / 1e-30 for j in range(3)]
    assert slope == pytest.approx((A.T @ (c * df(A @ u))).tolist())


def test_objects_do_not_go_through():
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        frame({"x": np.array([object()])})
