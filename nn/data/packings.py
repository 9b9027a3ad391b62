"""What the files of the data sets are packed in, gzip, xz and tar: bytes in, bytes out, nothing written to disk."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Sequence


def decompress(raw: bytes, name: str, limit: int | None = None) -> bytes:
    """Return the content of a file that is gzipped if its name ends in .gz, in xz if in .xz, and plain otherwise.

    Parameters
    ----------
    raw : its bytes.
    name : its name, also for errors.
    limit : the most bytes that the content may have, or None.  Not one byte more than needed to see that it is longer
        is unpacked: four megabytes can hold four gigabytes of zeros.

    Raises
    ------
    ValueError
        If a .gz or .xz file is none, is truncated or is damaged, or the content is longer than `limit`.
    """
    check_bytes(raw, name)
    content = _unpacked(raw, name, -1 if limit is None else limit + 1) if name.endswith((".gz", ".xz")) else raw
    if limit is not None and len(content) > limit:
        raise ValueError(f"{name}: expected a content of at most {limit} bytes, found more")
    return content


def _unpacked(raw: bytes, name: str, size: int) -> bytes:
    """Return the first `size` bytes of the content, all of them if size is -1."""
    packing, magic, read = _PACKINGS[name[-3:]]
    if not raw.startswith(magic):
        raise ValueError(f"{name}: expected {packing} data (first bytes {magic.hex(' ')}), found {first_bytes(raw)}")
    try:
        return read(raw, size)
    except (EOFError, OSError, zlib.error, MemoryError) as error:  # MemoryError: a header that asks for gigabytes
        raise ValueError(
            f"{name}: expected complete {packing} data, found {len(raw)} bytes that are truncated or damaged ({error})"
        ) from None


def _read_gzip(raw: bytes, size: int) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        return file.read(size)


def _read_xz(raw: bytes, size: int) -> bytes:
    import lzma  # only here: not every Python is built with it

    try:
        with lzma.LZMAFile(io.BytesIO(raw)) as file:
            return file.read(size)
    except lzma.LZMAError as error:
        raise EOFError(error) from None


_PACKINGS = {".gz": ("gzip", b"\x1f\x8b", _read_gzip), ".xz": ("xz", b"\xfd7zXZ\x00", _read_xz)}


def read_tar(raw: bytes, members: Sequence[str], name: str = "tar archive") -> list[bytes]:
    """Return the contents of those regular files of a tar archive, in the order of `members`.

    Nothing is written to disk: a file is looked up by its exact name, and whatever else the archive holds is ignored.

    Parameters
    ----------
    raw : decompressed content of the archive.
    members : the names.
    name : what errors call the archive.

    Raises
    ------
    ValueError
        If it is no tar archive, is truncated or damaged, or lacks a member.
    """
    check_bytes(raw, name)
    contents, last = {}, -1
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:") as archive:
            for member in archive:
                if member.offset <= last:  # a negative size leads back, and tarfile would follow for ever
                    raise ValueError(f"{member.name} has a wrong size")
                last = member.offset
                if member.isreg():
                    contents[member.name] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, OverflowError, ValueError) as error:
        raise ValueError(
            f"{name}: expected a complete tar archive, found {len(raw)} bytes that are truncated or damaged ({error})"
        ) from None
    for member_name in members:
        if member_name not in contents:
            raise ValueError(f"{name}: expected an archive that contains {member_name}, found no file of this name")
    return [raw[start : start + size] for start, size in map(contents.__getitem__, members)]


def check_bytes(raw: bytes, name: str) -> None:
    """Raise a TypeError if what should be the bytes of a file is something else, a path say."""
    if not isinstance(raw, bytes):
        raise TypeError(f"{name}: expected the bytes of a file, got {type(raw).__name__}")


def first_bytes(raw: bytes) -> str:
    """Return the first four bytes for an error that says what was found."""
    return raw[:4].hex(" ") or "an empty file"
