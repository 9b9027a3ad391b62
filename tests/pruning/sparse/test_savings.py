import types

import numpy as np
import pytest
import scipy.sparse

import nn
from pruning import counts, masks, sparse, surgery


def matrix(shape=(6, 8), sparsity=0.7, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal(shape) * (rng.random(shape) > sparsity)
    W[2], W[:, 5] = 0, 0
    return W.astype(dtype)


CASES = [matrix(), matrix((4, 12), 0.5), matrix((8, 6), 1.0), matrix((6, 6), 0.0), matrix(dtype=np.float32)]


@pytest.mark.parametrize("W", CASES)
def test_formats_hold_the_same_numbers_as_scipys(W):
    ours, theirs = sparse.CSR.of(W), scipy.sparse.csr_array(W)
    for a, b in ((ours.values, theirs.data), (ours.columns, theirs.indices), (ours.starts, theirs.indptr)):
        np.testing.assert_array_equal(a, b)
    ours, theirs = sparse.CSC.of(W), scipy.sparse.csc_array(W)
    for a, b in ((ours.values, theirs.data), (ours.rows, theirs.indices), (ours.starts, theirs.indptr)):
        np.testing.assert_array_equal(a, b)
    ours = sparse.BSR.of(W, (2, 3 if W.shape[1] % 3 == 0 else 4))
    theirs = scipy.sparse.bsr_array(W, blocksize=ours.blocks.shape[1:])
    theirs.sort_indices()
    for a, b in ((ours.blocks, theirs.data), (ours.columns, theirs.indices), (ours.starts, theirs.indptr)):
        np.testing.assert_array_equal(a, b)


def every_format(W):
    return [sparse.CSR.of(W), sparse.CSC.of(W), sparse.BSR.of(W, (2, 2)), sparse.Compact.of(W)]


@pytest.mark.parametrize("W", CASES)
def test_every_format_comes_back_dense_and_multiplies_as_the_matrix(W):
    X = np.random.default_rng(1).standard_normal((W.shape[1], 5)).astype(W.dtype)
    for stored in every_format(W):
        np.testing.assert_array_equal(stored.dense(), W)
        assert stored.dense().dtype == W.dtype
    for stored in every_format(W)[:3]:
        np.testing.assert_allclose(
            stored.compiled() @ X, W @ X, rtol=1e-5 if W.dtype == np.float32 else 1e-13, atol=1e-6
        )
    compact = sparse.Compact.of(W)
    full = np.zeros((W.shape[0], 5), W.dtype)
    full[compact.rows] = compact.product(X)
    np.testing.assert_allclose(full, W @ X, rtol=1e-5 if W.dtype == np.float32 else 1e-13, atol=1e-6)


def test_bytes():
    W = matrix((50, 60), 0.9)
    nnz, live = np.count_nonzero(W), (W.any(axis=1).sum(), W.any(axis=0).sum())
    assert sparse.CSR.of(W).nbytes == 12 * nnz + 4 * 51
    assert sparse.CSC.of(W).nbytes == 12 * nnz + 4 * 61
    blocks = sum(W[i : i + 5, j : j + 4].any() for i in range(0, 50, 5) for j in range(0, 60, 4))
    assert sparse.BSR.of(W, (5, 4)).nbytes == blocks * (20 * 8 + 4) + 4 * 11
    assert sparse.Compact.of(W).nbytes == 8 * live[0] * live[1] + 4 * (live[0] + live[1])


def test_float32_rows_pay_above_one_half_only():
    rng = np.random.default_rng(3)
    for sparsity in (0.4, 0.6):
        W = np.zeros(10_000, np.float32)
        W[rng.permutation(10_000)[: round(10_000 * (1 - sparsity))]] = 1
        W = W.reshape(100, 100)
        assert (sparse.CSR.of(W).nbytes < W.nbytes) == (sparsity > 0.5)


@pytest.mark.parametrize(
    ("granularity", "inside"), [("weight", ()), ("vector", (3,)), ("kernel", (2, 3)), ("filter", (1, 2, 3))]
)
def test_the_four_granularities(granularity, inside):
    W = np.random.default_rng(4).standard_normal((6, 4, 3, 5))
    mask = sparse.granularity_mask(W, granularity, 0.5)
    units = np.moveaxis(mask, inside, range(len(inside))).reshape(*(W.shape[a] for a in inside), -1)
    flat = units.reshape(-1, units.shape[-1]) if inside else units[None]
    assert ((flat == flat[0]).all(axis=0)).all()  # a unit lives or dies as one
    assert flat[0].sum() * 2 == flat.shape[1]
    norms = np.sum(W**2, axis=inside)
    kept = mask.any(axis=inside) if inside else mask.astype(bool)
    assert norms[kept].min() > norms[~kept].max()


def small_net(dtype=np.float64):
    return nn.models.lenet5(np.random.default_rng(0), size=16, filters=(4, 6), hidden=10, dtype=dtype)


def test_report_of_a_masked_net_and_of_its_checkpoint(tmp_path):
    net = small_net()
    masks.apply(net, {"0.W": np.repeat([1.0, 0, 0, 0], 25).reshape(4, 1, 5, 5)})
    x = np.random.default_rng(1).random((1, 16, 16, 3))
    found = sparse.report(net, x, rounds=1)
    first = found.rows[0]
    assert (first.name, first.weights, first.nonzero, first.dense_bytes) == ("0", 100, 25, 800)
    assert first.csr_bytes == 12 * 25 + 4 * 5 and first.compact_bytes == 8 * 25 + 4 * 26
    assert first.macs == 100 * 12 * 12  # zeros are multiplied too
    total = sum(p.data.size for n, p in net.named_parameters() if n.endswith("W"))
    assert found.sparsity == pytest.approx(75 / total, rel=1e-12) and found.seconds > 0
    assert found.macs == counts.count(net, (1, 16, 16)).macs
    nn.checkpoint.save(tmp_path / "net.npz", net)
    with np.load(tmp_path / "net.npz") as arrays:  # the mask is stored too: the file has grown
        stored = {name: arrays[name].nbytes for name in arrays.files if name != "header"}
    assert found.stored_bytes == sum(stored.values()) and stored["mask/0.W"] == 800
    again = sparse.report(tmp_path / "net.npz", x, rounds=1)
    assert again.rows == found.rows and again.stored_bytes == found.stored_bytes


def test_a_smaller_net_is_smaller_in_all_four_columns_but_sparsity():
    net = small_net()
    x = np.random.default_rng(1).random((1, 16, 16, 3))
    small = surgery.remove(net, {"0.W": [0], "2.W": [1, 4]})
    before, after = sparse.report(net, x, rounds=1), sparse.report(small, x, rounds=1)
    assert before.sparsity == after.sparsity == 0
    assert after.stored_bytes == 8 * sum(p.data.size for p in small.parameters()) < before.stored_bytes
    assert [row.macs for row in after.rows] == [25 * 144, 50 * 4, 2 * 10, 100]


@pytest.mark.parametrize("convention", ["li2017", "conv_only", "full"])
def test_the_totals_of_a_report_are_those_of_the_counts(convention):
    net = nn.models.resnet_cifar(8, np.random.default_rng(0))
    x = np.zeros((3, 32, 32, 1))
    counted, found = counts.count(net, (3, 32, 32), convention), sparse.report(net, x, convention, rounds=1)
    assert [row.name for row in found.rows] == [layer.name for layer in counted.layers]
    assert (found.macs, sum(row.weights for row in found.rows)) == (counted.macs, counted.parameters)
    assert sum(row.dense_bytes for row in found.rows) == counted.bytes
    zeros = sum(int(np.sum(p.data == 0)) for n, p in net.named_parameters() if convention == "full" or n[-1] == "W")
    assert found.sparsity == pytest.approx(zeros / counted.parameters, rel=1e-12)
    if convention == "full":
        assert found.stored_bytes == counted.bytes + sum(b.nbytes for _, b in net.named_buffers())


def test_where_biases_count_only_the_matrix_is_in_the_sparse_format():
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, rng),
        nn.BatchNorm(4),
        nn.Conv2d(4, 3, 1, rng, bias=False),
        nn.Flatten(),
        nn.Linear(12, 5, rng),
    )
    net.layers[0].W.data[1:], net.layers[4].W.data[:, ::2] = 0, 0
    found = sparse.report(net, np.zeros((2, 4, 4, 1)), "full", rounds=1)
    assert [row.name for row in found.rows] == ["0", "1", "2", "4"]
    # Values of 8 bytes, indices of 4; then biases, or scales and shifts, as they are.
    assert [row.dense_bytes for row in found.rows] == [8 * 72 + 8 * 4, 8 * 8, 8 * 12, 8 * 60 + 8 * 5]
    assert [row.csr_bytes for row in found.rows] == [
        12 * 18 + 4 * 5 + 8 * 4,
        8 * 8,
        12 * 12 + 4 * 4,
        12 * 30 + 4 * 6 + 40,
    ]
    assert [row.compact_bytes for row in found.rows] == [
        8 * 18 + 4 * 19 + 32,
        8 * 8,
        8 * 12 + 4 * 7,
        8 * 30 + 4 * 11 + 40,
    ]


