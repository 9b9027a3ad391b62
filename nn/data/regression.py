"""The three data sets of the sparse-regression notebooks: which column of which file is what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.backend import Array


@dataclass(frozen=True, eq=False)
class RegressionSet:
    """Training and test part, each a pair (X, y): X (n, p), samples in rows, y (n,); the test part may be None.

    Attributes
    ----------
    names : the p columns of X.
    groups : index arrays of the columns that belong together, as `textbook.group_lasso` takes them; mostly empty.
    group_names : one a group.
    """

    train: tuple[Array, Array]
    test: tuple[Array, Array] | None
    names: tuple[str, ...]
    groups: tuple[np.ndarray, ...] = ()
    group_names: tuple[str, ...] = ()


PROSTATE = ("lcavol", "lweight", "age", "lbph", "svi", "lcp", "gleason", "pgg45")
PROSTATE_HEADER = (*PROSTATE, "lpsa", "train")  # the column of row numbers has no name

DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")

BIRTHWT_GROUPS = {
    "age": ("age1", "age2", "age3"),
    "lwt": ("lwt1", "lwt2", "lwt3"),
    "race": ("white", "black"),
    "smoke": ("smoke",),
    "ptl": ("ptl1", "ptl2m"),
    "ht": ("ht",),
    "ui": ("ui",),
    "ftv": ("ftv1", "ftv2", "ftv3m"),
}
BIRTHWT = tuple(column for columns in BIRTHWT_GROUPS.values() for column in columns)
BIRTHWT_HEADER = ("low", "bwt", *BIRTHWT)


def assemble_prostate(parts: Sequence[Any], dtype: Any) -> RegressionSet:
    """Split the 97 men by the file's own flag into 67 and 30; the first column numbers them."""
    (table,) = parts
    X, y, train = table[:, 1:9].astype(dtype), table[:, 9].astype(dtype), table[:, 10] == 1
    return RegressionSet(train=(X[train], y[train]), test=(X[~train], y[~train]), names=PROSTATE)


def assemble_diabetes(parts: Sequence[Any], dtype: Any) -> RegressionSet:
    """Put the two files side by side."""
    X, y = parts
    return RegressionSet(train=(X.astype(dtype), y[:, 0].astype(dtype)), test=None, names=DIABETES)


def assemble_birthwt(parts: Sequence[Any], dtype: Any) -> RegressionSet:
    """Leave out the first column, which says whether the second, the weight in kg, is below 2.5."""
    (table,) = parts
    groups = tuple(np.array([BIRTHWT.index(column) for column in columns]) for columns in BIRTHWT_GROUPS.values())
    part = table[:, 2:].astype(dtype), table[:, 1].astype(dtype)
    return RegressionSet(train=part, test=None, names=BIRTHWT, groups=groups, group_names=tuple(BIRTHWT_GROUPS))
