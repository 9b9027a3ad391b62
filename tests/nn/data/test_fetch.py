"""Downloads from a server of our own: interrupted, resumed, wrong, hostile, full."""

import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from data_files import (
    BATCH_3,
    CHANGED,
    CIFAR_ARCHIVE,
    CIFAR_FILES,
    CIFAR_MEMBERS,
    PACKED,
    TINY,
    TINY_IMAGES,
    TINY_LABELS,
    assert_is_tiny_cifar,
    idx,
    names,
    put,
    put_cifar,
    tar,
)

import nn
from nn.data import fetch as fetching
from nn.data.fetch import fetch
from nn.data.load import find
from nn.data.sources import DATA_SETS


def test_fetch_downloads_verifies_and_loads(tiny, server, tmp_path):
    server.files = {f"some/where/{name}": raw for name, raw in PACKED.items()}
    folder = fetch("tiny", cache=tmp_path, base_url=f"{server.url}/some/where/")
    assert folder == tmp_path / "tiny"
    assert {name: (folder / name).read_bytes() for name in names(folder)} == PACKED
    assert np.array_equal(nn.data.load("tiny", root=tmp_path).train[1], TINY_LABELS)


def test_fetch_goes_to_the_cache_where_load_looks(tiny, server):
    folder = fetch("tiny", base_url=server.url)
    assert find("tiny") == [folder / "images.gz", folder / "labels.gz"]


@pytest.mark.parametrize("packed", [True, False])
def test_right_files_are_not_downloaded_again(tiny, server, tmp_path, packed):
    put(tmp_path / "c", packed)
    fetch("tiny", cache=tmp_path / "c", base_url=server.url)
    assert server.requests == []


def test_a_wrong_file_is_replaced(tiny, server, tmp_path):
    put(tmp_path / "c", contents=TINY | {"images.gz": b"something else"})
    fetch("tiny", cache=tmp_path / "c", base_url=server.url)
    assert server.requests == [("/images.gz", None)]
    assert (tmp_path / "c" / "tiny" / "images.gz").read_bytes() == PACKED["images.gz"]


