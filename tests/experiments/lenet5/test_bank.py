"""The bank: its images, its logits, and files that are none."""

import numpy as np
import pytest

import nn
from nn.data.augment import affine
from pruning.experiments import lenet_record, setup
from pruning.experiments.lenet5 import bank

SHAPE = (1, 28, 28)


def test_a_bank_has_the_images_first_and_the_teachers_logits(folder, tiny):
    spec = tiny(lenet_record, "whole 2750", "groups")
    copies = bank.bank(spec["teacher"], None, folder)
    (x, t), _ = setup.parts(spec["dense"], None)
    assert copies.images.shape == (3, 40, 784) and copies.images.dtype == np.uint8
    assert np.max(np.abs(copies.images[0].T.reshape(*SHAPE, 40) / 255 - x)) <= 0.5 / 255 + 1e-6
    assert not (copies.images[1] == copies.images[0]).all()
    nets = [bank.teacher(spec["teacher"], None, folder), setup.dense_net(spec["dense"], None, False, folder)[0]]
    pixels = (copies.images[1].T.reshape(*SHAPE, 40) / np.float32(255)).astype(np.float32)
    logits = 2 / 3 * nets[0].forward(pixels) + 1 / 3 * nets[1].forward(pixels)
    assert np.max(np.abs(copies.logits[1] - logits)) < 0.01
    drawn, (labels, taught) = copies.draw(np.random.default_rng(0))
    chosen = np.random.default_rng(0).integers(0, 3, 40)
    for n in range(40):
        assert (np.rint(255 * drawn[..., n]).reshape(-1) == copies.images[chosen[n], n]).all()
        assert (taught[:, n] == copies.logits[chosen[n], :, n]).all()
    assert (labels == t).all()


def test_the_copies_are_the_warped_images_and_the_logits_those_of_their_bytes(monkeypatch, tiny):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    (x, _), _ = setup.parts(spec["dense"], None)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(784, 10, np.random.default_rng(0), dtype=np.float32)) for _ in "ab"]
    for first, net in zip((300, 500), nets):  # logit k is pixel 300 + k, pixel 500 + k
        net.layers[1].W.data = np.eye(10, 784, first, dtype=np.float32)
    monkeypatch.setattr(bank, "teacher", lambda *given: nets[0])
    monkeypatch.setattr(setup, "dense_net", lambda *given: (nets[1], {}))
    copies = bank.bank(spec, None, None)
    rng = np.random.default_rng([0, 2])
    for number in range(3):
        warped = affine(x, rng, rotation=8.0, scale=0.08, shear=0.08, shift=1.2) if number else x
        np.testing.assert_array_equal(copies.images[number], np.rint(255 * warped).astype(np.uint8).reshape(784, 40).T)
    pixels = copies.images.astype(float) / 255
    logits = 2 / 3 * pixels[..., 300:310] + 1 / 3 * pixels[..., 500:510]
    # Half a unit of float16, and float32's rounding; the images before they are rounded are up to 1/510 away.
    np.testing.assert_allclose(copies.logits.transpose(0, 2, 1), logits, rtol=2.0**-11 * 1.001, atol=1e-7)


def test_the_teacher_sees_affine_copies_along_a_cosine(monkeypatch, tiny):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    ranges = {"rotation": 3.0, "scale": 0.02, "shear": 0.03, "shift": 1.0}
    spec = {**spec, "teacher": {"epochs": 2, "affine": ranges}}
    seen, runs, run = [], [], nn.training.train
    monkeypatch.setattr(
        bank, "affine", lambda x, rng, **given: seen.append((x.shape[-1], given)) or affine(x, rng, **given)
    )
    monkeypatch.setattr(nn.training, "train", lambda *given, **named: runs.append(run(*given, **named)))
    bank.teacher(spec, None, None)
    assert seen == 4 * [(20, ranges)]  # two epochs of two batches
    (history,) = runs
    np.testing.assert_allclose([epoch["learning_rate"] for epoch in history], [0.05, 0.025], rtol=1e-15)


def test_a_bank_of_other_images_is_refused(tmp_path, tiny):
    spec = tiny(lenet_record, "whole 2750", "groups")["teacher"]
    path = tmp_path / f"bank-{setup.digest(spec)}.npz"
    np.savez(path, images=np.zeros((3, 7, 784)), logits=np.zeros((3, 10, 7)))
    with pytest.raises(ValueError, match=r"holds \(3, 7\) copies and images, expected \(3, 40\); move the file away"):
        bank.bank(spec, None, tmp_path)
    np.savez(path, images=np.zeros((3, 40, 784), np.uint8), logits=np.zeros((3, 10, 40)))
    with pytest.raises(ValueError, match=r"is the bank of other images; move the file away"):
        bank.bank(spec, None, tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole.replace(b"logits", b"digits")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bank-\w+\.npz is no bank that can be read .*; move the file away"):
            bank.bank(spec, None, tmp_path)
