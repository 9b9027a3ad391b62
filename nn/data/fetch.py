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
from typing import Any
from urllib.parse import urlsplit

from tqdm import tqdm

from nn.data.load import cache_folder, check_folder, files_in, packed_or_plain, without_address
from nn.data.sources import DataFile, read_verified, read_verified_path, source_of
from nn.files import replacing

TIMEOUT = 30  # seconds without an answer or a byte
CHUNK = 1 << 16
RESUME = "run the same command again to resume"


def fetch(
    name: str,
    cache: str | os.PathLike[str] | None = None,
    base_url: str | None = None,
    unverified: bool = False,
) -> Path:
    """Download a data set, its files or their archive, resuming what was interrupted; return its folder in the cache.

    A file grows in ``FILE.part`` and gets its final name only after its content was verified.  Files that are there
    and right are left alone.  Not more is received than the file can have; a redirection is followed to another http or
    https address, but never from https to http.

    Parameters
    ----------
    name : name of a data set.
    cache : folder to put it in; None is the user cache, where `nn.data.load` looks.
    base_url : address, http or https, that the file names are appended to; None is the public one.
    unverified : as for `nn.data.load`; a content that is known not to be the right one is refused all the same.

    Raises
    ------
    ValueError
        If the name is unknown or embedded, no address is known or it is none, or the content is not the expected one,
        too long, or cannot be verified (it is then removed).
    ConnectionError
        If the server cannot be reached, does not have the file, or breaks off (what arrived is then kept).
    OSError
        If the disk is full or cannot be written.
    """
    source = source_of(name)
    check_folder("cache", cache)
    if source.embedded:
        raise ValueError(f"the data set {name} is part of this package: there is nothing to fetch")
    if not (address := base_url or source.url):
        raise ValueError(
            f"no public address of the data set {name} is known: give one as base_url= or --base-url, or a folder "
            f"{source.folder or name}/, {without_address(source)}"
        )
    _check_address(address)
    folder = Path(cache if cache is not None else cache_folder()) / (source.folder or name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wrong = [file for file in files_in(folder, source) if not _is_right(folder, file, unverified)]
        for file in [source.archive] if wrong and source.archive else wrong:
            _fetch_file(file, folder, f"{address.rstrip('/')}/{file.name}", unverified)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(f"the disk that holds {folder} is full: free some space, then {RESUME}") from error
    return folder


def _check_address(address: str) -> None:
    try:
        # Printable ASCII only, and a port that is a number: what else there is, urllib refuses in the middle of things.
        parts = urlsplit(address if re.fullmatch("[!-~]+", address) else "")
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (TypeError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f"expected an address such as https://example.org/data as base_url= or --base-url, got {address!r}"
        )


def _is_right(folder: Path, file: DataFile, unverified: bool) -> bool:
    path = packed_or_plain(folder, file)
    if path is None:
        return False
    try:
        read_verified_path(file, path, unverified)
    except ValueError:
        return False
    return True


def _fetch_file(file: DataFile, folder: Path, url: str, unverified: bool) -> None:
    part = folder / f"{file.name}.part"
    try:
        raw = _download(url, part, file.most_bytes)
        read_verified(file, raw, url, unverified)
    except ValueError:
        part.unlink(missing_ok=True)
        raise
    _publish(raw, folder / file.name)
    part.unlink(missing_ok=True)


def _publish(raw: bytes, target: Path) -> None:
    # Not a rename of the .part: a second process that fetches the same file may still hold it open and append to it.
    with replacing(target) as private:
        private.write_bytes(raw)


def _download(url: str, part: Path, most: int) -> bytes:
    start = part.stat().st_size if part.exists() else 0
    if start > most:
        start = 0  # of something else
    try:
        response = _open(url, start)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return part.read_bytes()  # nothing is left to ask for: its content decides
        raise ConnectionError(
            f"{url}: the server answered {error.code} ({_printable(error.reason)}); another address can be given as "
            "base_url= or --base-url"
        ) from None
    with response:
        return _receive(response, url, part, start, most)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows only what is as safe as the address that was asked: urllib goes on to ftp, and from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in (("https",) if req.type == "https" else ("http", "https")):
            reason = f"it leads on to {newurl}, which is not followed from {req.type}"
            raise urllib.error.HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> http.client.HTTPResponse | None:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # what it leads on to is no address, and urllib leaves the connection open
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _open(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        return urllib.request.build_opener(_Redirections).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: an address that it leads on to
        reason = _printable(getattr(error, "reason", error))
        raise ConnectionError(f"{url}: the server could not be reached ({reason})") from None


def _printable(reason: object) -> str:
    """Return what a server says on one line, without anything that a terminal would obey."""
    return re.sub("[^!-~]+", " ", str(reason)).strip()


def _receive(response: http.client.HTTPResponse, url: str, part: Path, start: int, most: int) -> bytes:
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        start = 0  # the server ignores ranges and sends the whole file
    elif not re.match(rf"bytes {start}-", response.headers.get("Content-Range", "")):
        raise ConnectionError(f"{url}: asked for the bytes from {start} on, the server sent others; delete {part}")
    total = _total(response.headers.get("Content-Length"), url, start, most)
    # disable=None: a log file or a pipe gets no bar.
    bar = tqdm(total=total, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
    with bar, open(part, "ab+" if start else "wb+") as sink:
        received = start
        while chunk := _read(response, url):
            received += len(chunk)
            if received > most:
                raise ValueError(f"{url}: expected at most {most} bytes, the server sends more")
            sink.write(chunk)
            bar.update(len(chunk))
        if total is not None and received < total:
            raise ConnectionError(f"{url}: the connection ended after {received} of {total} bytes; {RESUME}")
        sink.seek(0)
        return sink.read()


def _total(length: str | None, url: str, start: int, most: int) -> int | None:
    """Return how many bytes the file has as the server announces it, or None."""
    if length is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", length.strip()):
        raise ConnectionError(f"{url}: the server announces a length that is no number of bytes ({length!r})")
    if start + int(length) > most:
        raise ValueError(f"{url}: expected at most {most} bytes, the server announces {start + int(length)}")
    return start + int(length)


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: chunks of a negative length
        raise ConnectionError(f"{url}: the connection broke off ({error}); {RESUME}") from None
