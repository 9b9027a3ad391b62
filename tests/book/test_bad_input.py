"""What is missing or broken is said in one sentence, and nothing half-built takes the place of a whole book."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="Sphinx is not installed (extra book)")

import build
import docstrings
import mathjax


def one_sentence(capsys):
    said = capsys.readouterr().err.strip()
    assert said.startswith("The book was not built: ") and "Traceback" not in said
    return said


def run(monkeypatch, out, *arguments):
    monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(out), *arguments])
    return build.main()


def test_without_npm_there_is_a_book_and_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(mathjax.shutil, "which", lambda name: None)
    script, sentence = mathjax.vendored(tmp_path)
    assert script == mathjax.WITHOUT and "npm is not installed" in sentence and "apt-get install npm" in sentence


def test_without_a_registry_there_is_a_book_and_a_sentence(tmp_path, monkeypatch):
    def fail(*arguments, **keywords):
        raise subprocess.CalledProcessError(1, "npm")

    monkeypatch.setattr(mathjax.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(mathjax.subprocess, "run", fail)
    script, sentence = mathjax.vendored(tmp_path)
    assert script == mathjax.WITHOUT and "npm could not fetch mathjax@3.2.2" in sentence
    assert list(tmp_path.iterdir()) == []


def test_another_mathjax_than_the_checked_one_is_refused(tmp_path, monkeypatch):
    def pack(command, **keywords):
        import io
        import tarfile

        with tarfile.open(f"{command[-1]}/mathjax-3.2.2.tgz", "w:gz") as archive:
            member = tarfile.TarInfo(mathjax.MEMBER)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"evil"))
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(mathjax.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(mathjax.subprocess, "run", pack)
    with pytest.raises(ValueError, match="SHA-256"):
        mathjax.vendored(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "NEEDED", {"no_such_module": "no-such-package"})
    assert run(monkeypatch, tmp_path / "book") == 2
    said = one_sentence(capsys)
    assert "no-such-package not installed" in said and ".[book]" in said
    assert not (tmp_path / "book").exists()


def notebook(**changes):
    cell = {"cell_type": "code", "execution_count": 1, "source": "1", "metadata": {}, "outputs": []} | changes
    return json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (notebook(outputs=[{"output_type": "error", "ename": "ValueError"}]), "code cell 1 ends in ValueError"),
        (notebook(execution_count=None), "code cell 1 was not run in order"),
        ("{", "is no notebook"),
        ("[]", "is no notebook"),
    ],
)
def test_a_notebook_that_did_not_run_to_its_end_is_named(tmp_path, monkeypatch, text, words):
    monkeypatch.setattr(build, "ROOT", tmp_path)
    path = tmp_path / "07_admm.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"07_admm\.ipynb") as found:
        build.checked(path)
    assert words in str(found.value)


def test_a_page_that_cannot_be_written_is_named(tmp_path, monkeypatch, capsys):
    pages = tmp_path / "book" / "pages"
    pages.mkdir(parents=True)
    (pages / "results.py").write_text(
        "def page():\n    raise FileNotFoundError('notebooks/results/obd.jsonl is missing')\n"
    )
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "ledger", lambda: "# The ledger\n")
    with pytest.raises(RuntimeError, match=r"book/pages/results.py: notebooks/results/obd.jsonl is missing"):
        build.generated()


def test_a_docstring_that_names_what_does_not_exist_is_a_warning(monkeypatch):
    said = []
    monkeypatch.setattr(docstrings.log, "warning", lambda text, *arguments, **keywords: said.append(text % arguments))
    lines = ["Return `nn.Linear` of `no_such` and `nn.no_such_layer`."]
    docstrings.mathematics("function", "nn.im2col", docstrings.names.resolve("nn.im2col"), lines)
    assert said == ["the docstring of nn.im2col names `nn.no_such_layer`, which does not exist"]
    assert lines == ["Return :py:obj:`nn.Linear <nn.Linear>` of ``no_such`` and ``nn.no_such_layer``."]


def test_a_warning_of_sphinx_leaves_the_old_book_in_place(tmp_path, monkeypatch, capsys):
    old = tmp_path / "book"
    old.mkdir()
    (old / "index.html").write_text("the old one")

    def warn(command, **keywords):
        (tmp_path / ".book").mkdir(exist_ok=True)
        (tmp_path / ".book" / "warnings").write_text("api/nn.linear.rst:3: WARNING: unknown target name\n")
        return SimpleNamespace(returncode=1, stdout="", stderr="")

    monkeypatch.setattr(build, "gather", lambda work: None)
    monkeypatch.setattr(build.subprocess, "run", warn)
    assert run(monkeypatch, old) == 2
    assert "unknown target name" in one_sentence(capsys)
    assert (old / "index.html").read_text() == "the old one"


def test_a_book_takes_the_place_of_the_old_one_at_once(tmp_path):
    new, old = tmp_path / "new", tmp_path / "book"
    for folder, text in ((new, "new"), (old, "old")):
        folder.mkdir()
        (folder / "index.html").write_text(text)
    (old / "gone.html").write_text("old")
    build.replace(new, old)
    assert {path.name: path.read_text() for path in old.iterdir()} == {"index.html": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["book", "new"]
    shutil.rmtree(old)
