"""gzip, xz and tar: what is unpacked, what is refused, and that nothing is written to disk."""

import gzip
import lzma
import tarfile
import tracemalloc

import pytest
from data_files import tar

from nn.data.packings import decompress, read_tar


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


@pytest.mark.parametrize(("pack", "suffix"), [(bytes, ""), (gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_a_content_of_just_the_limit_passes_and_one_byte_more_does_not(pack, suffix):
    raw = pack(b"abc" * 33)
    assert decompress(raw, f"f{suffix}", 99) == b"abc" * 33
    assert decompress(raw, f"f{suffix}", 100) == b"abc" * 33
    with pytest.raises(ValueError, match=rf"^f{suffix}: expected a content of at most 98 bytes, found more$"):
        decompress(raw, f"f{suffix}", 98)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:-6] + bytes(6)])
@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_damage_at_the_end_is_seen_under_a_limit_too(pack, suffix, damage):
    with pytest.raises(ValueError, match="truncated or damaged"):
        decompress(damage(pack(b"abc" * 33)), f"f{suffix}", 99)


@pytest.mark.parametrize(("pack", "suffix"), [(gzip.compress, ".gz"), (lzma.compress, ".xz")])
def test_a_bomb_is_not_unpacked(pack, suffix):
    bomb = pack(bytes(1 << 24))  # 16 MB of zeros in 17 or 3 KB
    assert len(bomb) < 1 << 15
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 1000 bytes, found more"):
        decompress(bomb, f"f{suffix}", 1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000  # the dictionary of xz takes eight megabytes


@pytest.mark.parametrize("raw", ["abc", None, 3, bytearray(b"abc")])
def test_what_are_no_bytes_is_refused(raw):
    for read in (lambda raw: decompress(raw, "f"), lambda raw: read_tar(raw, ["a"], "f")):
        with pytest.raises(TypeError, match=f"^f: expected the bytes of a file, got {type(raw).__name__}$"):
            read(raw)
