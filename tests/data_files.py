"""Small files in the formats of the data sets, and two sets of them: "tiny", and CIFAR-10 with two images a file."""

import gzip
import io
import struct
import tarfile

import numpy as np

from nn.data.sources import DATA_SETS


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


IMAGES = np.arange(4 * 3 * 5).reshape(4, 3, 5)
LABELS = np.array([3, 0, 9, 1])
CIFAR_IMAGES = np.random.default_rng(1).integers(0, 256, (6, 2, 3, 32, 32), dtype=np.uint8)  # six files of two
CIFAR_LABELS = np.array([[6, 9], [9, 4], [1, 1], [2, 7], [8, 3], [0, 5]])


def cifar(images, labels):
    return b"".join(bytes([label]) + image.tobytes() for image, label in zip(images, labels))


def tar(*members, **attributes):
    """A tar archive of (name, content); the attributes are those of every header."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            for attribute, value in attributes.items():
                setattr(header, attribute, value)
            archive.addfile(header, io.BytesIO(content))
    return sink.getvalue()


RNG = np.random.default_rng(0)
TINY_IMAGES = RNG.integers(0, 256, (7, 60, 50))  # noise: its .gz is as long, 21 KB, so that half of it is something
TINY_LABELS = RNG.integers(0, 10, 7)
TINY = {"images.gz": idx(TINY_IMAGES), "labels.gz": idx(TINY_LABELS)}
PACKED = {name: gzip.compress(content, mtime=0) for name, content in TINY.items()}


def put(folder, packed=True, contents=TINY):
    (folder / "tiny").mkdir(parents=True)
    for name, content in contents.items():
        path = folder / "tiny" / (name if packed else name.removesuffix(".gz"))
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


CIFAR_FILES = {
    file.name: cifar(images, labels)
    for file, images, labels in zip(DATA_SETS["cifar10"].files, CIFAR_IMAGES, CIFAR_LABELS, strict=True)
}
CIFAR_ARCHIVE = "cifar-10-binary.tar.gz"
# In an order of its own and with other files, as the official one.
CIFAR_MEMBERS = [("cifar-10-batches-bin/batches.meta.txt", b"airplane\n"), *reversed(CIFAR_FILES.items())]


def put_cifar(root, contents=CIFAR_FILES, pack=bytes, suffix=""):
    for name, content in contents.items():
        path = root / "cifar10" / (name + suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(content))
    return root


def put_archive(root, *members):
    return put_cifar(root, {CIFAR_ARCHIVE: gzip.compress(tar(*members))})


def assert_is_tiny_cifar(data, dtype=np.float64):
    (x, t), (x_test, t_test) = data.train, data.test
    assert x.dtype == x_test.dtype == dtype
    assert x.flags.c_contiguous and x_test.flags.c_contiguous
    assert np.array_equal(x, np.moveaxis(CIFAR_IMAGES[:5].reshape(10, 3, 32, 32), 0, -1) / dtype(255))
    assert np.array_equal(x_test, np.moveaxis(CIFAR_IMAGES[5], 0, -1) / dtype(255))
    assert t.dtype == t_test.dtype == np.int64
    assert (t.tolist(), t_test.tolist()) == ([6, 9, 9, 4, 1, 1, 2, 7, 8, 3], [0, 5])


BATCH_3 = "cifar-10-batches-bin/data_batch_3.bin"
CHANGED = CIFAR_FILES[BATCH_3][:-1] + b"\x00"


def names(folder):
    return sorted(path.name for path in folder.iterdir())
