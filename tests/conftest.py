"""Fixtures: the array libraries that the same code has to run on."""

import functools
import types

import numpy as np
import pytest
from hypothesis import settings

# No examples to run in these, but imports that only some tests need (torch), or only `make bench`.
collect_ignore = ["benchmarks", "fuzz", "referees", "cases.py", "data_files.py", "noisy_layers.py", "random_nets.py"]

settings.register_profile("house", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("house")


def _numpy():
    return types.SimpleNamespace(name="numpy", xp=np)


def _torch():
    pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    import array_api_compat.torch as xp

    return types.SimpleNamespace(name="torch", xp=types.SimpleNamespace(asarray=xp.asarray))


def _strict():
    strict = pytest.importorskip("array_api_strict", reason="array-api-strict is not installed (extra verify)")
    # Not the default device: numpy arrays, numpy functions and device-less creation then fail, as on a GPU.
    on_device = functools.partial(strict.asarray, device=strict.Device("device1"))
    return types.SimpleNamespace(name="strict", xp=types.SimpleNamespace(asarray=on_device))


def _cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed (extra gpu)")
    if not cupy.cuda.is_available():
        pytest.skip("CuPy finds no GPU")
    return types.SimpleNamespace(name="cupy", xp=cupy)


@pytest.fixture(params=["numpy", "torch", "strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def library(request):
    """One array library: .name, and .xp with the asarray that puts a NumPy array on its (second) device."""
    return {"numpy": _numpy, "torch": _torch, "strict": _strict, "cupy": _cupy}[request.param]()
