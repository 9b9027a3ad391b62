"""Where the data sets are found: `load` reads one, once its content was proved to be the right one."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from nn.data.images import DataSet
from nn.data.regression import RegressionSet
from nn.data.sources import DataFile, Source, read_verified_path, source_of


def load(
    name: str, root: str | os.PathLike[str] | None = None, dtype: Any = np.float64, unverified: bool = False
) -> DataSet | RegressionSet:
    """Return a data set, after its content was proved to be the right one.

    ============== ============ ============== ===========================================================
    name           (C, H, W)    train, test    values
    ============== ============ ============== ===========================================================
    digits         (1, 8, 8)    1437, 360      0..1, the grey value / 16; the last 360 images are the test
    mnist          (1, 28, 28)  60000, 10000   0..1, the grey value / 255
    fashion-mnist  (1, 28, 28)  60000, 10000   0..1, the grey value / 255
    usps           (1, 16, 16)  7291, 2007     -1..1, as distributed
    cifar10        (3, 32, 32)  50000, 10000   0..1, red, green and blue / 255
    ============== ============ ============== ===========================================================

    ============== ============ ============== ===========================================================
    name           p            train, test    y, and the p columns of X
    ============== ============ ============== ===========================================================
    prostate       8            67, 30         log of the PSA value; the split is the file's own
    diabetes       10           442, none      progression of the disease; the measured, unscaled columns
    birthwt        16           189, none      birth weight in kg; eight groups of columns
    ============== ============ ============== ===========================================================

    The three regression sets are a `RegressionSet`: X (n, p) and y (n,) as the file has them, neither centred nor
    scaled.  Which scaling a published result used belongs to that result: scikit-learn's ``load_diabetes`` is
    ``X = X - X.mean(axis=0); X = X / np.linalg.norm(X, axis=0)``.

    ``digits`` is part of the package.  The others are looked for in ``root/NAME``, ``$PRUNING_DATA/NAME`` and the user
    cache, in this order (NAME is ``regression`` for the three regression sets); the first folder that holds all files,
    each plain, .gz or .xz, is taken.  Those of the two MNIST sets may also be called ``train-images.idx3-ubyte`` and so
    on.  For cifar10 they are ``cifar-10-batches-bin/*.bin``, in that folder or without it, or, with precedence, the
    archive ``cifar-10-binary.tar.gz``, which is read without being unpacked.

    The SHA256 of every decompressed file is verified.  Of fashion-mnist only sums of the .gz files are published: these
    are verified, so that its files must be the published ones and not another packing, unless `unverified` takes them
    as they are.

    Besides the result, only the bytes of the images are in memory: at its peak, loading cifar10 takes 1.2 GB for
    float32, of which 0.74 GB are returned, and 1.9 GB for float64, of which 1.47 GB are (measured).

    Parameters
    ----------
    name : one of the names above.
    root : folder that contains the folder of the data set, or None.
    dtype : float64 or float32, of the images, or of X and y.
    unverified : take files whose content cannot be verified, once their format and counts are right.

    Raises
    ------
    ValueError
        If the name is unknown, the dtype is another one, or the content of a file is not the expected one or cannot be
        verified.
    FileNotFoundError
        If the data set is not there.

    Examples
    --------
    >>> import nn
    >>> data = nn.data.load("digits")
    >>> data.train[0].shape, data.train[1].shape, data.test[0].shape
    ((1, 8, 8, 1437), (1437,), (1, 8, 8, 360))
    """
    source, dtype = source_of(name), _checked(dtype)
    files, paths = _locate(name, root)
    parts = [read_verified_path(file, path, unverified) for file, path in zip(files, paths)]
    return source.assemble(parts if files is source.files else parts[0], dtype)


def cache_folder() -> Path:
    """Return the folder, of the user who runs this, that downloads go to."""
    return platformdirs.user_cache_path("pruning-by-hand", appauthor=False)


def find(name: str, root: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the paths of the files of a data set, or of their archive, all in the first folder that holds all of them.

    Raises
    ------
    FileNotFoundError
        If no folder does; the sentence names the ways to provide the data.
    """
    return _locate(name, root)[1]


def _locate(name: str, root: str | os.PathLike[str] | None) -> tuple[tuple[DataFile, ...], list[Path]]:
    source = source_of(name)
    searched = []
    for folder in _folders(name, source, root):
        files = files_in(folder, source)
        paths = [path for file in files if (path := packed_or_plain(folder, file)) is not None]
        if len(paths) == len(files):
            return files, paths
        searched.append(f"{folder} has {len(paths)} of {len(files)} files")
    expected = ", ".join(file.name for file in source.files)
    if source.archive:
        expected += f", or {source.archive.name}"
    if source.url:
        last = f" (each plain, .gz or .xz), or download it with `python -m nn.data fetch {name}`"
    else:
        last = f": {source.origin}"
    raise FileNotFoundError(
        f"the data set {name} was not found ({', '.join(searched)}): name, as root= or --root or in $PRUNING_DATA, "
        f"the folder that contains {source.folder or name}/ with {expected}{last}"
    )


def without_address(source: Source) -> str:
    """Return what to tell a user about files that cannot be downloaded."""
    return f"which must hold {', '.join(file.name for file in source.files)}: {source.origin}"


def check_folder(name: str, folder: Any) -> None:
    """Raise a TypeError unless the argument of this name is the path of a folder or None."""
    if not isinstance(folder, str | os.PathLike | None):
        raise TypeError(f"expected {name} to be the path of a folder or None, got {folder!r}")


def _folders(name: str, source: Source, root: str | os.PathLike[str] | None) -> list[Path]:
    if source.embedded:
        return [Path(__file__).parent]
    check_folder("root", root)
    roots = [root, os.environ.get("PRUNING_DATA"), cache_folder()]
    return [Path(folder) / (source.folder or name) for folder in roots if folder]


def files_in(folder: Path, source: Source) -> tuple[DataFile, ...]:
    """Return what to look for in a folder: the archive of a data set if it is there, else the files."""
    if source.archive is not None and packed_or_plain(folder, source.archive) is not None:
        return (source.archive,)
    return source.files


def packed_or_plain(folder: Path, file: DataFile) -> Path | None:
    """Return the path of a file, as distributed, decompressed, .gz or .xz, or None if none of them is there."""
    names = [file.name.removesuffix(".gz"), *([file.other_name] if file.other_name else [])]
    for candidate in (file.name, *(name + packing for name in names for packing in ("", ".gz", ".xz"))):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def _checked(dtype: Any) -> Any:
    try:
        # np.dtype(None) is float64: a default that nobody asked for.
        known = dtype is not None and np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(f"expected the dtype float32 or float64, got {dtype!r}")
    return np.dtype(dtype)


def content_sum(name: str) -> str:
    """Return one SHA256 for a data set, that of the sums of its files in their order, without reading the files.

    `load` accepts no other contents, so that equal sums mean equal images.  Of fashion-mnist the sums are those of the
    files as they are published.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> import nn
    >>> nn.data.content_sum("digits")[:16]
    '3668f68b44de9080'
    """
    sums = (file.sha256 or (file.published or ("", ""))[1] for file in source_of(name).files)
    return hashlib.sha256("".join(sums).encode()).hexdigest()
