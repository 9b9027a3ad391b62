"""The readers: what they make of good files, and the sentence for every other one."""

import gzip
import lzma
import tarfile

import numpy as np
import pytest
from data_files import CIFAR_IMAGES, CIFAR_LABELS, IMAGES, LABELS, cifar, idx, tar

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


def test_idx_images_and_labels_are_read():
    images = read_idx(idx(IMAGES), "f", shape=(4, 3, 5))
    assert images.dtype == np.uint8
    assert np.array_equal(images, IMAGES)
    labels = read_idx_labels(idx(LABELS), "f", shape=(4,))
    assert labels.dtype == np.int64
    assert np.array_equal(labels, LABELS)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "found an empty file"),
        (b"\x00\x00\x08", "found 00 00 08"),
        (b"\x00\x00\x0d\x01" + bytes(8), "first bytes 00 00 08.*found 00 00 0d 01"),  # floats
        (b"\x00\x01\x08\x01" + bytes(8), "found 00 01 08 01"),
        (b"\x00\x00\x08\x00" + bytes(1), "found 00 00 08 00"),  # no axis
        (b"\x00\x00\x08\x04" + bytes(16), "found 00 00 08 04"),
        (b"<!DOCTYPE html>", "found 3c 21 44 4f"),
        (idx(IMAGES)[:15], "expected an idx header of 16 bytes, found only 15"),
        (idx(IMAGES)[:-1], "expected 76 bytes .*found 75"),
        (idx(IMAGES) + b"\x00", "expected 76 bytes .*found 77"),
    ],
)
def test_malformed_idx_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^images\.idx: .*{message}"):
        read_idx(raw, "images.idx")


def test_idx_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"^f: expected an array of shape \(5, 3, 5\), found \(4, 3, 5\)"):
        read_idx(idx(IMAGES), "f", shape=(5, 3, 5))
    with pytest.raises(ValueError, match="expected labels, one axis"):
        read_idx_labels(idx(IMAGES % 10), "f")


def test_idx_label_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"^f: expected labels in 0\.\.9, found 10"):
        read_idx_labels(idx(np.array([3, 10])), "f")


ZIP_VALUES = np.linspace(-1, 1, 3 * 256).round(3).reshape(3, 256)


def zip_text(labels=("6.0000", "0", "9"), values=ZIP_VALUES):
    # As distributed: the training file writes 6.0000 and a blank at the end, the test file neither.
    rows = (" ".join([label, *(f"{v:.4f}" for v in row)]) + " \n" for label, row in zip(labels, values))
    return "".join(rows).encode()


def test_usps_text_is_read():
    images, labels = read_zip_text(zip_text(), "zip.train", count=3)
    assert images.shape == (3, 16, 16)
    assert np.array_equal(images.reshape(3, 256), ZIP_VALUES)
    assert labels.dtype == np.int64
    assert labels.tolist() == [6, 0, 9]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b" \n", "expected lines of 257 numbers, found no text"),
        (zip_text()[:-40], "columns changed from 257 to"),
        (zip_text().replace(b" \n", b" 0.5\n"), "expected 257 numbers per line, found 258"),
        (zip_text()[: zip_text().index(b"\n") + 1], "expected 3 lines, found 1"),
        (zip_text(labels=("6", "10", "9")), r"expected labels in 0\.\.9, found 10"),
        (zip_text(labels=("6", "-1", "9")), r"expected labels in 0\.\.9, found -1"),
        (zip_text(labels=("6", "2.5", "9")), r"expected labels in 0\.\.9, found 2\.5"),
        (zip_text(labels=("6", "nan", "9")), r"expected labels in 0\.\.9, found nan"),
        (zip_text().replace(b"-0.9790", b"nan", 1), r"expected grey values in -1\.\.1, found nan"),
        (zip_text(values=1.5 * ZIP_VALUES), r"expected grey values in -1\.\.1, found -1\.5"),
        (zip_text().replace(b"-0.9790", b"# 0.9", 1), r"found other text \(could not convert string '#'"),
        (b"\xff" + zip_text(), "found other text"),
    ],
)
def test_malformed_usps_text_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^zip\.train: .*{message}"):
        read_zip_text(raw, "zip.train", count=3)


