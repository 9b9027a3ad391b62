"""The experiment sparse_speed: what is timed and how it is counted; never how long it took."""

import json

import numpy as np
import pytest
import threadpoolctl

from pruning import sparse
from pruning.experiments import EXPERIMENTS, runner, sparse_speed

TINY = {
    "machine": "some kernels, 1 thread",
    "layers": {"conv1": [6, 10, 8], "fc6": [12, 20, 1]},
    "sparsities": [0.5, 0.9],
    "pair": {**sparse_speed.PAIR, "W": [32, 60], "windows": 7, "block": 4, "rounds": 2},
    "rounds": 2,
    "seed": 0,
}


def test_the_products_are_alexnets():
    assert sparse_speed.products() == {
        "conv1": [96, 3 * 11 * 11, 55 * 55],
        "conv2": [128, 48 * 5 * 5, 27 * 27],
        "conv3": [384, 256 * 3 * 3, 13 * 13],
        "conv4": [192, 192 * 3 * 3, 13 * 13],
        "conv5": [128, 192 * 3 * 3, 13 * 13],
        "fc6": [4096, 256 * 6 * 6, 1],
        "fc7": [4096, 4096, 128],
    }


def test_a_tiny_run_gives_a_record_a_table_and_a_figure(tmp_path):
    record = runner.run_one("sparse_speed", TINY)
    assert json.loads(json.dumps(record)) == record
    assert [layer["name"] for layer in record["layers"]] == ["conv1", "fc6"]
    found = [row[way]["speedup"] for layer in record["layers"] for row in layer["rows"] for way in ("csr", "compact")]
    found += [row["speedup"] for row in record["pair"]]
    assert len(found) == 2 * 2 * 2 + 9
    assert all(0 < low <= median <= high for median, low, high in found)
    assert all(each["dense_seconds"] > 0 for each in record["layers"])
    assert record["pair"][0]["speedup"] == [1, 1, 1]
    text = sparse_speed.table(record)
    for part in ("conv1", "fc6", "90%", "some kernels, 1 thread", "breaks even", "BSR", "structured, compact alone"):
        assert part in text
    (path,) = sparse_speed.draw([record], tmp_path)
    assert path.name == "sparse_speed-some_kernels-0.png" and path.stat().st_size < 100_000


def test_the_table_is_printed_by_the_command_and_only_there(capsys):
    spec = {**TINY, "layers": {"conv1": [6, 10, 8]}, "rounds": 1}
    sparse_speed.run_cell(spec)
    assert capsys.readouterr().out == ""
    sparse_speed.run_cell(spec, progress=True)
    assert "conv2_1" in capsys.readouterr().out


@pytest.fixture
def contenders(monkeypatch):
    """Every dict of contenders that is timed, and the arrays that they return."""
    seen, whole = [], sparse_speed.interleaved

    def spy(contenders, rounds, repeats=1):
        seen.append({name: run() for name, run in contenders.items()})
        return whole(contenders, rounds, repeats)

    monkeypatch.setattr(sparse_speed, "interleaved", spy)
    return seen


def test_what_is_timed_are_products_of_the_same_matrices(contenders):
    rows = sparse_speed.time_pair(TINY["pair"], np.random.default_rng(0))
    (results,) = contenders
    expected = results["unstructured, dense"]
    live = expected.any(axis=1)
    assert 0 < np.sum(~live) < 32  # zero rows
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(results["unstructured, CSR"], expected, **close)
    np.testing.assert_allclose(results["unstructured, CSC"], expected, **close)
    np.testing.assert_allclose(results["unstructured, gather and compact"], expected[live], **close)
    structured = results["structured, CSR"]
    np.testing.assert_allclose(results["structured, compact alone"], structured[structured.any(axis=1)], **close)
    np.testing.assert_array_equal(results["structured, gather and compact"], results["structured, compact alone"])
    assert [row["name"] for row in rows] == list(results)
    assert all(result.dtype == np.float32 for result in results.values())


def test_what_is_counted_of_the_pair():
    rows = {row["name"]: row for row in sparse_speed.time_pair(TINY["pair"], np.random.default_rng(0))}
    W, blocks = 32 * 60, 6  # of 8 x 15 blocks 94.6 % are zero, of the others no entry
    row = rows["4 x 4 blocks, BSR"]
    assert row["zeros"] == 1 - 16 * blocks / W and row["theory"] == W / (16 * blocks)
    assert row["bytes"] == blocks * (4 * 16 + 4) + 4 * (8 + 1)
    left = {"unstructured": round(0.054 * W), "structured": round(0.085 * W)}
    for name, pointers in (("unstructured, CSR", 33), ("unstructured, CSC", 61), ("structured, CSR", 33)):
        row, nonzero = rows[name], left[name.partition(",")[0]]
        assert row["zeros"] == 1 - nonzero / W and row["theory"] == W / nonzero
        assert row["bytes"] == 8 * nonzero + 4 * pointers
    for name in ("dense", "unstructured, dense"):
        assert rows[name]["theory"] == 1 and rows[name]["bytes"] == 4 * W
    assert rows["dense"]["zeros"] == 0 and rows["unstructured, dense"]["zeros"] == rows["unstructured, CSR"]["zeros"]
    alone, gathered = rows["structured, compact alone"], rows["structured, gather and compact"]
    assert alone["zeros"] == gathered["zeros"] == rows["structured, CSR"]["zeros"]
    assert alone["theory"] == gathered["theory"] == W / (25 * 15)  # 7 rows and 45 columns are zero


