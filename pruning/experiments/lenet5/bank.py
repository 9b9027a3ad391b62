"""A bank of augmented training images with a teacher's logits, built once: students pay neither warp nor teacher.

The teachers are two dense nets, one trained on the images as they are and one on affine copies of them.  Of every
training image the bank has the image itself and some affine copies, as bytes, each with the mean of the two nets'
logits.  A student draws one of the copies of every image in each epoch.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import Array
from nn.data.augment import affine
from nn.files import replacing
from nn.module import Module
from pruning.experiments import setup
from pruning.experiments.setup import digest

# The teacher that sees affine copies, and the copies in the bank, which are milder.  Nothing here was tuned.
TEACHER = {"epochs": 16, "affine": {"rotation": 10.0, "scale": 0.1, "shear": 0.1, "shift": 2.0}}
COPIES = {"number": 6, "affine": {"rotation": 8.0, "scale": 0.08, "shear": 0.08, "shift": 1.2}}
DISTILLATION = {"temperature": 3.0, "alpha": 0.8}
# Weights of the affine teacher and the plain one in the logits of the bank.
SHARES = [2 / 3, 1 / 3]
CHUNK = 5000


@dataclass(frozen=True)
class Bank:
    """images (copies, N, pixels) of bytes, the first copy as it was; logits (copies, K, N); t (N,) labels."""

    images: np.ndarray
    logits: np.ndarray
    t: np.ndarray
    shape: tuple[int, int, int]

    def draw(self, rng: np.random.Generator) -> tuple[Array, tuple[Array, Array]]:
        """Return x (C, H, W, N) in [0, 1], and the pair (t, logits (K, N)): one random copy of every image."""
        copies, N, _ = self.images.shape
        chosen = rng.integers(0, copies, N)
        x = self.images[chosen, np.arange(N)].T.astype(np.float32, order="C") / np.float32(255)
        logits = self.logits[chosen, :, np.arange(N)].T.astype(np.float32, order="C")
        return x.reshape(*self.shape, N), (self.t, logits)


def spec(dense: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a bank is made of, given the specification of the plain teacher."""
    return {"dense": dict(dense), "teacher": TEACHER, "copies": COPIES, "shares": SHARES, "distillation": DISTILLATION}


def bank(spec: Mapping[str, Any], root: str | None, folder: Path | None, progress: bool = False) -> Bank:
    """Return the bank, from its file in `folder` if there is one; it is built and written otherwise.

    Raises
    ------
    ValueError
        If the file is not the bank of these images.
    """
    (x, t), _ = setup.parts(spec["dense"], root)
    shape, N = x.shape[:-1], x.shape[-1]
    path = None if folder is None else folder / f"bank-{digest(spec)}.npz"
    if path is not None and path.exists():
        return Bank(*_read(path, 1 + spec["copies"]["number"], x), t, shape)
    net = mean_of(spec, root, folder, progress)
    images, logits = [], []
    rng = np.random.default_rng([spec["dense"]["seed"], 2])
    for copy in tqdm(range(1 + spec["copies"]["number"]), disable=not progress, unit="copy", desc="bank"):
        chunks = [x[..., k : k + CHUNK] for k in range(0, N, CHUNK)]
        warped = chunks if copy == 0 else [affine(chunk, rng, **spec["copies"]["affine"]) for chunk in chunks]
        pixels = [_bytes(chunk) for chunk in warped]
        images.append(np.concatenate([_rows(chunk) for chunk in pixels]))
        logits.append(np.concatenate([_logits(net, chunk) for chunk in pixels], axis=1))
    built = Bank(np.stack(images), np.stack(logits).astype(np.float16), t, shape)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, images=built.images, logits=built.logits)
    return built


def _read(path: Path, copies: int, x: Array) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            images, logits = file["images"], file["logits"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no bank that can be read ({error}); move the file away") from None
    N = x.shape[-1]
    if images.shape != (copies, N, x[..., 0].size) or logits.shape[::2] != (copies, N):
        raise ValueError(
            f"{path} holds {images.shape[:2]} copies and images, expected {(copies, N)}; move the file away"
        )
    if not np.array_equal(images[0], _rows(_bytes(x))):
        raise ValueError(f"{path} is the bank of other images; move the file away")
    return images, logits


def _bytes(x: Array) -> np.ndarray:
    pixels: np.ndarray = np.rint(255 * x).astype(np.uint8)
    return pixels


def _rows(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(-1, pixels.shape[-1]).T


def _logits(net: Module, pixels: np.ndarray) -> np.ndarray:
    # Of the bytes, so that the teacher has seen what the student sees.
    x = pixels.astype(np.float32) / np.float32(255)
    batches = [x[..., k : k + 500] for k in range(0, x.shape[-1], 500)]
    return np.concatenate([net.forward(b) for b in batches], axis=1)


class _Mean(Module):
    """The weighted mean of the outputs of several nets."""

    def __init__(self, nets: list[Module], shares: list[float]):
        self.nets, self.shares = nets, shares

    def forward(self, x: Array) -> Array:
        y: Array = sum(share * net.forward(x) for share, net in zip(self.shares, self.nets))
        return y


def mean_of(spec: Mapping[str, Any], root: str | None, folder: Path | None, progress: bool = False) -> Module:
    """Return the teacher whose logits the bank holds: the weighted mean of the two nets' logits."""
    of_copies = teacher(spec, root, folder, progress)
    return _Mean([of_copies, setup.dense_net(spec["dense"], root, progress, folder)[0]], spec["shares"])


def teacher(spec: Mapping[str, Any], root: str | None, folder: Path | None, progress: bool = False) -> Module:
    """Return the dense net trained on affine copies, drawn anew for every batch, or its checkpoint."""
    dense, recipe = spec["dense"], spec["teacher"]
    (x, t), _ = setup.parts(dense, root)
    rng = np.random.default_rng([dense["seed"], 1])
    net = setup.MODELS[dense["model"]](rng, dtype=np.float32)
    settings = {name: dense[name] for name in ("learning_rate", "momentum", "weight_decay")}
    nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        nn.SGD(net.parameters(), **settings, nesterov=True),
        x,
        t,
        epochs=recipe["epochs"],
        batch_size=dense["batch_size"],
        rng=rng,
        schedule=nn.cosine_decay(dense["learning_rate"], recipe["epochs"]),
        augment=partial(affine, **recipe["affine"]),
        checkpoint_path=None if folder is None else folder / f"teacher-{digest([dense, recipe])}.npz",
        checkpoint_every=100,
        progress=progress,
    )
    net.eval()
    return net
