"""`nn.data.load`: what is found where, and what is said otherwise.  With $PRUNING_DATA set, the real sets too."""

import hashlib
import os
import re

import numpy as np
import pytest
from data_files import PACKED, TINY, TINY_IMAGES, TINY_LABELS, idx, put

import nn
from nn.data.fetch import fetch
from nn.data.load import find
from nn.data.packings import decompress
from nn.data.sources import DATA_SETS

REAL = os.environ.get("PRUNING_DATA")


@pytest.mark.parametrize("dtype", [np.int64, np.float16, complex, None, "garbage", object])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match="expected the dtype float32 or float64, got"):
        nn.data.load("digits", dtype=dtype)


def test_unknown_name_is_refused():
    known = "digits, mnist, fashion-mnist, usps, cifar10, prostate, diabetes, birthwt"
    with pytest.raises(ValueError, match=f"unknown data set 'mnits'; known are {known}$"):
        nn.data.load("mnits")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "usps", "cifar10", "prostate", "diabetes"])
def test_missing_data_names_the_three_ways(name, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        nn.data.load(name, root=tmp_path)
    message = str(caught.value)
    folder = "regression" if name in ("prostate", "diabetes") else name
    for way in ("root=", "--root", "$PRUNING_DATA", f"python -m nn.data fetch {name}", str(tmp_path / folder)):
        assert way in message
    assert all(file.name in message for file in DATA_SETS[name].files)
    assert f"the folder that contains {folder}/ with" in message
    assert "\n" not in message


def test_missing_data_without_an_address_says_what_the_file_is_made_from(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        nn.data.load("birthwt", root=tmp_path)
    with pytest.raises(ValueError, match="no public address of the data set birthwt is known: give one as") as refused:
        fetch("birthwt", cache=tmp_path)
    for message in map(str, (caught.value, refused.value)):
        assert "birthwt_groups.csv: it is low, bwt and the 16 columns X of the data set Birthwt of the R" in message
        assert "fetch" not in message
        assert "\n" not in message


@pytest.mark.parametrize("packed", [True, False])
def test_both_packings_of_a_data_set_load(tiny, tmp_path, packed):
    x, t = nn.data.load("tiny", root=put(tmp_path / "r", packed), dtype=np.float32).train
    assert np.array_equal(x[0], np.moveaxis(TINY_IMAGES, 0, -1))
    assert np.array_equal(t, TINY_LABELS)


def test_foreign_content_is_refused_with_both_hashes(tiny, tmp_path):
    changed = idx(TINY_IMAGES[::-1])
    put(tmp_path, contents=TINY | {"images.gz": changed})
    expected, found = (hashlib.sha256(content).hexdigest() for content in (TINY["images.gz"], changed))
    with pytest.raises(ValueError, match=rf"images\.gz: expected content with the SHA256 {expected}, found {found}"):
        nn.data.load("tiny", root=tmp_path)


def test_root_then_environment_then_cache_are_searched(tiny, tmp_path, monkeypatch):
    root, environment, cache = (put(tmp_path / name) for name in ("root", "environment", "cache"))
    monkeypatch.setenv("PRUNING_DATA", str(environment))
    assert find("tiny", root)[0].parent == root / "tiny"
    assert find("tiny", tmp_path / "nothing")[0].parent == environment / "tiny"
    assert find("tiny")[0].parent == environment / "tiny"
    monkeypatch.setenv("PRUNING_DATA", "")  # unset, not the working directory
    monkeypatch.chdir(environment)
    assert find("tiny")[0].parent == cache / "tiny"


def test_an_incomplete_folder_is_passed_over_and_named(tiny, tmp_path, monkeypatch):
    root, environment = put(tmp_path / "root"), put(tmp_path / "environment")
    (root / "tiny" / "labels.gz").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{root / 'tiny'} has 1 of 2 files")):
        find("tiny", root)
    monkeypatch.setenv("PRUNING_DATA", str(environment))
    assert {path.parent for path in find("tiny", root)} == {environment / "tiny"}


@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_mnist_is_found_under_both_spellings(name, packing, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    spellings = {"train-images": 3, "train-labels": 1, "t10k-images": 3, "t10k-labels": 1}
    for file, axes in spellings.items():
        (folder / f"{file}.idx{axes}-ubyte{packing}").touch()
    assert find(name, tmp_path) == [folder / f"{file}.idx{axes}-ubyte{packing}" for file, axes in spellings.items()]
    for file, axes in spellings.items():
        (folder / f"{file}-idx{axes}-ubyte{packing}").touch()
    assert find(name, tmp_path) == [folder / f"{file}-idx{axes}-ubyte{packing}" for file, axes in spellings.items()]


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_real_mnist_under_its_other_name_is_verified_all_the_same(tmp_path):
    (tmp_path / "mnist").mkdir()
    for path in find("mnist", REAL):
        (tmp_path / "mnist" / path.name.replace("-idx", ".idx")).symlink_to(path)
    x, t = nn.data.load("mnist", tmp_path, np.float32).train
    assert x.shape == (1, 28, 28, 60000) and t[:5].tolist() == [5, 0, 4, 1, 9]


@pytest.mark.parametrize(
    "contents", [TINY, TINY | {"images.gz": idx(TINY_IMAGES[::-1])}, TINY | {"labels.gz": idx(TINY_LABELS[::-1])}]
)
@pytest.mark.parametrize("packed", [True, False])
def test_what_cannot_be_verified_is_only_loaded_when_asked_for(tiny_published, tmp_path, contents, packed):
    root = put(tmp_path / "r", packed, contents)
    with pytest.raises(ValueError, match=r"expected the file as it is published, with the MD5 .* or --unverified$"):
        nn.data.load("tiny", root)
    with pytest.raises(ValueError, match=r"--unverified$"):
        nn.data.load("tiny", root, unverified="no")
    assert nn.data.load("tiny", root, unverified=True).train[0].shape == (1, 60, 50, 7)


def test_published_files_are_verified_and_load(tiny_published, tmp_path):
    (tmp_path / "tiny").mkdir()
    for name, raw in PACKED.items():
        (tmp_path / "tiny" / name).write_bytes(raw)
    assert np.array_equal(nn.data.load("tiny", tmp_path).train[1], TINY_LABELS)


def test_an_unverified_file_still_has_the_right_format(tmp_path):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    for file in DATA_SETS["fashion-mnist"].files:
        (folder / file.name).write_bytes(PACKED["images.gz"])
    with pytest.raises(ValueError, match=r"expected an array of shape \(60000, 28, 28\), found \(7, 60, 50\)"):
        nn.data.load("fashion-mnist", root=tmp_path, unverified=True)


def test_unverified_does_not_pass_a_wrong_hash(tiny, tmp_path):
    put(tmp_path, contents=TINY | {"images.gz": idx(TINY_IMAGES[::-1])})
    with pytest.raises(ValueError, match="expected content with the SHA256"):
        nn.data.load("tiny", root=tmp_path, unverified=True)


@pytest.mark.parametrize("name", ["images.gz", "images"])
def test_a_file_that_is_far_too_long_is_not_read(tiny, tmp_path, name):
    folder = put(tmp_path, packed=name.endswith(".gz")) / "tiny"
    os.truncate(folder / name, 1 << 40)  # a hole: it takes no room on the disk
    with pytest.raises(ValueError, match=rf"/{name}: expected at most 22061 bytes, found 1099511627776$"):
        nn.data.load("tiny", root=tmp_path)


def test_arguments_of_another_kind_are_one_sentence(tmp_path):
    for name in (None, 3, ["mnist"]):
        with pytest.raises(ValueError, match=r"^unknown data set .*; known are digits"):
            nn.data.load(name)
    for root in (3, ["a"], b"a", False):
        with pytest.raises(TypeError, match=r"^expected root to be the path of a folder or None, got .*"):
            nn.data.load("mnist", root)
        with pytest.raises(TypeError, match=r"^expected cache to be the path of a folder or None, got .*"):
            fetch("mnist", root)


REAL_COUNTS = {
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
    "usps": (
        [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
        [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
    ),
    "cifar10": ([5000] * 10, [1000] * 10),
}


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
@pytest.mark.parametrize(
    ("name", "shape", "low", "first"),
    [
        ("mnist", (1, 28, 28), 0, ([5, 0, 4, 1, 9], [7, 2, 1, 0, 4])),
        ("usps", (1, 16, 16), -1, ([6, 5, 4, 7, 3], [9, 6, 3, 6, 6])),
        pytest.param("cifar10", (3, 32, 32), 0, ([6, 9, 9, 4, 1], [3, 8, 8, 0, 6]), marks=pytest.mark.slow),
    ],
)
def test_real_data_have_their_shapes_and_class_counts(name, shape, low, first):
    data = nn.data.load(name, root=REAL, dtype=np.float32)
    for (x, t), counts, labels in zip((data.train, data.test), REAL_COUNTS[name], first):
        assert t[:5].tolist() == labels
        assert x.shape == (*shape, sum(counts))
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
        assert (x.min(), x.max()) == (low, 1)
        assert np.bincount(t).tolist() == counts


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_real_usps_in_its_other_packing(tmp_path):
    (tmp_path / "usps").mkdir()
    for name in ("zip.train", "zip.test"):
        path = next(path for path in find("usps", REAL) if path.name.startswith(name))
        (tmp_path / "usps" / name).write_bytes(decompress(path.read_bytes(), path.name))
    x, t = nn.data.load("usps", root=tmp_path).train
    assert t[0] == 6
    assert x[0, 0, 6:9, 0].tolist() == [-1, -0.631, 0.862]  # first line of the file
