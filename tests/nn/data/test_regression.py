"""The three regression sets: which column of which file is what.  With $PRUNING_DATA set, the real ones too."""

import os

import numpy as np
import pytest

import nn
from nn.data.sources import DATA_SETS

REAL = os.environ.get("PRUNING_DATA")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prostate_is_split_by_its_own_flag(dtype):
    table = np.arange(33.0).reshape(3, 11)
    table[:, 10] = [1, 0, 1]
    data = DATA_SETS["prostate"].assemble([table], dtype)
    assert data.train[0].tolist() == [list(range(1, 9)), list(range(23, 31))]  # neither the row's number nor y
    assert data.train[1].tolist() == [9, 31]
    assert data.test[0].tolist() == [list(range(12, 20))]
    assert data.test[1].tolist() == [20]
    assert {array.dtype for part in (data.train, data.test) for array in part} == {np.dtype(dtype)}
    assert data.names == ("lcavol", "lweight", "age", "lbph", "svi", "lcp", "gleason", "pgg45")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_diabetes_and_birthwt_have_no_test_part(dtype):
    X, y = np.arange(30.0).reshape(3, 10), np.array([[5.0], [6.0], [7.0]])
    diabetes = DATA_SETS["diabetes"].assemble([X, y], dtype)
    birthwt = DATA_SETS["birthwt"].assemble([np.arange(36.0).reshape(2, 18)], dtype)
    assert diabetes.test is birthwt.test is None
    assert {array.dtype for data in (diabetes, birthwt) for array in data.train} == {np.dtype(dtype)}
    assert np.array_equal(diabetes.train[0], X) and diabetes.train[1].tolist() == [5, 6, 7]
    assert birthwt.train[0].tolist() == [list(range(2, 18)), list(range(20, 36))]
    assert birthwt.train[1].tolist() == [1, 19]


def test_the_groups_of_birthwt_hold_every_column_once_and_bear_their_names():
    data = DATA_SETS["birthwt"].assemble([np.zeros((1, 18))], np.float64)
    assert np.concatenate(data.groups).tolist() == list(range(16))
    assert data.group_names == ("age", "lwt", "race", "smoke", "ptl", "ht", "ui", "ftv")
    for name, group in zip(data.group_names, data.groups, strict=True):
        assert name == "race" or all(data.names[j].startswith(name) for j in group)


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_real_prostate():
    data = nn.data.load("prostate", root=REAL)
    (X, y), (X_test, y_test) = data.train, data.test
    assert X.shape == (67, 8) and y.shape == (67,) and X_test.shape == (30, 8) and y_test.shape == (30,)
    assert X[0].tolist() == [-0.579818495, 2.769459, 50, -1.38629436, 0, -1.38629436, 6, 0]
    assert (y[0], y_test[0], y_test[-1]) == (-0.4307829, 0.7654678, 5.5829322)
    lweight = np.concatenate([X, X_test])[:, 1]
    assert 3.804438 in lweight and lweight.max() < 5  # the corrected value of the 32nd man, once 6.1


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_real_diabetes_and_birthwt():
    X, y = nn.data.load("diabetes", root=REAL).train
    assert X.shape == (442, 10) and y.shape == (442,)
    assert X[0].tolist() == [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
    assert (y[0], y.sum()) == (151, 67243)
    X, y = nn.data.load("birthwt", root=REAL).train
    assert X.shape == (189, 16) and y.shape == (189,)
    assert X[0, :3].tolist() == [-0.05833433675736341, 0.011046299759923195, 0.029561817656341395]
    assert np.isin(X[:, 6:], (0, 1)).all()
    assert (y[0], y.min(), y.max()) == (2.523, 0.709, 4.99)


def test_a_regression_set_is_no_data_for_the_experiments(monkeypatch):
    from pruning.experiments import obd_mlp, setup

    data = DATA_SETS["birthwt"].assemble([np.zeros((1, 18))], np.float64)
    monkeypatch.setattr(nn.data, "load", lambda *args, **keywords: data)
    for run in (
        lambda: setup.parts({"data": "birthwt", "validation": False, "images": 1}, None),
        lambda: setup.perceptron(obd_mlp.spec() | {"data": "birthwt"}),
    ):
        with pytest.raises(ValueError, match="expected a data set of images, got 'birthwt'"):
            run()
