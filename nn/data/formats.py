"""Readers of the files that the data sets are distributed in: bytes in, arrays out, nothing unpickled.

Each takes the decompressed content and the name that its errors call it by, and refuses whatever is not exactly the
format: a training run on half a file is worse than no run.
"""

import io
import math
import re
import struct
from collections.abc import Sequence

import numpy as np

from nn.backend import Array
from nn.data.packings import check_bytes, first_bytes

N_CLASSES = 10


def read_idx(raw: bytes, name: str = "idx data", shape: tuple[int, ...] | None = None) -> Array:
    """Return the uint8 array of an idx file, the format of MNIST; read-only, for it shares the memory of `raw`.

    The file is 00 00, the type 08 (unsigned byte), the number of axes, their sizes as big-endian 32-bit integers, then
    the entries, last axis fastest: images (N, H, W) or labels (N,).

    Parameters
    ----------
    raw : decompressed content of the file.
    name : what errors call it.
    shape : shape that the array must have; None if any will do.

    Raises
    ------
    ValueError
        If the content is no idx file of bytes with one to three axes, is too short or too long, or has another shape.
    """
    check_bytes(raw, name)
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or not 1 <= raw[3] <= 3:
        raise ValueError(
            f"{name}: expected an idx file of bytes (first bytes 00 00 08 and 01, 02 or 03), found {first_bytes(raw)}"
        )
    n_axes = raw[3]
    header = 4 + 4 * n_axes
    if len(raw) < header:
        raise ValueError(f"{name}: expected an idx header of {header} bytes, found only {len(raw)} bytes")
    found = struct.unpack(f">{n_axes}I", raw[4:header])
    if len(raw) != header + math.prod(found):
        raise ValueError(f"{name}: expected {header + math.prod(found)} bytes for the shape {found}, found {len(raw)}")
    if shape is not None and found != shape:
        raise ValueError(f"{name}: expected an array of shape {shape}, found {found}")
    return np.frombuffer(raw, dtype=np.uint8, offset=header).reshape(found)


def read_idx_labels(raw: bytes, name: str = "idx labels", shape: tuple[int, ...] | None = None) -> Array:
    """Return the labels (N,), int64 in 0..9, of an idx file.

    Raises
    ------
    ValueError
        As `read_idx`, and if an entry is no label.
    """
    labels = read_idx(raw, name, shape)
    if labels.ndim != 1:
        raise ValueError(f"{name}: expected labels, one axis, found an array of shape {labels.shape}")
    return _labels(labels, name)


def read_zip_text(raw: bytes, name: str = "USPS text", count: int | None = None) -> tuple[Array, Array]:
    """Return images (N, 16, 16) in -1..1 and labels (N,) of the USPS digits in their ESL form.

    A line is the label, then 256 grey values row by row, separated by blanks (files zip.train and zip.test).

    Parameters
    ----------
    raw : decompressed content of the file.
    name : what errors call it.
    count : number N of images that it must hold; None if any will do.

    Raises
    ------
    ValueError
        If a line is not 257 numbers, a value is not in -1..1, a label not in 0..9, or N is not `count`.
    """
    table = _table(raw, name, columns=257, delimiter=None, count=count)
    _check_range(table[:, 1:], -1, 1, name)
    return table[:, 1:].reshape(-1, 16, 16), _labels(table[:, 0], name)


def read_digits_csv(raw: bytes, name: str = "digits table", count: int | None = None) -> tuple[Array, Array]:
    """Return images (N, 8, 8) in 0..16 and labels (N,) of the UCI digits.

    A line is 64 grey values row by row, then the label, separated by commas.

    Parameters
    ----------
    raw : decompressed content of the file.
    name : what errors call it.
    count : number N of images that it must hold; None if any will do.

    Raises
    ------
    ValueError
        If a line is not 65 numbers, a value is not in 0..16, a label not in 0..9, or N is not `count`.
    """
    table = _table(raw, name, columns=65, delimiter=",", count=count)
    _check_range(table[:, :-1], 0, 16, name)
    return table[:, :-1].reshape(-1, 8, 8), _labels(table[:, -1], name)