def test_seconds_are_the_median_of_the_rounds_after_the_first(monkeypatch):
    clock = iter(np.cumsum([0, 100, 0, 1, 0, 5, 0, 2, 0, 9, 0, 3]).tolist())  # begin and end in turn
    monkeypatch.setattr(sparse.savings, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    net = nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)))
    assert sparse.report(net, np.zeros((3, 1)), rounds=5).seconds == 3
    assert next(clock, None) is None


def test_the_table_names_the_four_numbers_and_what_measured_them():
    net = small_net(np.float32)
    net.layers[0].W.data[1:] = 0
    found = sparse.report(net, np.zeros((1, 16, 16, 2), np.float32), rounds=1)
    lines = found.table().split("\n")
    assert len({len(line) for line in lines[: len(found.rows) + 2]}) == 1  # aligned
    for text in ("75.0%", "nominal sparsity", "bytes", "convention li2017", "measured time", "2 images", "thread"):
        assert text in found.table()
    assert sparse.machine() in found.table()


def test_a_report_leaves_the_net_as_it_was():
    net = nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)), nn.BatchNorm(2))
    before = {name: array.copy() for name, array in net.named_buffers()}
    sparse.report(net, np.random.default_rng(1).random((3, 4)), rounds=1)
    assert net.training and net.layers[1].training
    for name, array in net.named_buffers():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("W", CASES)
