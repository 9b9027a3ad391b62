"""Build the book: ``make book``, or ``python book/build.py``.  It is opened from disk, out/book/index.html.

The sources are gathered in out/.book/source (pages of book/, notebooks as they are committed, the ledger as it is
measured, one API page a module), Sphinx runs there, and what it made takes the place of out/book only when all went
well.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "book" / "_generated"
"""Pages that take their time are kept here, beside their drawings."""
NEEDED = {
    "sphinx": "sphinx",
    "myst_nb": "myst-nb",
    "furo": "furo",
    "sphinx_design": "sphinx-design",
    "sphinx_copybutton": "sphinx-copybutton",
}


def main() -> int:
    """Build, and return 0; or say in one sentence what is missing, and return 2."""
    parser = argparse.ArgumentParser(description="Build the book into out/book.")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "book", help="default out/book")
    parser.add_argument("--cold", action="store_true", help="build everything anew")
    options = parser.parse_args()
    try:
        build(options.out.resolve(), options.cold)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"The book was not built: {error}", file=sys.stderr)
        return 2
    return 0


def build(out: Path, cold: bool = False) -> None:
    """Gather the sources, run Sphinx on them, and put the result into place."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not installed; say pip install -e '.[book]'")
    began = time.perf_counter()
    work = out.with_name(f".{out.name}")
    if cold:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(GENERATED, ignore_errors=True)
    gather(work)
    sphinx(work)
    replace(work / "html", out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    pages = sum(1 for _ in out.rglob("*.html"))
    print(f"{pages} pages, {size / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s: {out / 'index.html'}")


def gather(work: Path) -> None:
    """Bring all sources into work/source; what has not changed keeps its date, so that Sphinx leaves it alone."""
    sys.path[:0] = [str(ROOT), str(ROOT / "book"), str(ROOT / "book" / "_ext"), str(ROOT / "notebooks")]
    import api
    import mathjax

    source, kept = work / "source", set()

    def put(name: str, content: bytes) -> None:
        path = source / name
        kept.add(path)
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    places = committed()
    for name, path in places.items():
        content = checked(path)
        put(name, placed(content, places) if path.parent == ROOT / "book" else content)
    for name, text in generated().items():
        put(f"_generated/{name}.md", text.encode())
    for path in GENERATED.glob("**/*"):
        if path.is_file() and path.suffix != ".md":
            put(f"_generated/{path.relative_to(GENERATED)}", path.read_bytes())
    for name, text in api.pages(ROOT / "notebooks").items():
        put(f"{name}.rst", text.encode())
    script, sentence = mathjax.vendored(work.parent / ".mathjax")
    put("_static/tex-svg-full.js", script.encode())
    if sentence:
        print(sentence, file=sys.stderr)
    for path in [path for path in source.rglob("*") if path.is_file() and path not in kept]:
        path.unlink()


def committed() -> dict[str, Path]:
    """Return the sources that are files of the repository, by their names in the book."""
    book, notebooks = ROOT / "book", ROOT / "notebooks"
    return {
        **{path.name: path for path in book.glob("*.md")},
        **{f"notebooks/{path.name}": path for path in notebooks.glob("*.ipynb")},
        **{f"notebooks/answers/{path.name}": path for path in (notebooks / "answers").glob("*.md")},
        "course.md": ROOT / "course" / "lecturer.md",
        "conventions.md": ROOT / "CONTRIBUTING.md",
        "changelog.md": ROOT / "CHANGELOG.md",
        "cluster.md": ROOT / "pruning" / "experiments" / "cluster.md",
        **{f"results/{path.name}": path for path in (notebooks / "results").glob("*.png")},
    }


def placed(content: bytes, places: dict[str, Path]) -> bytes:
    """Return a page of book/ with its links to files of the repository as links to their places in the book."""
    names = {path.relative_to(ROOT).as_posix(): name for name, path in places.items()}

    def link(found: re.Match) -> str:
        if found[1] not in names:
            raise ValueError(f"a page of book/ links to {found[1]}, which has no place in the book")
        return f"]({names[found[1]]}"

    return re.sub(r"\]\(\.\./([^)#]+)", link, content.decode()).encode()


def checked(path: Path) -> bytes:
    """Return the content of a source; a notebook must have run to its end, in order."""
    content = path.read_bytes()
    if path.suffix != ".ipynb":
        return content
    try:
        cells = json.loads(content)["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.relative_to(ROOT)} is no notebook; restore it with git checkout") from error
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for k, cell in enumerate(code, 1):
        errors = [output["ename"] for output in cell["outputs"] if output["output_type"] == "error"]
        if errors or cell["execution_count"] != k:
            what = f"ends in {errors[0]}" if errors else "was not run in order"
            raise ValueError(
                f"{path.relative_to(ROOT)}, code cell {k} {what}; mend it and execute the notebook from a clean kernel"
            )
    return content


def generated() -> dict[str, str]:
    """Return the pages that scripts write: the ledger, and book/pages/*.py with a function page() each.

    A script that takes its time names what it reads in SOURCES, and runs again only if that changed.
    """
    with ThreadPoolExecutor(1) as pool:
        measured = pool.submit(ledger)  # a process of its own, which runs beside the others
        pages = {path.stem: script(path) for path in sorted((ROOT / "book" / "pages").glob("*.py"))}
        return {"ledger": measured.result(), **pages}


def script(path: Path) -> str:
    """Return the page that one script writes, or what is kept of it."""
    spec = importlib.util.spec_from_file_location(f"book_page_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        sources = [ROOT / name for name in getattr(module, "SOURCES", ())]
        return cached(path.stem, [path, *sources], module.page) if sources else module.page()
    except (OSError, ValueError, LookupError) as error:
        raise RuntimeError(f"{path.relative_to(ROOT)}: {error}") from error


def cached(name: str, sources: Sequence[Path], make: Callable[[], str]) -> str:
    """Return a page that was made of these very sources, or make it; only the last one is kept, as its drawings are."""
    path = GENERATED / f"{name}-{digest(sources)}.md"
    if not path.exists():
        for old in GENERATED.glob(f"{name}-*.md"):
            old.unlink()  # before its drawings go
        page = make()
        GENERATED.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}")
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    return path.read_text(encoding="utf-8")


def ledger() -> str:
    """Return the ledger as ``python -m pruning verify --myst`` measures it, again only if the code changed."""
    page = cached("ledger", [ROOT / name for name in ("nn", "textbook", "pruning")], measured_ledger)
    # The slides have a page of their own, with links.
    return re.sub(r"\n## From the slide to the section\n.*?(?=\n\(\S+\)=\n)", "", page, flags=re.S)


def measured_ledger() -> str:
    """Run the command, and return what it writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.md")
        command = [sys.executable, "-m", "pruning", "verify", "--myst", str(path)]
        done = subprocess.run(command, cwd=ROOT, env=one_thread(), capture_output=True, text=True)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()[-1]
            raise RuntimeError(f"python -m pruning verify failed: {said}")
        return path.read_text(encoding="utf-8")


def digest(places: Sequence[Path]) -> str:
    """Return one number for the content of files, and of all code and records in folders."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    found = hashlib.sha256()
    for file in sorted(file for file in files if file.suffix in (".py", ".jsonl", ".npz")):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def one_thread() -> dict[str, str]:
    """Return the environment of a child process, with one BLAS thread and this repository in front."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


def sphinx(work: Path) -> None:
    """Run Sphinx; a warning is an error, and is said in its own words."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "-w", str(work / "warnings")]
    command += ["-c", str(ROOT / "book"), "-d", str(work / "doctrees"), str(work / "source"), str(work / "html")]
    done = subprocess.run(command, cwd=ROOT, env=one_thread(), capture_output=True, text=True)
    if done.returncode:
        warnings = (work / "warnings").read_text(encoding="utf-8").splitlines() if (work / "warnings").exists() else []
        shutil.rmtree(work / "doctrees", ignore_errors=True)  # Sphinx would not warn a second time
        said = [line.strip() for line in warnings if re.search(r"WARNING|ERROR|exception:|^\w+Error", line)]
        said = said or done.stderr.splitlines()[-3:]
        raise RuntimeError("\n".join([f"{len(said)} warnings of Sphinx", *said[:20]]))


def replace(new: Path, old: Path) -> None:
    """Copy the finished book beside the old one, and take its place in one step."""
    whole = old.with_name(f".{old.name}-whole")
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree(new, whole, ignore=shutil.ignore_patterns(".*", "_sources", "objects.inv"))
    shutil.rmtree(old, ignore_errors=True)
    whole.rename(old)


if __name__ == "__main__":
    sys.exit(main())