def read_cifar(raw: bytes, name: str = "CIFAR-10 data", count: int | None = None) -> tuple[Array, Array]:
    """Return images (N, 3, 32, 32) uint8 and labels (N,) of a CIFAR-10 file in its binary version.

    A record is the label, one byte, then 3 * 1024 bytes, the red, the green and the blue plane, each row by row.  The
    images are read-only, for they share the memory of `raw`.

    Parameters
    ----------
    raw : decompressed content of the file.
    name : what errors call it.
    count : number N of images that it must hold; None if any will do.

    Raises
    ------
    ValueError
        If the content is not N > 0 whole records, a label is not in 0..9, or N is not `count`.
    """
    check_bytes(raw, name)
    found, rest = divmod(len(raw), 3073)
    if rest or found == 0 or count not in (None, found):
        raise ValueError(f"{name}: expected {count or 'some'} records of 3073 bytes, found {len(raw)} bytes")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(found, 3073)
    return records[:, 1:].reshape(found, 3, 32, 32), _labels(records[:, 0], name)


def read_table(
    raw: bytes,
    name: str = "table",
    columns: int = 1,
    delimiter: str | None = None,
    count: int | None = None,
    header: Sequence[str] | None = None,
) -> Array:
    """Return the finite numbers (count, columns) of a text table; the words T and F, R's truth values, are 1 and 0.

    Parameters
    ----------
    raw : decompressed content of the file.
    name : what errors call it.
    columns : how many numbers a line must hold.
    delimiter : what separates them; None is any white space.
    count : number of lines that it must hold, besides the header; None if any will do.
    header : the words of the first line, which must be these; None if the first line is already numbers.

    Raises
    ------
    ValueError
        If the header is another one, a line is not `columns` finite numbers, or the number of lines is not `count`.
    """
    check_bytes(raw, name)
    if header is not None:
        first, _, raw = raw.partition(b"\n")
        found = [word.strip() for word in first.decode("ascii", "replace").strip().split(delimiter)]
        if found != list(header):
            raise ValueError(f"{name}: expected the columns {', '.join(header)}, found {', '.join(found)}")
    for word, value in ((b"T", b"1"), (b"F", b"0")):  # as words only: 1T5 is damage, not 115
        raw = re.sub(rb"(?<![^\s,])%b(?![^\s,])" % word, value, raw)
    table = _table(raw, name, columns, delimiter, count)
    if not np.isfinite(table).all():
        raise ValueError(f"{name}: expected finite numbers, found {table[~np.isfinite(table)][0]:g}")
    return table


def _table(raw: bytes, name: str, columns: int, delimiter: str | None, count: int | None) -> Array:
    check_bytes(raw, name)
    if not raw.strip():
        raise ValueError(f"{name}: expected lines of {columns} numbers, found no text")
    try:
        # comments=None: a '#' is damage, not the start of a remark.
        table = np.loadtxt(io.StringIO(raw.decode("ascii")), delimiter=delimiter, comments=None, ndmin=2)
    except ValueError as error:
        reason = str(error).partition(";")[0].rstrip(".")
        raise ValueError(f"{name}: expected lines of {columns} numbers, found other text ({reason})") from None
    if table.shape[1] != columns:
        raise ValueError(f"{name}: expected {columns} numbers per line, found {table.shape[1]}")
    if count is not None and len(table) != count:
        raise ValueError(f"{name}: expected {count} lines, found {len(table)}")
    return table


def _check_range(values: Array, low: int, high: int, name: str) -> None:
    # Written so that NaN, which is neither inside nor outside, counts as wrong.
    wrong = values[~((values >= low) & (values <= high))]
    if wrong.size:
        raise ValueError(f"{name}: expected grey values in {low}..{high}, found {wrong[0]:g}")


def _labels(labels: Array, name: str) -> Array:
    wrong = labels[~np.isin(labels, np.arange(N_CLASSES))]
    if wrong.size:
        raise ValueError(f"{name}: expected labels in 0..{N_CLASSES - 1}, found {wrong[0]:g}")
    return labels.astype(np.int64)
