"""One array library or another: the code of nn/ and pruning/ takes it from its input.

Only this file knows that CuPy exists.  CuPy imports without a GPU and fails at the first array, so nothing here
guesses: the caller names the device (``array_module("gpu")``, ``net.to(cupy)``) and keeps x in the same library.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""An array of NumPy, CuPy, or any library of the array-API standard; shapes stand in the docstrings."""

ArrayModule: TypeAlias = Any
"""The namespace that made an array: ``numpy``, ``cupy``, ..."""

NUMPY = (np.ndarray, np.generic)


def get_array_module(*arrays: Array) -> ArrayModule:
    """Return the one library that all `arrays` belong to.

    Raises
    ------
    TypeError
        If an argument is no array, or two arguments come from two libraries.
    """
    if len(arrays) == 1:
        return _module_of(arrays[0])
    modules = {_module_of(array) for array in arrays}
    if len(modules) != 1:
        names = sorted(module.__name__ for module in modules)
        raise TypeError(f"expected arrays of one library, got {' and '.join(names) or 'no array'}")
    return modules.pop()


def _module_of(array: Array) -> ArrayModule:
    if isinstance(array, NUMPY):
        return np
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    library = type(array).__module__.partition(".")[0]
    if library == "cupy":
        import cupy

        return cupy
    if library == "torch":
        # Only the tests get here: autograd differentiates our own forward.
        import array_api_compat.torch

        return array_api_compat.torch
    raise TypeError(f"expected an array of NumPy, CuPy or the array-API standard, got {type(array).__name__}")


def zeros(shape: int | Sequence[int], like: Array) -> Array:
    """Return zeros in the library, dtype and device of `like`.

    Parameters
    ----------
    shape : of the new array.
    """
    xp = get_array_module(like)
    return xp.zeros(shape, dtype=like.dtype, **_placement(xp, like))


def empty(shape: int | Sequence[int], like: Array) -> Array:
    """Return an array that is still to be filled, in the library, dtype and device of `like`.

    Parameters
    ----------
    shape : of the new array.
    """
    xp = get_array_module(like)
    return xp.empty(shape, dtype=like.dtype, **_placement(xp, like))


def full(shape: int | Sequence[int], value: float, like: Array) -> Array:
    """Return an array that is `value` everywhere, in the library, dtype and device of `like`.

    Parameters
    ----------
    shape : of the new array.
    """
    xp = get_array_module(like)
    return xp.full(shape, value, dtype=like.dtype, **_placement(xp, like))


def asarray(data: Any, like: Array, dtype: Any = None) -> Array:
    """Return `data` (NumPy array, list, number) in library and device of `like`, and in its dtype unless told."""
    xp = get_array_module(like)
    return xp.asarray(data, dtype=like.dtype if dtype is None else dtype, **_placement(xp, like))


def _placement(xp: ArrayModule, like: Array) -> dict[str, Any]:
    # CuPy's creation functions take no device= (its arrays live on the current device).
    return {} if xp.__name__ == "cupy" else {"device": like.device}


def to_numpy(x: Array) -> np.ndarray:
    """Return `x` as a NumPy array, copied from its device where it has to be."""
    if isinstance(x, NUMPY):
        return np.asarray(x)
    library = type(x).__module__.partition(".")[0]
    if library == "cupy":
        return x.get()
    if library == "torch":
        return x.detach().cpu().numpy()
    return np.from_dlpack(x, device="cpu")


def array_module(device: str) -> ArrayModule:
    """Return NumPy for the device "cpu" and CuPy for "gpu".

    Raises
    ------
    ValueError
        If the device has another name.
    RuntimeError
        If the device is "gpu" and CuPy is not installed or finds no GPU.
    """
    if device == "cpu":
        return np
    if device != "gpu":
        raise ValueError(f"expected the device cpu or gpu, got {device!r}")
    try:
        import cupy
    except ImportError:
        raise RuntimeError('the device gpu needs CuPy: pip install -e ".[gpu]" in the project folder') from None
    if not cupy.cuda.is_available():
        raise RuntimeError(
            'CuPy is installed but finds no usable GPU; the extras are "gpu" (CUDA 13), "gpu12" (CUDA 12)'
        )
    return cupy


def dtype_name(dtype: Any) -> str:
    """Return "float32", "float64", ... for a dtype of any library: torch's is called "torch.float64"."""
    return str(dtype).rpartition(".")[2]


@functools.cache
def is_floating(xp: ArrayModule, dtype: Any) -> bool:
    """Whether numbers of this dtype of the library `xp` are neither integers nor truth values."""
    return not xp.isdtype(dtype, ("integral", "bool"))


def sum_rows(x: Array) -> Array:
    """Return the sums (C,) of x (C, ..., N) over all axes but the first.

    One contiguous row for each is what NumPy sums in pairs, with an error like log2 n and not like n.
    """
    xp = get_array_module(x)
    return xp.sum(xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))), axis=1)


def sum_positions(x: Array) -> Array:
    """Return the sums (C, N) of x (C, ..., N) over all axes between the first and the last, in pairs as `sum_rows`.

    NumPy adds along such axes one after the other: in float32, a constant map of 224 x 224 pixels loses four digits.
    """
    xp = get_array_module(x)
    x = xp.reshape(x, (x.shape[0], math.prod(x.shape[1:-1]), x.shape[-1]))
    while x.shape[1] > 8:
        half = x.shape[1] // 2
        pairs = x[:, :half, :] + x[:, half : 2 * half, :]
        x = pairs if x.shape[1] % 2 == 0 else xp.concat([pairs, x[:, 2 * half :, :]], axis=1)
    return xp.sum(x, axis=1)


def diagonal(H: Array) -> Array:
    """Return the diagonals (D, N) of a batch of matrices `H` (D, D, N)."""
    xp = get_array_module(H)
    D, _, N = H.shape
    return xp.reshape(H, (D * D, N))[:: D + 1, :]


def diagonal_matrices(h: Array) -> Array:
    """Return the batch of matrices (D, D, N) that has `h` (D, N) on its diagonals and zeros elsewhere."""
    xp = get_array_module(h)
    D, N = h.shape
    identity = zeros((D * D,), like=h)
    identity[:: D + 1] = 1
    return xp.reshape(identity, (D, D, 1)) * h[None, :, :]
