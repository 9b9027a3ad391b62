"""Vectors whose coefficients come in groups, the groups one behind the other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Blocks:
    """Consecutive blocks of a vector, `sizes` long, and the factor lam_g of each block's norm."""

    sizes: np.ndarray
    lam: np.ndarray

    @cached_property
    def starts(self) -> np.ndarray:
        """First index of every block."""
        return np.cumsum(self.sizes) - self.sizes

    def dots(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a_g^T b_g for every block."""
        return np.add.reduceat(a * b, self.starts)

    def norms(self, a: np.ndarray) -> np.ndarray:
        """Return ||a_g|| for every block."""
        return np.sqrt(self.dots(a, a))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Return a vector with the block's value at each of its places."""
        return np.repeat(values, self.sizes)

    def only(self, chosen: np.ndarray) -> "Blocks":
        """Return some of the blocks."""
        return Blocks(self.sizes[chosen], self.lam[chosen])