def test_compiled_arrays_share_the_memory(W):
    csr, csc, bsr, _ = every_format(W)
    for ours, theirs, index in ((csr, csr.compiled(), csr.columns), (csc, csc.compiled(), csc.rows)):
        if ours.values.size:
            assert np.shares_memory(ours.values, theirs.data) and np.shares_memory(index, theirs.indices)
    if bsr.blocks.size:
        assert np.shares_memory(bsr.blocks, bsr.compiled().data)


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="expected a matrix"):
        sparse.CSR.of(np.zeros((2, 3, 4)))
    with pytest.raises(ValueError, match=r"tile a matrix \(6, 8\), got \(4, 4\)"):
        sparse.BSR.of(matrix(), (4, 4))
    with pytest.raises(ValueError, match="granularity of weight, vector, kernel, filter, got 'row'"):
        sparse.granularity_mask(np.zeros((2, 3, 4, 5)), "row", 0.5)
    with pytest.raises(ValueError, match=r"weight \(out, in, KH, KW\), got shape \(2, 3\)"):
        sparse.granularity_mask(np.zeros((2, 3)), "weight", 0.5)
    with pytest.raises(ValueError, match="at least one round"):
        sparse.report(nn.models.mlp((3, 2), np.random.default_rng(0)), np.zeros((3, 1)), rounds=0)
    with pytest.raises(ValueError, match="this net is an outline"):
        sparse.report(nn.models.lenet5(None), np.zeros((1, 28, 28, 1)))
    with pytest.raises(ValueError, match="weights that convention conv_only counts, got one without"):
        sparse.report(nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0))), np.zeros((3, 1)), "conv_only")
    with pytest.raises(ValueError, match="expected a convention of"):
        sparse.report(small_net(), np.zeros((1, 16, 16, 1)), "everything")


