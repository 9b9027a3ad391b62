"""Where the data sets are found, how their content is proved to be the right one, and the shape they come in.

`DATA_SETS` is the whole list: a new data set is an entry there, a reader of its files in `nn.data.formats`, and a
function that puts what was read together.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from nn.backend import Array
from nn.data import regression
from nn.data.formats import (
    decompress,
    read_cifar,
    read_digits_csv,
    read_idx,
    read_idx_labels,
    read_table,
    read_tar,
    read_zip_text,
)
from nn.data.regression import RegressionSet


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test part, each a pair (x, t): images x (C, H, W, N) batch last, labels t (N,) int64."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


@dataclass(frozen=True)
class DataFile:
    """One file: its name as distributed, the SHA256 of its decompressed content (None: not known), its reader."""

    name: str
    sha256: str | None
    read: Callable[[bytes, str], Any]


@dataclass(frozen=True)
class Source:
    """A data set on disk: its files, what makes a `DataSet` or `RegressionSet` of them, terms of use, address.

    Some are distributed as one archive of the files; its reader returns the list of what theirs return.  `folder` is
    the folder they lie in, where it does not bear the name of the data set.  Where there is no address, the files are
    `embedded` in the package, or `origin` says what they are made from.
    """

    files: tuple[DataFile, ...]
    assemble: Callable[[Sequence[Any], Any], DataSet | RegressionSet]
    terms: str
    url: str | None
    archive: DataFile | None = None
    folder: str | None = None
    embedded: bool = False
    origin: str | None = None


def load(name: str, root: str | os.PathLike[str] | None = None, dtype: Any = np.float64) -> DataSet | RegressionSet:
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
    each plain, .gz or .xz, is taken.  For cifar10 they are ``cifar-10-batches-bin/*.bin`` or, with precedence, the
    archive ``cifar-10-binary.tar.gz``, which is read without being unpacked.  The SHA256 of every decompressed file is
    verified, except for fashion-mnist, whose decompressed hashes we do not know: there only the format, the counts and
    the range of the labels are.

    Besides the result, only the bytes of the images are in memory: at its peak, loading cifar10 takes 1.2 GB for
    float32, of which 0.74 GB are returned, and 1.9 GB for float64, of which 1.47 GB are (measured).

    Parameters
    ----------
    name : one of the names above.
    root : folder that contains the folder of the data set, or None.
    dtype : float64 or float32, of the images, or of X and y.

    Raises
    ------
    ValueError
        If the name is unknown, the dtype is another one, or the content of a file is not the expected one.
    FileNotFoundError
        If the data set is not there.
    """
    source, dtype = source_of(name), _checked(dtype)
    files, paths = _locate(name, root)
    parts = [read_verified(file, path.read_bytes(), str(path)) for file, path in zip(files, paths)]
    return source.assemble(parts if files is source.files else parts[0], dtype)


def batch_last(images: Array) -> Array:
    """Return a new C-contiguous array with the batch, first axis of files and of PyTorch, as the last one.

    (N, H, W) becomes (1, H, W, N), (N, C, H, W) becomes (C, H, W, N), and a table (N, D) becomes (D, N).

    Raises
    ------
    ValueError
        If `images` has another number of axes.
    """
    images = np.asarray(images)
    if images.ndim not in (2, 3, 4):
        raise ValueError(f"expected an array (N, D), (N, H, W) or (N, C, H, W), got one of shape {images.shape}")
    if images.ndim == 3:
        images = images[:, None]
    return np.array(np.moveaxis(images, 0, -1), order="C")


def source_of(name: str) -> Source:
    """Return the entry of a data set; a ValueError if there is none of this name."""
    if name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


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
    last = f"or download it with `python -m nn.data fetch {name}`" if source.url else without_address(source)
    raise FileNotFoundError(
        f"the data set {name} was not found ({', '.join(searched)}): name the folder that contains "
        f"{source.folder or name}/ with root= or --root, or in $PRUNING_DATA, {last}"
    )


def without_address(source: Source) -> str:
    """Return what to tell a user about files that cannot be downloaded."""
    return f"which must hold {', '.join(file.name for file in source.files)}: {source.origin}"


