"""The list of the data sets: their files, the proof of their content, terms of use, addresses.

`DATA_SETS` is the whole list: a new data set is an entry there, a reader of its files in `nn.data.formats`, and a
function in `nn.data.images` or `nn.data.regression` that puts what was read together.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nn.data import images, regression
from nn.data.formats import read_cifar, read_digits_csv, read_idx, read_idx_labels, read_table, read_zip_text
from nn.data.images import DataSet
from nn.data.packings import decompress, read_tar
from nn.data.regression import RegressionSet


@dataclass(frozen=True)
class DataFile:
    """One file of a data set, and the proof of its content.

    Attributes
    ----------
    name : as it is distributed.
    size : bytes of its decompressed content; of an archive, the most that it may have.
    sha256 : of the decompressed content, so that every packing of it passes.  None: only `published` is known, or it is
        an archive, whose members have theirs.
    read : what makes arrays of the content.
    published : MD5 and SHA256 of the file as it is distributed, where nothing is known of its content.
    other_name : another name that it is found under, unpacked.
    """

    name: str
    size: int
    sha256: str | None
    read: Callable[[bytes, str], Any]
    published: tuple[str, str] | None = None
    other_name: str | None = None

    @property
    def most_bytes(self) -> int:
        """Return the most bytes that any packing of it has: what cannot be compressed grows by less than this."""
        return self.size + self.size // 1000 + 1024


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


def source_of(name: str) -> Source:
    """Return the entry of a data set; a ValueError if there is none of this name."""
    if not isinstance(name, str) or name not in DATA_SETS:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(DATA_SETS)}")
    return DATA_SETS[name]


def read_verified(file: DataFile, raw: bytes, name: str, unverified: bool = False) -> Any:
    """Return what the reader of `file` makes of its bytes, once the content is known to be the right one.

    Parameters
    ----------
    file : which file it is meant to be.
    raw : its bytes, gzipped if `name` ends in .gz, in xz if in .xz.
    name : path or address, for errors.
    unverified : take a file whose content cannot be verified, for only sums of another packing were published.

    Raises
    ------
    ValueError
        If its size, the SHA256 of its content, or its format is wrong, or the content cannot be verified.
    """
    if len(raw) > file.most_bytes:
        raise ValueError(f"{name}: expected at most {file.most_bytes} bytes, found {len(raw)}")
    if file.published is not None and unverified is not True:  # not "no" either
        _check_published(file.published, raw, name)
    content = decompress(raw, name, file.size)
    if file.sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise ValueError(f"{name}: expected content with the SHA256 {file.sha256}, found {found}")
    return file.read(content, name)


def read_verified_path(file: DataFile, path: Path, unverified: bool = False) -> Any:
    """Return `read_verified` of a file on disk, which is not read at all if it is too long."""
    if (found := path.stat().st_size) > file.most_bytes:
        raise ValueError(f"{path}: expected at most {file.most_bytes} bytes, found {found}")
    return read_verified(file, path.read_bytes(), str(path), unverified)


def _check_published(published: tuple[str, str], raw: bytes, name: str) -> None:
    # Two files with equal MD5 can be made on purpose today, though no second one for a given file: hence both sums.
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest(), hashlib.sha256(raw).hexdigest()
    if found != published:
        raise ValueError(
            f"{name}: expected the file as it is published, with the MD5 {published[0]} and the SHA256 {published[1]}, "
            f"found {found[0]} and {found[1]}; another packing of it cannot be verified and is only taken with "
            "unverified=True or --unverified"
        )


def _read_archive(content: bytes, name: str, files: Sequence[DataFile]) -> list[Any]:
    members = read_tar(content, [file.name for file in files], name)
    return [read_verified(file, member, f"{name}/{file.name}") for file, member in zip(files, members)]


def _mnist_files(
    sha256: Sequence[str | None], published: Sequence[tuple[str, str] | None] = (None,) * 4
) -> tuple[DataFile, ...]:
    return tuple(
        DataFile(
            f"{part}-{kind}-idx{len(shape)}-ubyte.gz",
            4 + 4 * len(shape) + math.prod(shape),
            content,
            partial(read_idx if kind == "images" else read_idx_labels, shape=shape),
            sums,
            other_name=f"{part}-{kind}.idx{len(shape)}-ubyte",  # as some archives unpack
        )
        for (part, kind, shape), content, sums in zip(_MNIST_FILES, sha256, published, strict=True)
    )


_MNIST_FILES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("train", "images", (60000, 28, 28)),
    ("train", "labels", (60000,)),
    ("t10k", "images", (10000, 28, 28)),
    ("t10k", "labels", (10000,)),
)
_DIGITS_SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
_MNIST_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
# MD5 as the README of Fashion-MNIST has it, SHA256 of the same files as TensorFlow Datasets lists it.
_FASHION_MNIST_PUBLISHED = (
    ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("25c81989df183df01b3e8a0aad5dffbe", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("bef4ecab320f06d8554ea6380940ec79", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("bb300cfdad3c16e7a12a480ee83cd310", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
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
    DataFile(
        f"cifar-10-batches-bin/{name}.bin",
        30_730_000,
        sha256,
        partial(read_cifar, count=10000),
        other_name=f"{name}.bin",
    )
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
        files=(DataFile("digits.csv.gz", 264_712, _DIGITS_SHA256, partial(read_digits_csv, count=1797)),),
        assemble=images.assemble_digits,
        terms="CC BY 4.0, Alpaydin and Kaynak 1998, UCI",
        url=None,
        embedded=True,
    ),
    "mnist": Source(
        files=_mnist_files(_MNIST_SHA256),
        assemble=images.assemble_mnist,
        terms="CC BY-SA 3.0, LeCun and Cortes, as the Keras documentation states",
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    "fashion-mnist": Source(
        files=_mnist_files((None,) * 4, _FASHION_MNIST_PUBLISHED),
        assemble=images.assemble_mnist,
        terms="MIT, Zalando",
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    "usps": Source(
        files=(
            DataFile("zip.train.gz", 14_512_253, _USPS_SHA256[0], partial(read_zip_text, count=7291)),
            DataFile("zip.test.gz", 2_029_542, _USPS_SHA256[1], partial(read_zip_text, count=2007)),
        ),
        assemble=images.assemble_usps,
        terms="no licence stated; made available by AT&T research labs, carried by an R package under GPL (>= 2)",
        url="https://hastie.su.domains/ElemStatLearn/datasets/",
    ),
    "cifar10": Source(
        files=_CIFAR10_FILES,
        assemble=images.assemble_cifar10,
        terms="no licence stated; the owner asks to cite Krizhevsky 2009, Learning Multiple Layers of Features",
        url="https://www.cs.toronto.edu/~kriz/",
        archive=DataFile("cifar-10-binary.tar.gz", 200_000_000, None, partial(_read_archive, files=_CIFAR10_FILES)),
    ),
    "prostate": Source(
        files=(
            DataFile(
                "prostate.data",
                7_130,
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
            DataFile(
                "diabetes_data_raw.csv.gz", 19_596, _DIABETES_SHA256[0], partial(read_table, columns=10, count=442)
            ),
            DataFile("diabetes_target.csv.gz", 11_050, _DIABETES_SHA256[1], partial(read_table, columns=1, count=442)),
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
                29_017,
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