def test_two_blas_with_different_threads_are_named_with_the_larger_number(monkeypatch):
    def info(*threads):
        names = [("openblas", "Zen"), ("mkl", None), ("openblas", "Haswell")]
        return [{"user_api": "openmp", "internal_api": "openmp", "num_threads": 9}] + [
            {"user_api": "blas", "internal_api": name, "num_threads": n} | ({"architecture": kind} if kind else {})
            for (name, kind), n in zip(names, threads)
        ]

    for threads, expected in (
        ((2, 5), "mkl, openblas Zen, 5 threads"),
        ((5, 2, 3), "mkl, openblas Haswell, openblas Zen, 5 threads"),
        ((1, 1), "mkl, openblas Zen, 1 thread"),
        ((), ", 1 thread"),
    ):
        libraries = info(*threads)
        monkeypatch.setattr(sparse.savings.threadpoolctl, "threadpool_info", lambda found=libraries: found)
        assert sparse.machine() == expected


@pytest.mark.parametrize("block", [(1, 2), (2, 1), (1, 1), (6, 8), [3, 4], (np.int64(2), 4)])
def test_blocks_of_every_size_that_tiles_come_back_dense(block):
    W = matrix()
    stored = sparse.BSR.of(W, block)
    np.testing.assert_array_equal(stored.dense(), W)
    assert stored.blocks.shape[1:] == tuple(block)
    tiles = W.reshape(6 // block[0], block[0], 8 // block[1], block[1])
    assert len(stored.blocks) == np.any(tiles, axis=(1, 3)).sum()


@pytest.mark.parametrize("block", [(0, 2), (2, 0), (-1, 2), (2,), (2, 2, 2), 2, None, "22", (2.0, 2), (4, 8), (6, 3)])
def test_blocks_that_do_not_tile_are_one_sentence(block):
    with pytest.raises(ValueError, match=r"expected blocks \(r, c\) that tile a matrix \(6, 8\), got "):
        sparse.BSR.of(matrix(), block)


def test_what_is_no_array_and_no_net_is_one_sentence():
    W, array = matrix().tolist(), "expected an array of NumPy, CuPy or the array-API standard, got "
    for make in (sparse.CSR.of, sparse.CSC.of, sparse.Compact.of, lambda W: sparse.BSR.of(W, (2, 2))):
        for wrong in (W, None, 3):
            with pytest.raises(TypeError, match=array):
                make(wrong)
    for wrong in (W, None):
        with pytest.raises(TypeError, match=array):
            sparse.granularity_mask(wrong, "weight", 0.5)
    net, x = small_net(), np.zeros((1, 16, 16, 1))
    with pytest.raises(TypeError, match=array):
        sparse.report(net, x.tolist(), rounds=1)
    for wrong in (None, 3, [net]):
        with pytest.raises(TypeError, match=f"expected a net or the path of a checkpoint, got {type(wrong).__name__}"):
            sparse.report(wrong, x, rounds=1)
    for wrong in (0, -1, 1.5, 10_001, 2**63, None, "1"):
        with pytest.raises(ValueError, match=f"expected at least one round, at most 10000, got {wrong!r}"):
            sparse.report(net, x, rounds=wrong)
    with pytest.raises(ValueError, match=r"a granularity of .*, got \['weight'\]"):
        sparse.granularity_mask(np.zeros((2, 3, 4, 5)), ["weight"], 0.5)


def test_a_compact_product_takes_as_many_rows_as_there_are_columns():
    compact = sparse.Compact.of(matrix())
    with pytest.raises(TypeError, match="expected an array of NumPy, CuPy or the array-API standard, got list"):
        compact.product([1.0] * 8)
    assert compact.product(np.ones(8)).shape == compact.rows.shape
    for rows in (7, 9):
        with pytest.raises(
            ValueError, match=rf"expected 8 rows of X, as many as W has columns, got shape \({rows}, 2\)"
        ):
            compact.product(np.ones((rows, 2)))