def test_a_layer_is_timed_at_every_sparsity_and_again_where_it_breaks_even(contenders, monkeypatch):
    monkeypatch.setattr(sparse_speed, "break_even", lambda *a: 0.7)
    layer = sparse_speed.time_layer((40, 50, 6), [0.5, 0.75], 1, np.random.default_rng(0))
    first, second = contenders
    assert list(first) == ["dense", "csr 0.5", "compact 0.5", "csr 0.75", "compact 0.75"]
    assert list(second) == ["dense", "csr"]
    np.testing.assert_array_equal(first["dense"], second["dense"])
    assert first["compact 0.75"].shape == (20, 6)  # half the rows and half the columns
    assert layer["rows"][1]["compact"]["theory"] == 4 and layer["rows"][1]["csr"]["theory"] == 4
    assert first["csr 0.5"].dtype == first["compact 0.5"].dtype == np.float32


def test_the_pair_has_the_shares_that_the_slide_prints():
    rng, shape = np.random.default_rng(0), tuple(sparse_speed.PAIR["W"])
    for name, printed in (("unstructured", (94.6, 19.5, 8.7)), ("structured", (91.5, 21.9, 75.2))):
        keep = sparse_speed.as_on_the_slide(shape, **sparse_speed.PAIR[name], rng=rng)
        shares = [1 - keep.mean(), 1 - keep.any(axis=1).mean(), 1 - keep.any(axis=0).mean()]
        # A row or column more may become zero by chance: the elements are drawn at random.
        assert -0.06 <= 100 * shares[0] - printed[0] <= 0.06
        assert all(-0.06 <= 100 * share - slide < 0.5 for share, slide in zip(shares[1:], printed[1:]))
    kept = keep.any(axis=1).sum() * keep.any(axis=0).sum()
    assert round(keep.size / kept, 2) == 5.17
    with pytest.raises(ValueError, match="at most 25 elements outside the zero rows and columns, got 50"):
        sparse_speed.as_on_the_slide((10, 10), 0.5, 0.5, 0.5, rng)


def test_scattered_zeros_are_exactly_so_many():
    rng = np.random.default_rng(0)
    for sparsity in (0.0, 0.37, 0.99, 1.0):
        keep = sparse_speed.scatter((9, 11), sparsity, rng)
        assert keep.dtype == bool and np.sum(~keep) == round(99 * sparsity)
    assert sparse_speed.stripes((3, 4), 1.0, 1.0, rng).sum() == 1  # one row and one column stay


def test_break_even_is_exact_where_time_is_linear_in_what_is_left():
    sparsities = [0.5, 0.8, 0.9, 0.95, 0.99]
    speedups = [1 / (0.1 + 9 * (1 - s)) for s in sparsities]  # time 1 at a density of 0.1
    assert sparse_speed.break_even(sparsities, speedups) == pytest.approx(0.9, rel=1e-12)
    speedups = [1 / (0.04 + 8 * (1 - s)) for s in sparsities]
    assert sparse_speed.break_even(sparsities, speedups) == pytest.approx(0.88, rel=1e-12)
    assert sparse_speed.break_even(sparsities, [0.1, 0.2, 0.3, 0.4, 0.5]) is None
    assert sparse_speed.break_even(sparsities, [2, 3, 4, 5, 6]) is None


def test_a_round_times_all_contenders_in_turn_and_the_first_does_not_count():
    calls = []
    times = sparse_speed.interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, 3, repeats=2)
    assert "".join(calls) == "aabb" * 4
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert sparse_speed.speedup({"dense": [6, 2, 9], "x": [2, 2, 3]}, "x") == [3, 1, 3]


def test_the_specification_is_that_of_one_thread_however_many_there_are(monkeypatch):
    limits, real = [], threadpoolctl.threadpool_limits

    def spy(number):
        limits.append(number)
        return real(number)

    with threadpoolctl.threadpool_limits(2):
        before = sparse.machine()
        monkeypatch.setattr(threadpoolctl, "threadpool_limits", spy)
        (spec,) = sparse_speed.specs("digits", [0], "cpu")
        assert limits == [1] and sparse.machine() == before
    assert spec["machine"] == before.replace("2 threads", "1 thread")


def test_the_specification_names_the_kernels():
    first, second = sparse_speed.specs("digits", [0, 1], "cpu")
    assert first["machine"].endswith("1 thread") and (first["seed"], second["seed"]) == (0, 1)
    assert json.loads(json.dumps(first)) == first and "sparse_speed" in EXPERIMENTS
    for arguments in (("mnist", [0], "cpu"), ("digits", [0], "gpu"), ("digits", [0], "cpu", "lenet5")):
        with pytest.raises(ValueError, match="leave --data, --model and --device out"):
            sparse_speed.specs(*arguments)
    with pytest.raises(ValueError, match="seed of 0 or more, got -1"):
        sparse_speed.specs("digits", [-1], "cpu")
