"""Growth: the fit finds what is there, the counts are those of the code as it runs, and the record is whole."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.special import stdtrit

sys.path.append(str(Path(__file__).parent / "benchmarks"))
import growth
import growth_curves

from pruning.experiments import record_file

SIZES = (64, 96, 128, 192, 256, 512)


def test_an_exact_power_law_is_found_without_error():
    exponent, error, log_factor = growth.fit(SIZES, [3.0 * size**1.5 for size in SIZES])
    np.testing.assert_allclose([exponent, error, log_factor], [1.5, 0.0, np.log(3.0)], atol=1e-12)


def test_the_standard_error_covers_at_its_rate():
    rng, draws, found = np.random.default_rng(0), 4000, 0
    for _ in range(draws):
        exponent, error, _ = growth.fit(SIZES, np.power(SIZES, 2.0) * np.exp(0.1 * rng.standard_normal(len(SIZES))))
        found += abs(exponent - 2.0) <= stdtrit(len(SIZES) - 2, 0.975) * error
    assert abs(found / draws - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / draws)


def test_a_verdict_tells_a_square_from_a_cube():
    rng = np.random.default_rng(1)
    measured = [size**2 * (1 + 0.02 * rng.standard_normal()) for size in SIZES]
    assert growth.verdict(SIZES, measured, [size**2 for size in SIZES])[3]
    assert not growth.verdict(SIZES, measured, [size**3 for size in SIZES])[3]


class Counted(np.ndarray):
    """An array whose matrix products add their multiply-accumulates to a sum."""

    total = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        plain = [each.view(np.ndarray) if isinstance(each, Counted) else each for each in inputs]
        out = getattr(ufunc, method)(*plain, **options)
        if ufunc is np.matmul:
            Counted.total += out.size * plain[0].shape[-1]
        return out.view(Counted) if isinstance(out, np.ndarray) else out

    def __array_function__(self, function, types, inputs, options):
        plain = [each.view(np.ndarray) if isinstance(each, Counted) else each for each in inputs]
        if function is not np.tensordot:
            return super().__array_function__(function, types, inputs, options)
        out = function(*plain, **options)
        Counted.total += out.size * np.prod([plain[0].shape[axis] for axis in options["axes"][0]])
        return out.view(Counted)


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("rule", ["gradient", "OBD pass", "exact diagonal", "ggn", "Hessian-vector product"])
def test_the_products_of_a_perceptron_are_counted(rule, depth):
    case = growth_curves.mlp(rule, patterns=7, width=11, depth=depth)
    net, v = case.run.arrays
    v |= {name: direction.view(Counted) for name, direction in v.items()}
    for parameter in net.parameters():
        parameter.data = parameter.data.view(Counted)
    Counted.total = 0
    case.run()
    assert Counted.total == case.operations(None)


def test_the_products_of_a_convolution_are_counted():
    case = growth_curves.convolution(patterns=3, filters=5, side=6, kernel=3)
    layer = case.run.arrays
    layer.W.data = layer.W.data.view(Counted)
    Counted.total = 0
    case.run()
    assert Counted.total == case.operations(None) * 2 / 3  # without ga cols^T, whose factors are no weights


def test_every_curve_has_its_record():
    records = record_file.read(growth.RECORD)
    kept = [tuple(record["spec"][key] for key in ("method", "axis", "time", "memory")) for record in records]
    assert kept == [(curve.method, curve.axis, curve.time, curve.memory) for curve in growth_curves.CURVES]
    for record, curve in zip(records, growth_curves.CURVES):
        assert record["spec"]["sizes"] == list(curve.sizes)
        assert all(len(each) == record["spec"]["rounds"] for each in record["seconds"])
        assert len(record["seconds"]) == len(record["bytes"]) == len(record["operations"]) == len(curve.sizes)
        case = curve.prepare(curve.sizes[0])
        assert record["operations"][0] == case.operations(case.run()), f"{curve.method}, {curve.axis}: measure again"
