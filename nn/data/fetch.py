"""Download a data set into the user's cache, so that nothing wrong or half-written ever bears a final name.

The public addresses in `nn.data.sources.DATA_SETS` were not tried by us: the tests use a server of their own.  If one
has moved, give another with ``base_url=`` (``--base-url``).
"""

import errno
import http.client
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from nn.data.load import cache_folder, files_in, packed_or_plain, without_address
from nn.data.sources import DataFile, read_verified, source_of
from nn.files import replacing

TIMEOUT = 30  # seconds without an answer or a byte
CHUNK = 1 << 16
RESUME = "run the same command again to resume"


def fetch(name: str, cache: str | os.PathLike[str] | None = None, base_url: str | None = None) -> Path:
    """Download a data set, its files or their archive, resuming what was interrupted; return its folder in the cache.

    A file grows in ``FILE.part`` and gets its final name only after its content was verified.  Files that are there
    and right are left alone.

    Parameters
    ----------
    name : name of a data set.
    cache : folder to put it in; None is the user cache, where `nn.data.load` looks.
    base_url : address that the file names are appended to; None is the public one.

    Raises
    ------
    ValueError
        If the name is unknown or embedded, no address is known, or the content is not the expected one (it is then
        removed).
    ConnectionError
        If the server cannot be reached, does not have the file, or breaks off (what arrived is then kept).
    OSError
        If the disk is full or cannot be written.
    """
    source = source_of(name)
    if source.embedded:
        raise ValueError(f"the data set {name} is part of this package: there is nothing to fetch")
    if not (address := base_url or source.url):
        raise ValueError(
            f"no public address of the data set {name} is known: give one as base_url= or --base-url, or a folder "
            f"{source.folder or name}/, {without_address(source)}"
        )
    address = address.rstrip("/")
    folder = Path(cache if cache is not None else cache_folder()) / (source.folder or name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wrong = [file for file in files_in(folder, source) if not _is_right(folder, file)]
        for file in [source.archive] if wrong and source.archive else wrong:
            _fetch_file(file, folder, f"{address}/{file.name}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(f"the disk that holds {folder} is full: free some space, then {RESUME}") from error
    return folder


def _is_right(folder: Path, file: DataFile) -> bool:
    path = packed_or_plain(folder, file)
    if path is None:
        return False
    try:
        read_verified(file, path.read_bytes(), str(path))
    except ValueError:
        return False
    return True


def _fetch_file(file: DataFile, folder: Path, url: str) -> None:
    part = folder / f"{file.name}.part"
    raw = _download(url, part)
    try:
        read_verified(file, raw, url)
    except ValueError:
        part.unlink(missing_ok=True)
        raise
    _publish(raw, folder / file.name)
    part.unlink(missing_ok=True)


def _publish(raw: bytes, target: Path) -> None:
    # Not a rename of the .part: a second process that fetches the same file may still hold it open and append to it.
    with replacing(target) as private:
        private.write_bytes(raw)


def _download(url: str, part: Path) -> bytes:
    start = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, start)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return part.read_bytes()  # nothing is left to ask for: its content decides
        raise ConnectionError(
            f"{url}: the server answered {error.code} ({error.reason}); another address can be given as base_url= "
            "or --base-url"
        ) from None
    with response:
        return _receive(response, url, part, start)


def _open(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"{url}: the server could not be reached ({reason})") from None


def _receive(response: http.client.HTTPResponse, url: str, part: Path, start: int) -> bytes:
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        start = 0  # the server ignores ranges and sends the whole file
    elif not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
        raise ConnectionError(f"{url}: asked for the bytes from {start} on, the server sent others; delete {part}")
    length = response.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    # disable=None: a log file or a pipe gets no bar.
    bar = tqdm(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
    with bar, open(part, "ab+" if start else "wb+") as sink:
        received = start + _copy(response, sink, bar, url)
        if total is not None and received < total:
            raise ConnectionError(f"{url}: the connection ended after {received} of {total} bytes; {RESUME}")
        sink.seek(0)
        return sink.read()


def _copy(response: http.client.HTTPResponse, sink: BinaryIO, bar: "tqdm[None]", url: str) -> int:
    received = 0
    while chunk := _read(response, url):
        sink.write(chunk)
        received += len(chunk)
        bar.update(len(chunk))
    return received


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"{url}: the connection broke off ({error}); {RESUME}") from None