def test_digits_table_is_read_and_refused():
    row = ",".join(["0", "16", *["7"] * 62, "4"]) + "\n"
    images, labels = read_digits_csv(row.encode() * 2, "digits.csv", count=2)
    assert images.shape == (2, 8, 8)
    assert images[1, 0, :3].tolist() == [0, 16, 7]
    assert labels.tolist() == [4, 4]
    for wrong, message in [
        (row.replace("16", "17"), "grey values in 0..16, found 17"),
        (row.replace("16", "-1"), "grey values in 0..16, found -1"),
        (row.replace("16", "nan"), "found nan"),
        (row.replace(",4\n", ",12\n"), "labels in 0..9, found 12"),
        (row.replace("0,", ""), "expected 65 numbers per line, found 64"),
        (row * 2, "expected 1 lines, found 2"),
    ]:
        with pytest.raises(ValueError, match=f"^digits.csv: .*{message}"):
            read_digits_csv(wrong.encode(), "digits.csv", count=1)


def test_cifar_records_are_read():
    images, labels = read_cifar(cifar(CIFAR_IMAGES[0], CIFAR_LABELS[0]), "f", count=2)
    assert images.dtype == np.uint8
    assert np.array_equal(images, CIFAR_IMAGES[0])
    assert labels.dtype == np.int64
    assert labels.tolist() == [6, 9]


def test_cifar_planes_are_red_green_blue_row_by_row():
    planes = bytearray(3072)
    planes[0], planes[1024 + 32], planes[2048 + 1] = 1, 2, 3
    image = read_cifar(b"\x07" + planes, "f")[0][0]
    assert (image[0, 0, 0], image[1, 1, 0], image[2, 0, 1]) == (1, 2, 3)
    assert image.sum() == 6


def test_cifar_images_are_not_copied():
    raw = cifar(CIFAR_IMAGES[0], CIFAR_LABELS[0])
    assert np.shares_memory(read_cifar(raw)[0], np.frombuffer(raw, np.uint8))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected 2 records of 3073 bytes, found 0 bytes"),
        (cifar(CIFAR_IMAGES[0], [6, 9])[:-1], "expected 2 records of 3073 bytes, found 6145 bytes"),
        (cifar(CIFAR_IMAGES[0], [6, 9]) + b"\n", "found 6147 bytes"),
        (cifar(CIFAR_IMAGES[0, :1], [6]), "expected 2 records of 3073 bytes, found 3073 bytes"),
        (cifar(CIFAR_IMAGES[0], [6, 10]), r"expected labels in 0\.\.9, found 10"),
        (cifar(CIFAR_IMAGES[0], [255, 9]), r"expected labels in 0\.\.9, found 255"),
    ],
)
def test_malformed_cifar_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^data\.bin: .*{message}$"):
        read_cifar(raw, "data.bin", count=2)


def test_cifar_of_any_count_has_an_image():
    with pytest.raises(ValueError, match="expected some records of 3073 bytes, found 0 bytes"):
        read_cifar(b"")


def test_tar_members_are_read_by_name_in_the_order_asked_for():
    raw = tar(("d/b", b"bee"), ("readme.html", b"?"), ("d/a", b""), ("d/long" * 40, b"more"))
    assert read_tar(raw, ["d/a", "d/long" * 40, "d/b"]) == [b"", b"more", b"bee"]


def test_a_hostile_tar_writes_nothing_and_lends_no_name(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    strangers = [("../evil", b"x"), (str(tmp_path / "evil"), b"x"), ("d/../d/a", b"x"), ("/d/a", b"x"), ("./d/a", b"x")]
    assert read_tar(tar(*strangers, ("d/a", b"right"), *strangers), ["d/a"]) == [b"right"]
    with pytest.raises(ValueError, match=r"^f\.tar: expected an archive that contains d/a, found no file of this name"):
        read_tar(tar(*strangers), ["d/a"], "f.tar")
    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_tar_member_that_is_no_file_is_missing(kind):
    with pytest.raises(ValueError, match="expected an archive that contains d/a, found no file of this name"):
        read_tar(tar(("d/a", b""), type=kind, linkname="/etc/hostname"), ["d/a"])


def with_size(raw, start, size, kind=tarfile.REGTYPE):
    """The archive with another size and kind in the header at `start`, and the check sum that fits."""
    header = bytearray(raw[start : start + 512])
    header[156:157] = kind
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return raw[:start] + bytes(header) + raw[start + 512 :]


TWO = tar(("a", b"A" * 600), ("b", b"B"))  # headers at 0 and 1536


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<!DOCTYPE html>" * 99,
        TWO[:700],  # inside a content
        with_size(TWO, 0, 1 << 40),
        with_size(TWO, 0, 1 << 80),
        with_size(TWO, 0, -1536),
        with_size(TWO, 1536, -512),  # the next header is this one
        with_size(TWO, 1536, -512, tarfile.GNUTYPE_SPARSE),
    ],
)
def test_a_damaged_tar_is_refused(raw):
    with pytest.raises(ValueError, match=rf"^f\.tar: expected a complete tar archive, found {len(raw)} bytes that are"):
        read_tar(raw, ["a"], "f.tar")


