"""``python -m nn.data``: list, fetch, and one sentence for every mistake."""

import gzip
import os
import subprocess
import sys

from data_files import PACKED, TINY, names, put

from nn.data import __main__ as command_line
from nn.data.sources import DATA_SETS


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "nn.data", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"no_proxy": "*"} | environment,
    )


def is_one_sentence(text):
    return text.startswith("error: ") and text.count("\n") == 1


def test_command_line_fetches(tiny, server, tmp_path, capsys):
    assert command_line.main(["fetch", "tiny", "--cache", str(tmp_path), "--base-url", server.url]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny'}\n"
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]


def test_command_line_takes_an_unverified_file_only_when_asked_to(tiny_published, server, tmp_path, capsys):
    server.files["labels.gz"] = gzip.compress(TINY["labels.gz"])  # other bytes: they carry the time
    arguments = ["fetch", "tiny", "--cache", str(tmp_path), "--base-url", server.url]
    assert command_line.main(arguments) == 2
    assert is_one_sentence(capsys.readouterr().err)
    assert names(tmp_path / "tiny") == ["images.gz"]
    assert command_line.main([*arguments, "--unverified"]) == 0
    assert names(tmp_path / "tiny") == ["images.gz", "labels.gz"]


def test_command_line_lists_what_is_found(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PRUNING_DATA", str(put(tmp_path / "here")))
    assert command_line.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == list(DATA_SETS)
    assert "part of this package; terms: CC BY 4.0" in lines[0]
    assert "not found; terms: " in lines[1]
    assert f"found in {tmp_path / 'here' / 'tiny'}; terms: none" in lines[-1]


def test_command_line_says_that_ctrl_c_resumes(monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "fetch", interrupted)
    assert command_line.main(["fetch", "mnist"]) == 130
    assert capsys.readouterr().err == "interrupted: run the same command again to resume\n"


def test_command_line_in_a_process_of_its_own(tmp_path):
    done = run("list", PRUNING_DATA="", XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits: part of this package" in done.stdout
    unknown = run("fetch", "mnits", "--cache", str(tmp_path))
    assert unknown.returncode == 2
    assert is_one_sentence(unknown.stderr)
    assert run("fetch").returncode == 2


def test_command_line_errors_of_a_download_have_no_traceback(server, tmp_path):
    missing = run("fetch", "mnist", "--cache", str(tmp_path), "--base-url", server.url)
    server.files["train-images-idx3-ubyte.gz"] = PACKED["images.gz"]
    wrong = run("fetch", "mnist", "--cache", str(tmp_path), "--base-url", server.url)
    for done, words in [(missing, "404"), (wrong, "expected content with the SHA256")]:
        assert done.returncode == 2
        assert is_one_sentence(done.stderr)
        assert words in done.stderr
        assert done.stdout == ""