@pytest.fixture
def half(tiny, server, tmp_path):
    """The state after a download that broke off half-way."""
    server.cut = len(PACKED["images.gz"]) // 2
    with pytest.raises(ConnectionError, match=rf"ended after {server.cut} of {len(PACKED['images.gz'])} bytes; run"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz.part"]
    assert (tmp_path / "tiny" / "images.gz.part").read_bytes() == PACKED["images.gz"][: server.cut]
    server.requests.clear()
    stopped_at, server.cut = server.cut, 1 << 30
    return stopped_at


def test_an_interrupted_download_is_resumed(half, server, tmp_path):
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert server.requests == [("/images.gz", f"bytes={half}-"), ("/labels.gz", None)]
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


def test_a_server_that_ignores_range_starts_over(half, server, tmp_path):
    server.ranges = "ignored"
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert server.requests[0] == ("/images.gz", f"bytes={half}-")
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


def test_a_server_that_sends_another_range_is_refused(half, server, tmp_path):
    server.ranges = "wrong"
    with pytest.raises(ConnectionError, match=f"asked for the bytes from {half} on, the server sent others"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz.part"]


def test_a_part_that_was_complete_is_used(half, server, tmp_path):
    (tmp_path / "tiny" / "images.gz.part").write_bytes(PACKED["images.gz"])
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


def test_a_part_of_something_else_is_removed(half, server, tmp_path):
    part = tmp_path / "tiny" / "images.gz.part"
    part.write_bytes(bytes(half))
    with pytest.raises(ValueError, match="expected gzip data"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert (tmp_path / "tiny" / "images.gz").read_bytes() == PACKED["images.gz"]


def test_another_process_may_have_removed_the_part(tiny, server, tmp_path, monkeypatch):
    publish = fetching._publish

    def slowly(raw, target):
        publish(raw, target)
        target.with_name(f"{target.name}.part").unlink()

    monkeypatch.setattr(fetching, "_publish", slowly)
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]


def test_a_second_writer_of_the_part_cannot_reach_the_final_file(half, server, tmp_path):
    with open(tmp_path / "tiny" / "images.gz.part", "ab") as other_process:
        fetch("tiny", cache=tmp_path, base_url=server.url)
        other_process.write(b"late")
    assert (tmp_path / "tiny" / "images.gz").read_bytes() == PACKED["images.gz"]


def test_the_length_need_not_be_announced(tiny, server, tmp_path):
    server.lengths = False
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]


def test_wrong_content_is_removed_and_both_hashes_are_named(tiny, server, tmp_path):
    wrong = idx(TINY_IMAGES[::-1])
    server.files["images.gz"] = gzip.compress(wrong)
    expected, found = (hashlib.sha256(content).hexdigest() for content in (TINY["images.gz"], wrong))
    with pytest.raises(ValueError, match=f"{server.url}/images.gz: .*{expected}, found {found}"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


def test_an_unverified_file_of_the_wrong_format_is_removed(server, tmp_path):
    server.files["train-images-idx3-ubyte.gz"] = PACKED["images.gz"]
    with pytest.raises(ValueError, match=r"expected an array of shape \(60000, 28, 28\)"):
        fetch("fashion-mnist", cache=tmp_path, base_url=server.url, unverified=True)
    assert names(tmp_path / "fashion-mnist") == []


def test_published_files_are_fetched(tiny_published, server, tmp_path):
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


def test_a_file_that_is_not_the_published_one_is_only_fetched_when_asked_for(tiny_published, server, tmp_path):
    server.files["images.gz"] = foreign = gzip.compress(idx(TINY_IMAGES[::-1]))
    with pytest.raises(
        ValueError, match=f"^{server.url}/images.gz: expected the file as it is published, .*unverified$"
    ):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []
    fetch("tiny", cache=tmp_path, base_url=server.url, unverified=True)
    assert (tmp_path / "tiny" / "images.gz").read_bytes() == foreign
    server.requests.clear()
    fetch("tiny", cache=tmp_path, base_url=server.url, unverified=True)  # what is there is as right as it was
    assert server.requests == []


def test_a_bomb_is_removed(tiny, server, tmp_path):
    server.files["images.gz"] = gzip.compress(bytes(10_000_000))
    with pytest.raises(ValueError, match=r"/images\.gz: expected a content of at most 21016 bytes, found more$"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_long_is_not_received(tiny, server, tmp_path, announced):
    server.files["images.gz"], server.lengths = bytes(10_000_000), announced
    what = "announces 10000000" if announced else "sends more"
    with pytest.raises(ValueError, match=rf"/images\.gz: expected at most 22061 bytes, the server {what}$"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_of_just_the_limit_is_received(tiny, server, tmp_path, announced):
    server.files["images.gz"] = PACKED["images.gz"].ljust(22061, b"\0")  # gzip passes over zeros at the end
    server.lengths = announced
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]
    (tmp_path / "tiny" / "labels.gz").unlink()
    server.requests.clear()
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert server.requests == [("/labels.gz", None)]


def test_a_rest_that_is_too_long_is_not_received(half, server, tmp_path):
    server.files["images.gz"] += bytes(2000)
    with pytest.raises(
        ValueError, match=rf"at most 22061 bytes, the server announces {len(PACKED['images.gz']) + 2000}$"
    ):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


def test_a_part_that_is_too_long_is_not_gone_on_from(half, server, tmp_path):
    (tmp_path / "tiny" / "images.gz.part").write_bytes(bytes(22062))
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert server.requests[0] == ("/images.gz", None)
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


@pytest.mark.parametrize("length", ["many", "-5", "1e3", "1_000", "", "9" * 5000])
def test_a_length_that_is_none_is_one_sentence(tiny, server, tmp_path, length):
    server.lengths, server.headers = False, {"Content-Length": length}
    with pytest.raises(
        ConnectionError, match=r"^http://.*/images\.gz: the server announces a length that is no number"
    ):
        fetch("tiny", cache=tmp_path, base_url=server.url)


@pytest.mark.parametrize("chunk", [b"-5\r\nabcde\r\n", b"zz\r\nabc", b"ffffffff\r\nabc", b""])
def test_damaged_chunks_are_one_sentence(tiny, server, tmp_path, chunk):
    server.lengths, server.headers = False, {"Transfer-Encoding": "chunked"}
    server.files["images.gz"] = chunk
    with pytest.raises(ConnectionError, match=r"^http://.*/images\.gz: the connection broke off \(.*\); run the same"):
        fetch("tiny", cache=tmp_path, base_url=server.url)


@pytest.mark.parametrize(
    "address",
    [
        *"ftp://host/data file:///etc host/data //host http:// http:///x nonsense http://[::1 http://host:port".split(),
        *["http://host:99999", "http://h ost", "http://hôst", "http://host\n", "http://host/\x1b[2J", 3],
    ],
)
def test_what_is_no_address_is_one_sentence_before_anything_is_made(tiny, tmp_path, address):
    with pytest.raises(
        ValueError, match=r"^expected an address such as https://example\.org/data as base_url"
    ) as error:
        fetch("tiny", cache=tmp_path, base_url=address)
    assert error.value.args[0].isprintable()
    assert names(tmp_path) == []


def test_the_public_addresses_are_addresses():
    for source in DATA_SETS.values():
        assert source.url is None or fetching._check_address(source.url) is None


def test_a_redirection_to_another_server_is_followed(tiny, server, tmp_path):
    server.files = {f"there/{name}": raw for name, raw in PACKED.items()}
    server.answers = {name: (302, "Found", {"Location": f"{server.url}/there/{name}"}) for name in PACKED}
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("target", ["ftp://127.0.0.1/images.gz", "file:///etc/hostname", "data:,abc", "gopher://x/"])
def test_a_redirection_to_anything_but_http_is_refused(tiny, server, tmp_path, code, target):
    server.answers = {"images.gz": (code, "Found", {"Location": target})}
    with pytest.raises(ConnectionError, match=rf"/images\.gz: the server answered {code} \(.*{target}.*; another"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


@pytest.mark.parametrize(
    ("here", "there", "followed"),
    [("https", "https", True), ("https", "http", False), ("http", "https", True), ("http", "ftp", False)],
)
def test_a_redirection_never_leads_to_less_than_was_asked_for(here, there, followed):
    request = urllib.request.Request(f"{here}://a/x", headers={"Range": "bytes=5-"})
    redirect = lambda: fetching._Redirections().redirect_request(request, None, 302, "Found", {}, f"{there}://b/x")  # noqa: E731
    if followed:
        assert (redirect().full_url, redirect().get_header("Range")) == (f"{there}://b/x", "bytes=5-")
    else:
        with pytest.raises(
            urllib.error.HTTPError, match=f"leads on to {there}://b/x, which is not followed from {here}"
        ):
            redirect()


@pytest.mark.parametrize("target", ["http://[::1", "http://a..b/", "http://host:port/", "http://127.0.0.1:1/\x1b[2J"])
def test_a_redirection_to_no_address_is_one_sentence(tiny, server, tmp_path, target):
    server.answers = {"images.gz": (302, "Found", {"Location": target})}
    with pytest.raises(ConnectionError, match=r"/images\.gz: the server could not be reached \(.*\)$") as error:
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert error.value.args[0].isprintable()


def test_a_redirection_in_a_circle_is_one_sentence(tiny, server, tmp_path):
    server.answers = {"images.gz": (302, "Found", {"Location": "images.gz"})}
    with pytest.raises(
        ConnectionError, match=r"the server answered 302 \(The HTTP server returned a redirect"
    ) as error:
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert error.value.args[0].isprintable()


def test_what_a_server_says_cannot_move_the_terminal(tiny, server, tmp_path):
    server.answers = {"images.gz": (500, "Oh\x1b[2J\tno\x07", {})}
    with pytest.raises(ConnectionError, match=r"/images\.gz: the server answered 500 \(Oh \[2J no\); another"):
        fetch("tiny", cache=tmp_path, base_url=server.url)


def test_404_is_one_sentence(tiny, server, tmp_path):
    del server.files["labels.gz"]
    with pytest.raises(ConnectionError, match=r"/labels\.gz: the server answered 404 \(Not Found\).*--base-url$"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz"]


def test_a_server_that_is_not_there_is_one_sentence(tiny, server, tmp_path):
    server.shutdown()
    server.socket.close()
    with pytest.raises(ConnectionError, match=r"could not be reached \(.*refused\)$"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == []


def test_a_server_that_falls_silent_is_one_sentence(tiny, server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT", 0.3)
    server.cut = 1000
    server.goes_on.clear()
    with pytest.raises(ConnectionError, match=r"/images\.gz: the connection broke off \(timed out\); run the same"):
        fetch("tiny", cache=tmp_path, base_url=server.url)
    server.goes_on.set()
    assert names(tmp_path / "tiny") == ["images.gz.part"]


class FullDisk:
    """A file that takes `room` bytes and then no more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, chunk):
        self.file.write(chunk[: self.room])
        self.room -= len(chunk)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()


def test_a_full_disk_is_one_sentence_and_resumes(tiny, server, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "open", lambda *args: FullDisk(open(*args), room=1000), raising=False)
        with pytest.raises(OSError, match=f"^the disk that holds {re.escape(str(tmp_path / 'tiny'))} is full: free"):
            fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz.part"]
    fetch("tiny", cache=tmp_path, base_url=server.url)
    assert server.requests[:2] == [("/images.gz", None), ("/images.gz", "bytes=1000-")]
    assert {name: (tmp_path / "tiny" / name).read_bytes() for name in names(tmp_path / "tiny")} == PACKED


def test_a_disk_that_fills_up_at_the_last_step_leaves_no_final_name(tiny, server, tmp_path, monkeypatch):
    def write_bytes(path, raw):
        with open(path, "wb") as file:
            file.write(raw[:1000])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(OSError, match="is full"):
            fetch("tiny", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "tiny") == ["images.gz.part"]


def test_other_errors_of_the_disk_are_not_called_full(tiny, server, tmp_path):
    (tmp_path / "tiny").write_text("a file where the folder should be")
    with pytest.raises(FileExistsError):
        fetch("tiny", cache=tmp_path, base_url=server.url)


def test_the_bar_counts_what_is_there_already(half, server, tmp_path, monkeypatch):
    bars = []

    def recorded(**keywords):
        bars.append(tqdm(**keywords | {"disable": False, "file": io.StringIO()}))
        return bars[-1]

    tqdm = fetching.tqdm
    monkeypatch.setattr(fetching, "tqdm", recorded)
    fetch("tiny", cache=tmp_path, base_url=server.url)
    for bar, name in zip(bars, PACKED, strict=True):
        assert (bar.total, bar.n, bar.desc) == (len(PACKED[name]), len(PACKED[name]), name)
    assert [bar.initial for bar in bars] == [half, 0]


@pytest.fixture
def archive(tiny_cifar, server):
    """What the server has of CIFAR-10."""
    server.files = {CIFAR_ARCHIVE: gzip.compress(tar(*CIFAR_MEMBERS))}
    return server.files[CIFAR_ARCHIVE]


def test_fetch_downloads_the_archive(archive, server, tmp_path):
    folder = fetch("cifar10", cache=tmp_path, base_url=server.url)
    assert names(folder) == [CIFAR_ARCHIVE]
    assert (folder / CIFAR_ARCHIVE).read_bytes() == archive
    assert_is_tiny_cifar(nn.data.load("cifar10", root=tmp_path))
    fetch("cifar10", cache=tmp_path, base_url=server.url)
    assert server.requests == [(f"/{CIFAR_ARCHIVE}", None)]


def test_fetch_leaves_right_files_of_an_archive_alone(archive, server, tmp_path):
    fetch("cifar10", cache=put_cifar(tmp_path, pack=lzma.compress, suffix=".xz"), base_url=server.url)
    assert server.requests == []


@pytest.mark.parametrize("wrong", [CIFAR_ARCHIVE, BATCH_3])
def test_what_load_refuses_is_replaced_by_the_archive(archive, server, tmp_path, wrong):
    put_cifar(tmp_path, CIFAR_FILES | {wrong: b"something else"})
    with pytest.raises(ValueError, match="expected"):
        nn.data.load("cifar10", root=tmp_path)
    fetch("cifar10", cache=tmp_path, base_url=server.url)
    assert_is_tiny_cifar(nn.data.load("cifar10", root=tmp_path))


def test_an_archive_with_a_wrong_file_is_removed(archive, server, tmp_path):
    server.files[CIFAR_ARCHIVE] = gzip.compress(tar(*CIFAR_MEMBERS, (BATCH_3, CHANGED)))
    with pytest.raises(ValueError, match=rf"^{server.url}/{CIFAR_ARCHIVE}/{BATCH_3}: expected content with the SHA256"):
        fetch("cifar10", cache=tmp_path, base_url=server.url)
    assert names(tmp_path / "cifar10") == []


def test_names_that_cannot_be_fetched(tmp_path):
    with pytest.raises(ValueError, match="part of this package: there is nothing to fetch"):
        fetch("digits", cache=tmp_path)
    with pytest.raises(ValueError, match="unknown data set 'mnits'"):
        fetch("mnits", cache=tmp_path)
    assert names(tmp_path) == []
