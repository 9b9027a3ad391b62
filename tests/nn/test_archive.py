"""Reading files that say anything: every odd one ends in one ValueError, before memory is taken."""

import contextlib
import io
import json
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest

import nn
from nn import checkpoint


def small_net():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Conv2d(1, 3, 2, rng), nn.BatchNorm(3), nn.Flatten(), nn.Linear(12, 2, rng))


@contextlib.contextmanager
def little_memory():
    """At most 8 MB, whatever the file says; what NumPy sets to zero only when it is touched counts, too."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, content, compression=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, raw in [*content.items(), *extra]:
            archive.writestr(name, raw)


def npy(header, body=b""):
    raw = header.encode() + b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + body


def described(shape, dtype="<f8"):
    return f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"


def text(string):
    file = io.BytesIO()
    np.save(file, np.array(string))
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (
            npy(described("(1000000000000,)")),
            r"0\.W\.npy of float64 \(1000000000000,\) does not fit its \d+ bytes",
        ),
        (npy(described("(-2, -3)"), bytes(48)), ""),
        (npy(described("(3,)"), bytes(25)), "does not fit"),
        (npy(described("(3,)", "|O"), bytes(24)), "does not fit"),
        (npy("{'descr': '<f8', "), ""),
        (npy("[" * 2000), ""),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,) }\\"), ""),
        (npy("(" + "9" * 5000 + ")"), ""),
        (npy("'''"), ""),
        (b"\x93NUMPY\x03\x00" + bytes(10), ""),
        (b"", ""),
        (b"no array", ""),
    ],
)
def test_an_array_that_claims_what_it_has_not_is_refused(tmp_path, raw, why):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    packed(path, members(path) | {"data/0.W.npy": raw})
    sentence = f"net.npz is no checkpoint of this project, or is damaged .*{why}"
    with little_memory(), pytest.raises(ValueError, match=sentence):
        checkpoint.load(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_refused_whatever_they_unfold_to(tmp_path, compression):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    packed(path, members(path) | {"data/9.W.npy": npy(described("(4000000,)"), bytes(32_000_000))}, compression)
    with little_memory(), pytest.raises(ValueError, match=r"damaged \(it has compressed members\)"):
        checkpoint.load(path)


@pytest.mark.parametrize("name", ["data/0.W.npy", "data/0.W"])
def test_a_member_that_stands_twice_is_refused(tmp_path, name):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    content = members(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile's own
        packed(path, content, extra=[(name, content["data/0.W.npy"])])
    with pytest.raises(ValueError, match=r"damaged \(it has two members of one name\)"):
        checkpoint.load(path)


def test_sizes_that_the_directory_makes_up_are_refused(tmp_path):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    packed(path, members(path) | {"data/9.W.npy": (array := npy(described("(400000000,)")))})
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"data/9.W.npy") - 46  # its entry in the directory
    raw[at + 20 : at + 28] = 2 * (len(array) + 3_200_000_000).to_bytes(4, "little")
    path.write_bytes(bytes(raw))
    with little_memory(), pytest.raises(ValueError, match=r"damaged \(its members are larger than the file\)"):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "header", ["[" * 100_000, "[]", "3", "", '{"format": ', "{" * 5000, '{"a": ' * 50_000 + "1" + "}" * 50_000]
)
def test_a_header_that_is_no_table_is_refused(tmp_path, header):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    packed(path, members(path) | {"header.npy": text(header)})
    with pytest.raises(ValueError, match="is no checkpoint of this project, or is damaged"):
        checkpoint.load(path)


def deep(levels):
    found = {"class": "Flatten", "arguments": {}, "children": []}
    for _ in range(levels):
        found = {"class": "Sequential", "arguments": {}, "children": [found]}
    return found


def layer(name, **arguments):
    return {"class": name, "arguments": arguments, "children": []}


CONV = {"c_in": 1, "c_out": 3, "kernel": [2, 2], "rng": None}


@pytest.mark.parametrize(
    ("description", "why"),
    [
        (layer("BatchNorm", channels=10**9), "describes a BatchNorm with the number 1000000000, more than the file"),
        (layer("BatchNorm", channels=2**70), "more than the file"),
        (layer("ZeroPadShortcut", new_channels=10**9), "more than the file"),
        (layer("Conv2d", **CONV, bias_map=[30000, 30000]), "a Conv2d with the number 2700000000, more than the file"),
        (layer("Linear", n_in=10**9, n_out=10**9, rng=None), "more than the file"),
        (layer("Conv2d", **{**CONV, "kernel": [10**9, 1]}), "more than the file"),
        (layer("BatchNorm", channels=-3), "describes no net that can be built"),
        (layer("BatchNorm", channels="3"), "describes no net that can be built"),
        (layer("BatchNorm", channels=3, eps=None), "describes no net that can be built"),
        (layer("Conv2d", **CONV, groups=0), "describes no net that can be built"),
        (layer("Conv2d", **CONV, bias_map=[1e300, 2]), "describes no net that can be built"),
        (layer("Linear", n_in=2, n_out=2, rng=None, dtype="object"), "describes no net that can be built"),
        (layer("Module"), "names the layer 'Module'"),
        (layer("Optimizer"), "names the layer 'Optimizer'"),
        (layer("os.system"), "names the layer 'os.system', expected one of"),
        (layer(None), "names the layer None"),
        ([], "describes no net that can be built"),
        (deep(150), "more than 100 deep"),
        (deep(330), "more than 100 deep"),
        (deep(450), ""),  # deeper than JSON is read
    ],
)
def test_a_description_of_something_else_is_refused_at_once(tmp_path, description, why):
    path = tmp_path / "net.npz"
    checkpoint.save(path, small_net())
    content = members(path)
    header = json.loads(str(np.load(io.BytesIO(content["header.npy"]))))
    packed(path, content | {"header.npy": text(json.dumps(header | {"architecture": description}))})
    with little_memory(), pytest.raises(ValueError, match=f"net.npz .*{why}"):
        checkpoint.load(path)


def test_no_damage_gives_another_net_without_a_word(tmp_path):
    """Bytes changed, cut out and doubled at random: the same net or one ValueError."""
    path, net, rng = tmp_path / "net.npz", small_net(), np.random.default_rng(0)
    checkpoint.save(path, net)
    whole, expected = path.read_bytes(), nn.gradcheck.flat(net)
    refused = 0
    for trial in range(300):
        raw = bytearray(whole)
        at, size = int(rng.integers(len(raw))), int(rng.integers(1, 20))
        if trial % 3 == 0:
            raw[at : at + size] = rng.integers(0, 256, len(raw[at : at + size]), dtype=np.uint8).tobytes()
        elif trial % 3 == 1:
            del raw[at : at + size]
        else:
            raw[at:at] = raw[at : at + size]
        path.write_bytes(bytes(raw))
        try:
            np.testing.assert_array_equal(nn.gradcheck.flat(checkpoint.load(path)), expected)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 200
