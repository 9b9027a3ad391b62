"""What a layer trains: its data, the derivatives that the sweeps leave behind, and the mask that pruning gave it."""

from collections.abc import Sequence
from typing import Any

from nn.backend import Array, ArrayModule, to_numpy


class Parameter:
    """A trainable array u with dE/du, the diagonal of d2E/du2, and the 0/1 mask that pruning gave it.

    Parameters
    ----------
    data : array, or None for an outline
        An outline knows its shape and dtype but holds no numbers: it can be counted, not run.
    shape, dtype : shape and dtype of an outline; read off `data` otherwise.

    Attributes
    ----------
    grad, hess_diag : arrays of the shape of data, or None before the first sweep.
        Every sweep overwrites them: calling it twice changes nothing.
    mask : None, or an array of zeros and ones in the dtype of data; optimizers apply it to data after each step.
    """

    def __init__(self, data: Array, shape: Sequence[int] = (), dtype: Any = None):
        self._data = data
        self._shape, self._dtype = tuple(shape), dtype
        self.grad: Array = None
        self.hess_diag: Array = None
        self.mask: Array = None

    @property
    def data(self) -> Array:
        """The numbers; a ValueError if this is an outline."""
        if self._data is None:
            raise ValueError(
                f"this net is an outline (rng=None): its {self.shape} parameter has no data to compute with"
            )
        return self._data

    @data.setter
    def data(self, data: Array) -> None:
        self._data = data

    @property
    def is_outline(self) -> bool:
        """Whether there is a shape but no data."""
        return self._data is None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the data, known for an outline too."""
        return self._shape if self._data is None else tuple(self._data.shape)

    @property
    def dtype(self) -> Any:
        """The dtype of the data, known for an outline too."""
        return self._dtype if self._data is None else self._data.dtype

    def to(self, xp: ArrayModule) -> None:
        """Move every array of this parameter into the library `xp`."""
        for name in ("_data", "grad", "hess_diag", "mask"):
            setattr(self, name, moved(getattr(self, name), xp))


def moved(array: Array, xp: ArrayModule) -> Array:
    """Return the array in the library `xp`, or None if there is none."""
    return None if array is None else xp.asarray(to_numpy(array))
