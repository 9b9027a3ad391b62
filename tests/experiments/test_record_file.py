"""Records as JSON Lines: one line a cell, whole, whoever adds to the file and whatever happens."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pruning.experiments import record_file


def record(seed, **more):
    return {"experiment": "obd_mlp", "spec": {"seed": seed}, **more}


def test_records_come_back_as_they_were_added(tmp_path):
    path = tmp_path / "records.jsonl"
    assert record_file.read(path) == []
    both = [record(0, rows=[1.5, "é", None]), record(1)]
    assert [record_file.add(path, each) for each in both] == both
    assert record_file.read(path) == both
    assert path.read_text(encoding="utf-8").count("\n") == 2


def test_a_line_that_a_killed_run_left_unfinished_is_cut_off(tmp_path):
    path = tmp_path / "records.jsonl"
    record_file.add(path, record(0))
    path.write_bytes(path.read_bytes() + b'{"spec": {"half a li')
    assert record_file.read(path) == [record(0)]
    record_file.add(path, record(1))
    assert record_file.read(path) == [record(0), record(1)]


def test_no_cell_is_in_the_file_twice(tmp_path):
    path = tmp_path / "records.jsonl"
    record_file.add(path, record(0, rows=[1]))
    assert record_file.add(path, record(0, rows=[2])) == record(0, rows=[1])
    assert record_file.read(path) == [record(0, rows=[1])]


@pytest.mark.slow
def test_processes_that_add_at_once_lose_nothing_and_write_no_cell_twice(tmp_path):
    path = tmp_path / "records.jsonl"
    code = (
        "import sys\nfrom pathlib import Path\nfrom pruning.experiments import record_file\n"
        "path, name = Path(sys.argv[1]), sys.argv[2]\nprint('ready', flush=True)\nsys.stdin.read()\n"
        "for seed in range(100):\n"
        "    for whose in ('everyone', name):\n"
        "        spec = {'seed': seed, 'whose': whose}\n"
        "        record_file.add(path, {'spec': spec, 'rows': 500 * [seed]})\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    processes = [subprocess.Popen([*command, name], **pipes) for name in ("a", "b", "c")]
    assert [process.stdout.readline() for process in processes] == [b"ready\n"] * 3
    for process in processes:
        process.stdin.close()  # all of them start now
    assert [process.wait() for process in processes] == [0, 0, 0]
    for process in processes:
        process.stdout.close()
    records = record_file.read(path)
    assert sorted((each["spec"]["whose"], each["spec"]["seed"]) for each in records) == [
        (whose, seed) for whose in ("a", "b", "c", "everyone") for seed in range(100)
    ]
    assert all(each["rows"] == 500 * [each["spec"]["seed"]] for each in records)


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is Unix's")
def test_a_full_disk_names_the_file_and_leaves_it_as_it_was(tmp_path):
    path = tmp_path / "records.jsonl"
    record_file.add(path, record(0))
    before = path.read_bytes()
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom pruning.experiments import record_file\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (len(Path(sys.argv[1]).read_bytes()) + 100,) * 2)\n"
        "try:\n    record_file.add(Path(sys.argv[1]), {'spec': 1, 'rows': 100 * [0.5]})\n"
        "except OSError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path} cannot be written (File too large)\n"
    assert path.read_bytes() == before


def test_a_whole_file_is_written_or_none(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    record_file.write(path, [record(0), record(1)])
    assert record_file.read(path) == [record(0), record(1)]
    with pytest.raises(TypeError):
        record_file.write(path, [record(2), {"spec": object()}])
    assert record_file.read(path) == [record(0), record(1)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "content",
    [b"my notes\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b"3\n", b'"spec"\n', b"null\n", 10**5 * b"[" + b"\n", b"\n"],
    ids=range(9),
)
def test_what_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"spec": 1}\n' + content)
    for action in (record_file.read, lambda path: record_file.add(path, record(0))):
        with pytest.raises(ValueError, match=r"^line 2 of .*records.jsonl is no record .*; move the file away$"):
            action(path)
    assert path.read_bytes() == b'{"spec": 1}\n' + content


def test_records_under_an_old_name_are_taken_over(tmp_path):
    path, old = tmp_path / "obd_lenet1990.jsonl", tmp_path / "obd.jsonl"
    record_file.add(old, record(0))
    before = old.read_bytes() + b'{"half'
    old.write_bytes(before)
    record_file.prepare(path, ["nothing", "obd"])
    assert path.read_bytes() == before and not old.exists()
    record_file.prepare(path, ["obd"])
    assert record_file.read(path) == [record(0)]


@pytest.mark.parametrize("new", [None, b"", b'{"half a li'])
def test_records_under_an_old_name_take_the_place_of_a_file_without_any(new, tmp_path):
    path, old = tmp_path / "obd_lenet1990.jsonl", tmp_path / "obd.jsonl"
    record_file.add(old, record(0))
    if new is not None:
        path.write_bytes(new)
    record_file.prepare(path, ["obd"])
    assert record_file.read(path) == [record(0)] and not old.exists()


def test_records_under_both_names_are_left_alone_and_named(tmp_path):
    path, old = tmp_path / "obd_lenet1990.jsonl", tmp_path / "obd.jsonl"
    record_file.add(old, record(0))
    record_file.add(path, record(1))
    with pytest.raises(ValueError, match=r"obd\.jsonl has records .* and .*obd_lenet1990\.jsonl has some too"):
        record_file.prepare(path, ["obd"])
    assert record_file.read(old) == [record(0)] and record_file.read(path) == [record(1)]


def test_a_file_of_something_else_under_an_old_name_stays_and_is_named(tmp_path):
    path, old = tmp_path / "obd_lenet1990.jsonl", tmp_path / "obd.jsonl"
    old.write_bytes(b"my notes\n")
    with pytest.raises(ValueError, match=r"line 1 of .*obd\.jsonl is no record"):
        record_file.prepare(path, ["obd"])
    assert old.read_bytes() == b"my notes\n" and not path.exists()
    old.write_bytes(b"")
    record_file.prepare(path, ["obd"])
    assert old.exists()


def test_a_folder_is_made_and_one_that_cannot_be_written_to_is_refused(tmp_path):
    record_file.prepare(tmp_path / "a" / "b" / "records.jsonl")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    unwritable = [tmp_path / "file", tmp_path / "file" / "below"]
    unwritable += [Path("/proc")] if sys.platform == "linux" else []
    for folder in unwritable:
        with pytest.raises(ValueError, match=f"expected a folder to write to as --out, got {folder}"):
            record_file.make_folder(folder)


def test_a_file_that_cannot_be_written_to_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    path.mkdir()
    with pytest.raises(OSError, match=r"records.jsonl cannot be written \(Is a directory\)"):
        record_file.prepare(path)


def test_equal_specifications_have_one_key():
    assert record_file.key({"a": 1, "b": [2]}) == record_file.key({"b": [2], "a": 1}) != record_file.key({"a": 1})
    assert json.loads(record_file.key({"a": 1})) == {"a": 1}


def test_hits_that_are_none_are_refused():
    assert record_file.unpacked("oA==", 3).tolist() == [True, False, True]
    for hits, message in (
        ("oA==", "expected the hits of 9 patterns in 2 bytes, got 1 bytes"),
        ("é", "in base64, got 'é'"),
    ):
        with pytest.raises(ValueError, match=message):
            record_file.unpacked(hits, 9)
    assert record_file.unpacked("", 0).dtype == np.bool_
