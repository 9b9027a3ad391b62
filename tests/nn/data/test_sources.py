"""The list of data sets: CIFAR-10 as files and as an archive, its hashes, every packing."""

import dataclasses
import gzip
import hashlib
import lzma
import re

import numpy as np
import pytest
from data_files import (
    BATCH_3,
    CHANGED,
    CIFAR_ARCHIVE,
    CIFAR_FILES,
    CIFAR_MEMBERS,
    assert_is_tiny_cifar,
    names,
    put_archive,
    put_cifar,
    tar,
)

import nn
from nn.data.load import find
from nn.data.sources import DATA_SETS, DataFile, read_verified


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (lzma.compress, ".xz"), (gzip.compress, ".gz")])
def test_cifar_loads_from_its_files(tiny_cifar, tmp_path, pack, suffix, dtype):
    root = put_cifar(tmp_path, pack=pack, suffix=suffix)
    assert_is_tiny_cifar(nn.data.load("cifar10", root, dtype), dtype)


def test_cifar_loads_from_its_archive_and_unpacks_nothing(tiny_cifar, tmp_path):
    assert_is_tiny_cifar(nn.data.load("cifar10", put_archive(tmp_path, *CIFAR_MEMBERS)))
    assert find("cifar10", tmp_path) == [tmp_path / "cifar10" / CIFAR_ARCHIVE]
    assert names(tmp_path / "cifar10") == [CIFAR_ARCHIVE]


def test_the_archive_comes_before_the_files(tiny_cifar, tmp_path):
    put_cifar(tmp_path, {name: b"something else" for name in CIFAR_FILES})
    assert_is_tiny_cifar(nn.data.load("cifar10", put_archive(tmp_path, *CIFAR_MEMBERS)))


def test_an_incomplete_cifar_is_not_found(tiny_cifar, tmp_path):
    (put_cifar(tmp_path) / "cifar10/cifar-10-batches-bin/data_batch_4.bin").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path / 'cifar10'} has 5 of 6 files")):
        nn.data.load("cifar10", root=tmp_path)


@pytest.mark.parametrize("last", CIFAR_FILES)
def test_a_missing_member_is_named(tiny_cifar, tmp_path, last):
    put_archive(tmp_path, *(member for member in CIFAR_MEMBERS if member[0] != last), (f"../{last}", CIFAR_FILES[last]))
    with pytest.raises(
        ValueError, match=rf"\.tar\.gz: expected an archive that contains {last}, found no file of this"
    ):
        nn.data.load("cifar10", root=tmp_path)


@pytest.mark.parametrize("wrong", [CHANGED, CIFAR_FILES[BATCH_3][:-100], b""])
def test_a_foreign_cifar_file_is_refused_with_both_hashes(tiny_cifar, tmp_path, wrong):
    put_cifar(tmp_path / "files", CIFAR_FILES | {BATCH_3: wrong})
    put_archive(tmp_path / "archive", *CIFAR_MEMBERS, (BATCH_3, wrong))  # in a tar the last of a name counts
    expected, found = (hashlib.sha256(content).hexdigest() for content in (CIFAR_FILES[BATCH_3], wrong))
    for root, name in [("files", BATCH_3), ("archive", f"{CIFAR_ARCHIVE}/{BATCH_3}")]:
        path = tmp_path / root / "cifar10" / name
        message = f"{path}: expected content with the SHA256 {expected}, found {found}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            nn.data.load("cifar10", root=tmp_path / root)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw[:200] + b"\xff\xff" + raw[202:]])
@pytest.mark.parametrize(("pack", "name"), [(lzma.compress, f"{BATCH_3}.xz"), (gzip.compress, CIFAR_ARCHIVE)])
def test_a_damaged_packing_of_cifar_is_refused(tiny_cifar, tmp_path, pack, name, damage):
    content = CIFAR_FILES[BATCH_3] if name.endswith(".xz") else tar(*CIFAR_MEMBERS)
    put_cifar(tmp_path, CIFAR_FILES | {name: damage(pack(content))})
    if name.endswith(".xz"):
        (tmp_path / "cifar10" / BATCH_3).unlink()
    with pytest.raises(ValueError, match=f"{re.escape(name)}: expected complete .* truncated or damaged"):
        nn.data.load("cifar10", root=tmp_path)


def test_the_published_cifar_hashes_refuse_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"data_batch_1\.bin: expected content with the SHA256 cee91656.*, found "):
        nn.data.load("cifar10", root=put_cifar(tmp_path))


def test_every_file_has_its_proof_and_its_size():
    """Of an archive the members have theirs."""
    for source in DATA_SETS.values():
        for file in source.files:
            assert file.size > 0
            for digest, length in ((file.sha256, 64), *zip(file.published or (), (32, 64))):
                assert digest is None or re.fullmatch(f"[0-9a-f]{{{length}}}", digest)
            assert (file.sha256 is None) == (file.published is not None)
        assert source.archive is None or source.archive.size > sum(file.size for file in source.files)


def test_the_published_sums_of_fashion_mnist_are_those_of_its_readme():
    assert {file.name: file.published[0] for file in DATA_SETS["fashion-mnist"].files} == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }


@pytest.mark.parametrize("wrong", [0, 1])
def test_both_published_sums_must_be_right(wrong):
    sums = [hashlib.md5(b"content").hexdigest(), hashlib.sha256(b"content").hexdigest()]
    file = DataFile("f", 7, None, lambda content, name: content, tuple(sums))
    assert read_verified(file, b"content", "f") == b"content"
    sums[wrong] = sums[wrong][::-1]
    with pytest.raises(ValueError, match="expected the file as it is published"):
        read_verified(dataclasses.replace(file, published=tuple(sums)), b"content", "f")


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_cifar_files_without_their_folder_load_too(tiny_cifar, tmp_path, suffix):
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[suffix]
    flat = {name.rpartition("/")[2]: content for name, content in CIFAR_FILES.items()}
    assert_is_tiny_cifar(nn.data.load("cifar10", put_cifar(tmp_path, flat, pack, suffix)))


def test_a_bomb_of_the_size_of_an_archive_is_refused(tiny_cifar, tmp_path, monkeypatch):
    small = dataclasses.replace(DATA_SETS["cifar10"].archive, size=30_000)
    monkeypatch.setitem(DATA_SETS, "cifar10", dataclasses.replace(DATA_SETS["cifar10"], archive=small))
    put_cifar(tmp_path, {CIFAR_ARCHIVE: gzip.compress(bytes(10_000_000))})
    with pytest.raises(ValueError, match=r"\.tar\.gz: expected a content of at most 30000 bytes, found more$"):
        nn.data.load("cifar10", root=tmp_path)
