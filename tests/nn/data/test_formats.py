"""The readers: what they make of good files, and the sentence for every other one."""

import numpy as np
import pytest
from data_files import CIFAR_IMAGES, CIFAR_LABELS, IMAGES, LABELS, cifar, idx

from nn.data.formats import (
    read_cifar,
    read_digits_csv,
    read_idx,
    read_idx_labels,
    read_table,
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


TABLE = b"\ta\tflag\n1\t 0.5\tT\n2\t-7e-3\tF\n"


def test_a_table_is_read():
    table = read_table(TABLE, "t.data", columns=3, count=2, header=("a", "flag"))
    assert table.dtype == np.float64
    assert table.tolist() == [[1, 0.5, 1], [2, -7e-3, 0]]
    assert read_table(b"u, v\r\n1,2\r\n", columns=2, delimiter=",", header=("u", "v")).tolist() == [[1, 2]]
    assert read_table(b"1.5e+02\n75\n", columns=1).tolist() == [[150], [75]]


@pytest.mark.parametrize("cell", ["1T5", "T5", "5F", "TT", "1T", "TF", "FT5", "TRUE", "1d5", "1D+05", "1_000", "0x1p3"])
@pytest.mark.parametrize("delimiter", [None, ","])
def test_what_only_looks_like_a_number_is_refused(cell, delimiter):
    line = (delimiter or " ").join(["1", cell, "2"]).encode()
    with pytest.raises(ValueError, match=r"^t: expected lines of 3 numbers, found other text \(could not convert"):
        read_table(line, "t", columns=3, delimiter=delimiter)


def test_truth_values_stand_anywhere_between_numbers():
    assert read_table(b"T,F,T\nF,T,T\r\n", columns=3, delimiter=",").tolist() == [[1, 0, 1], [0, 1, 1]]
    assert read_table(b"T F\tT\n F T  T \n", columns=3).tolist() == [[1, 0, 1], [0, 1, 1]]


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


@pytest.mark.parametrize("read", [read_idx, read_idx_labels, read_zip_text, read_digits_csv, read_cifar, read_table])
@pytest.mark.parametrize("raw", ["abc", None, 3, bytearray(b"abc")])
def test_what_are_no_bytes_is_refused(read, raw):
    with pytest.raises(TypeError, match=f"^f: expected the bytes of a file, got {type(raw).__name__}$"):
        read(raw, "f")
