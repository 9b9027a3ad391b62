"""A JSON header and named arrays in one .npz file: written whole or not at all, read without trusting what it says.

What is read is data: no pickle, nothing that a file names is imported or run.  Sizes are compared with the file's own
before memory is taken, and compressed members, which this module never writes, are refused: half a megabyte of them
can unfold to half a gigabyte.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.backend import Array, to_numpy
from nn.files import replacing


def write(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write header and arrays to `path`; an older file is replaced."""
    members = {"header": np.array(json.dumps(header)), **{name: to_numpy(array) for name, array in arrays.items()}}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **members)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the header and the arrays in `path`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it was not written by `write`, or is damaged.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint {path}")
    try:
        with path.open("rb") as file:
            arrays = _arrays(file, path.stat().st_size)
        header = json.loads(str(arrays.pop("header")))
        if not isinstance(header, dict):
            raise ValueError("its header is no table")
    except Exception as error:  # a damaged file may fail anywhere in zipfile, NumPy and json, in any way
        raise ValueError(f"{path} is no checkpoint of this project, or is damaged ({error})") from None
    return header, arrays


def _arrays(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(file):  # NumPy would advise to unpickle it
        raise ValueError("it is not a whole .npz file")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it has compressed members")
        if sum(member.file_size for member in members) > size:
            raise ValueError("its members are larger than the file")
        arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    if len(arrays) < len(members):
        raise ValueError("it has two members of one name")
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    formats = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    with archive.open(member) as stream:
        shape, _, dtype = formats[np.lib.format.read_magic(stream)](stream)
        claimed = stream.tell() + math.prod(shape) * dtype.itemsize
        if claimed != member.file_size or dtype.hasobject:
            raise ValueError(f"{member.filename} of {dtype} {shape} does not fit its {member.file_size} bytes")
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array
