"""No data but the test's own; two small data sets; a server of our own (127.0.0.1 only)."""

import dataclasses
import functools
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import platformdirs
import pytest
from data_files import CIFAR_FILES, PACKED, TINY

import nn
from nn.data.formats import read_idx, read_idx_labels
from nn.data.images import DataSet
from nn.data.sources import DATA_SETS, DataFile, Source


@pytest.fixture(autouse=True)
def own_surroundings(monkeypatch, tmp_path):
    """No data but the test's own, no proxy between it and its server."""
    monkeypatch.delenv("PRUNING_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *args, **keywords: tmp_path / "cache")


def tiny_source(proof):
    """A data set of two small idx files; `proof` (name) is what is known of a file."""
    files = tuple(
        DataFile(name, len(TINY[name]), read=read, **proof(name))
        for name, read in (("images.gz", read_idx), ("labels.gz", read_idx_labels))
    )

    def assemble(parts, dtype):
        part = nn.data.batch_last(parts[0]).astype(dtype), parts[1]
        return DataSet(train=part, test=part)

    return Source(files, assemble, "none", "http://127.0.0.1:9/")


@pytest.fixture
def tiny(monkeypatch):
    """A data set of two small idx files, which is also how the next one will be added."""
    source = tiny_source(lambda name: {"sha256": hashlib.sha256(TINY[name]).hexdigest()})
    monkeypatch.setitem(DATA_SETS, "tiny", source)


@pytest.fixture
def tiny_published(monkeypatch):
    """The same where only sums of the .gz files are known, as of Fashion-MNIST."""

    def proof(name):
        sums = hashlib.md5(PACKED[name]).hexdigest(), hashlib.sha256(PACKED[name]).hexdigest()
        return {"sha256": None, "published": sums}

    monkeypatch.setitem(DATA_SETS, "tiny", tiny_source(proof))


@pytest.fixture
def tiny_cifar(monkeypatch):
    """CIFAR-10 with two images in a file: the real entry but for counts and hashes."""
    real = DATA_SETS["cifar10"]
    files = tuple(
        dataclasses.replace(
            file,
            size=len(CIFAR_FILES[file.name]),
            sha256=hashlib.sha256(CIFAR_FILES[file.name]).hexdigest(),
            read=functools.partial(file.read.func, count=2),
        )
        for file in real.files
    )
    archive = dataclasses.replace(real.archive, read=functools.partial(real.archive.read.func, files=files))
    monkeypatch.setitem(DATA_SETS, "cifar10", dataclasses.replace(real, files=files, archive=archive))


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; `server.cut` breaks off after so many bytes, `server.goes_on` makes it fall silent.

    `server.headers` are sent besides or instead, `server.answers` are (status, reason, headers) of single paths.
    """

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.requests.append((self.path, self.headers.get("Range")))
        content = self.server.files.get(self.path.removeprefix("/"))
        if answer := self.server.answers.get(self.path.removeprefix("/")):
            status, reason, headers = answer
            self.send_response_only(status, reason)
            for name, value in headers.items():
                self.send_header(name, value)
            return self.end_headers()
        if content is None:
            return self.send_error(404)
        if self.server.ranges == "ignored":
            start = 0
        if start and start >= len(content):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            first = 0 if self.server.ranges == "wrong" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if self.server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[start : start + self.server.cut])
        self.server.goes_on.wait()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.requests = dict(PACKED), []
        server.ranges, server.lengths, server.cut = "obeyed", True, 1 << 30
        server.headers, server.answers = {}, {}
        server.goes_on = threading.Event()
        server.goes_on.set()
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.goes_on.set()
        server.shutdown()
        thread.join()