def _folders(name: str, source: Source, root: str | os.PathLike[str] | None) -> list[Path]:
    if source.embedded:
        return [Path(__file__).parent]
    roots = [root, os.environ.get("PRUNING_DATA"), cache_folder()]
    return [Path(folder) / (source.folder or name) for folder in roots if folder]


def files_in(folder: Path, source: Source) -> tuple[DataFile, ...]:
    """Return what to look for in a folder: the archive of a data set if it is there, else the files."""
    if source.archive is not None and packed_or_plain(folder, source.archive) is not None:
        return (source.archive,)
    return source.files


def packed_or_plain(folder: Path, file: DataFile) -> Path | None:
    """Return the path of a file, as distributed, decompressed, .gz or .xz, or None if none of them is there."""
    plain = file.name.removesuffix(".gz")
    for candidate in (file.name, plain, f"{plain}.gz", f"{plain}.xz"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def read_verified(file: DataFile, raw: bytes, name: str) -> Any:
    """Return what the reader of `file` makes of its bytes, once the decompressed content is known to be the right one.

    Parameters
    ----------
    file : which file it is meant to be.
    raw : its bytes, gzipped if `name` ends in .gz, in xz if in .xz.
    name : path or address, for errors.

    Raises
    ------
    ValueError
        If the SHA256 of the content or its format is wrong.
    """
    content = decompress(raw, name)
    if file.sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise ValueError(f"{name}: expected content with the SHA256 {file.sha256}, found {found}")
    return file.read(content, name)


def _checked(dtype: Any) -> Any:
    try:
        # np.dtype(None) is float64: a default that nobody asked for.
        known = dtype is not None and np.dtype(dtype) in (np.dtype(np.float32), np.dtype(np.float64))
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(f"expected the dtype float32 or float64, got {dtype!r}")
    return np.dtype(dtype)


def _part(images: Array, labels: Array, scale: int, dtype: Any) -> tuple[Array, Array]:
    x = batch_last(images).astype(dtype)
    x /= scale
    return x, labels


def _assemble_digits(parts: Sequence[Any], dtype: Any) -> DataSet:
    ((images, labels),) = parts
    n_train = 1437
    return DataSet(
        train=_part(images[:n_train], labels[:n_train], 16, dtype),
        test=_part(images[n_train:], labels[n_train:], 16, dtype),
    )


def _assemble_mnist(parts: Sequence[Any], dtype: Any) -> DataSet:
    train_images, train_labels, test_images, test_labels = parts
    return DataSet(
        train=_part(train_images, train_labels, 255, dtype),
        test=_part(test_images, test_labels, 255, dtype),
    )


def _assemble_usps(parts: Sequence[Any], dtype: Any) -> DataSet:
    (train_images, train_labels), (test_images, test_labels) = parts
    return DataSet(
        train=_part(train_images, train_labels, 1, dtype),
        test=_part(test_images, test_labels, 1, dtype),
    )


def _assemble_cifar10(parts: Sequence[Any], dtype: Any) -> DataSet:
    *batches, (test_images, test_labels) = parts
    train_images, train_labels = (np.concatenate(arrays) for arrays in zip(*batches))
    return DataSet(
        train=_part(train_images, train_labels, 255, dtype),
        test=_part(test_images, test_labels, 255, dtype),
    )


def _read_archive(content: bytes, name: str, files: Sequence[DataFile]) -> list[Any]:
    members = read_tar(content, [file.name for file in files], name)
    return [read_verified(file, member, f"{name}/{file.name}") for file, member in zip(files, members)]


def _mnist_files(sha256: Sequence[str | None]) -> tuple[DataFile, ...]:
    return (
        DataFile("train-images-idx3-ubyte.gz", sha256[0], partial(read_idx, shape=(60000, 28, 28))),
        DataFile("train-labels-idx1-ubyte.gz", sha256[1], partial(read_idx_labels, shape=(60000,))),
        DataFile("t10k-images-idx3-ubyte.gz", sha256[2], partial(read_idx, shape=(10000, 28, 28))),
        DataFile("t10k-labels-idx1-ubyte.gz", sha256[3], partial(read_idx_labels, shape=(10000,))),
    )


_DIGITS_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
_MNIST_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_USPS_SHA256 = (
    "abc9f5c75b997cabe66b5d01727d5a681c69298e1641a8d37b55433a52129dc0",
    "6bde17b4f1cd68e0630cd2751d6495b5795d9165ab2dc4a0be8b7002b732f4cc",
)
_CIFAR10_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_CIFAR10_FILES = tuple(
    DataFile(f"cifar-10-batches-bin/{name}.bin", sha256, partial(read_cifar, count=10000))
    for name, sha256 in _CIFAR10_SHA256.items()
)
_PROSTATE_SHA256 = "65e3c8581c1a140aa4ad27d857df18e024d3ea7560f6a653417740e783daad71"
_DIABETES_SHA256 = (
    "86badf50b4f9436ddd1e497dc0ae1b93166f8120221ee7dca4634fe849f3be7c",
    "244713a551f62a291a354212d8a048adec6cb1244b2bc44e66a0698f5006d26d",
)
_BIRTHWT_SHA256 = "8ee983435e36c55e7a3d636587689f4e5269368521f5422fb227c5ae2cdcfd89"

DATA_SETS: dict[str, Source] = {
    "digits": Source(
        files=(DataFile("digits.csv.gz", _DIGITS_SHA256, partial(read_digits_csv, count=1797)),),
        assemble=_assemble_digits,
        terms="CC BY 4.0, Alpaydin and Kaynak 1998, UCI",
        url=None,
        embedded=True,
    ),
    "mnist": Source(
        files=_mnist_files(_MNIST_SHA256),
        assemble=_assemble_mnist,
        terms="CC BY-SA 3.0, LeCun and Cortes, as the Keras documentation states",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "fashion-mnist": Source(
        files=_mnist_files((None, None, None, None)),
        assemble=_assemble_mnist,
        terms="MIT, Zalando",
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    "usps": Source(
        files=(
            DataFile("zip.train.gz", _USPS_SHA256[0], partial(read_zip_text, count=7291)),
            DataFile("zip.test.gz", _USPS_SHA256[1], partial(read_zip_text, count=2007)),
        ),
        assemble=_assemble_usps,
        terms="no licence stated; made available by AT&T research labs, carried by an R package under GPL (>= 2)",
        url="https://hastie.su.domains/ElemStatLearn/datasets/",
    ),
    "cifar10": Source(
        files=_CIFAR10_FILES,
        assemble=_assemble_cifar10,
        terms="no licence stated; the owner asks to cite Krizhevsky 2009, Learning Multiple Layers of Features",
        url="https://www.cs.toronto.edu/~kriz/",
        archive=DataFile("cifar-10-binary.tar.gz", None, partial(_read_archive, files=_CIFAR10_FILES)),
    ),
    "prostate": Source(
        files=(
            DataFile(
                "prostate.data",
                _PROSTATE_SHA256,
                partial(read_table, columns=11, count=97, header=regression.PROSTATE_HEADER),
            ),
        ),
        assemble=regression.assemble_prostate,
        terms="no licence stated; Stamey et al. 1989, carried by an R package under GPL (>= 2)",
        url="https://hastie.su.domains/ElemStatLearn/datasets/",
        folder="regression",
    ),
    "diabetes": Source(
        files=(
            DataFile("diabetes_data_raw.csv.gz", _DIABETES_SHA256[0], partial(read_table, columns=10, count=442)),
            DataFile("diabetes_target.csv.gz", _DIABETES_SHA256[1], partial(read_table, columns=1, count=442)),
        ),
        assemble=regression.assemble_diabetes,
        terms="Efron et al. 2004; bundled by scikit-learn, which is under BSD-3-Clause",
        url="https://raw.githubusercontent.com/scikit-learn/scikit-learn/1.9.1/sklearn/datasets/data/",
        folder="regression",
    ),
    "birthwt": Source(
        files=(
            DataFile(
                "birthwt_groups.csv",
                _BIRTHWT_SHA256,
                partial(read_table, columns=18, delimiter=",", count=189, header=regression.BIRTHWT_HEADER),
            ),
        ),
        assemble=regression.assemble_birthwt,
        terms="Hosmer and Lemeshow 1989; carried by the R packages MASS (GPL-2 or 3) and grpreg (GPL-3)",
        url=None,
        folder="regression",
        origin="it is low, bwt and the 16 columns X of the data set Birthwt of the R package grpreg, as a table with a "
        "header, separated by commas, truth values as 1 and 0, each number in the fewest digits that read back as it",
    ),
}