def test_a_tar_that_ends_in_a_header_lacks_that_member():
    assert read_tar(TWO[:1700], ["a"]) == [b"A" * 600]
    with pytest.raises(ValueError, match="expected an archive that contains b, found no file of this name"):
        read_tar(TWO[:1700], ["b", "a"])


def test_all_packings_decompress():
    assert decompress(b"abc", "f") == b"abc"
    assert decompress(gzip.compress(b"abc", mtime=0), "f.gz") == b"abc"
    assert decompress(lzma.compress(b"abc"), "f.xz") == b"abc"


XZ = lzma.compress(b"abc" * 99)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected xz data .*found an empty file"),
        (gzip.compress(b"abc", mtime=0), "expected xz data .first bytes fd 37 7a 58 5a 00., found 1f 8b 08"),
        (lzma.compress(b"abc", format=lzma.FORMAT_ALONE), "expected xz data"),
        (XZ[:-9], "expected complete xz data.*truncated or damaged"),
        (XZ[:6], "truncated or damaged"),
        (XZ[:40] + b"\xff" + XZ[41:], "truncated or damaged"),
    ],
)
def test_damaged_xz_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^f\.xz: .*{message}"):
        decompress(raw, "f.xz")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected gzip data .*found an empty file"),
        (b"<!DOCTYPE", "expected gzip data .*found 3c 21 44 4f"),
        (gzip.compress(b"abc" * 99, mtime=0)[:-9], "truncated or damaged"),
        (gzip.compress(b"abc", mtime=0)[:-8] + bytes(8), "truncated or damaged"),  # the check sum
        (gzip.compress(b"abc", mtime=0)[:10] + b"\xff" * 20, "truncated or damaged"),  # no such block type
        (gzip.compress(b"abc", mtime=0) + b"more", "truncated or damaged"),
    ],
)
def test_damaged_gzip_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^f\.gz: .*{message}"):
        decompress(raw, "f.gz")


TABLE = b"\ta\tflag\n1\t 0.5\tT\n2\t-7e-3\tF\n"


def test_a_table_is_read():
    table = read_table(TABLE, "t.data", columns=3, count=2, header=("a", "flag"))
    assert table.dtype == np.float64
    assert table.tolist() == [[1, 0.5, 1], [2, -7e-3, 0]]
    assert read_table(b"u, v\r\n1,2\r\n", columns=2, delimiter=",", header=("u", "v")).tolist() == [[1, 2]]
    assert read_table(b"1.5e+02\n75\n", columns=1).tolist() == [[150], [75]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "expected the columns a, flag, found $"),
        (TABLE.partition(b"\n")[2], r"expected the columns a, flag, found 1, 0\.5, T$"),
        (TABLE.replace(b"flag", b"\xff"), "expected the columns a, flag, found a, \ufffd$"),
        (TABLE.partition(b"\n")[0], "expected lines of 3 numbers, found no text"),
        (TABLE.replace(b"\tT", b""), "columns changed from 2 to 3"),
        (TABLE.replace(b"\tT", b"").replace(b"\tF", b""), "expected 3 numbers per line, found 2"),
        (TABLE + b"3 4 5\n", "expected 2 lines, found 3"),
        (TABLE[:-10], "expected 2 lines, found 1"),
        (TABLE.replace(b"T", b"yes"), "expected lines of 3 numbers, found other text"),
        (TABLE.replace(b"0.5", b"NaN"), "expected finite numbers, found nan"),
        (TABLE.replace(b"0.5", b"inf"), "expected finite numbers, found inf"),
    ],
)
def test_a_malformed_table_is_refused(raw, message):
    with pytest.raises(ValueError, match=rf"^t\.data: .*{message}"):
        read_table(raw, "t.data", columns=3, count=2, header=("a", "flag"))
