"""Layers and losses with one wrong line each, beside the right ones; what a verdict about them has to name."""

import math
from typing import Any, NamedTuple

import numpy as np

import nn


def rng():
    return np.random.default_rng(5)


class Doubled(nn.Linear):
    def backward_parameters(self, ga):
        super().backward_parameters(ga)
        self.W.grad = 2 * self.W.grad


class WrongSign(nn.Tanh):
    def backward(self, gy):
        return -super().backward(gy)


class NotTransposed(nn.Linear):
    def backward(self, ga):
        self.backward_parameters(ga)
        return self.W.data @ ga

    def backward_hessian(self, ga, ha):
        _, hx = super().backward_hessian(ga, ha)
        return self.W.data @ ga, hx


class FirstPatternOnly(nn.Linear):
    def backward_parameters(self, ga):
        super().backward_parameters(ga)
        self.b.grad = ga[:, 0]


class FirstDerivativeTwice(nn.Sigmoid):
    def d2f(self, a):
        return self.df(a)


class StaleInput(nn.Linear):
    first = None

    def forward(self, x):
        a = super().forward(x)
        if self.first is None:
            self.first = x
        self.x = self.first
        return a


class ClearsItsInput(nn.ReLU):
    def forward(self, a):
        y = super().forward(a)
        a[a < 0] = 0
        return y


class ClearsTheSignal(nn.ReLU):
    def backward(self, gy):
        gy *= self.df(self.a)
        return gy


class LeakyDtype(nn.Activation):
    """f(a) = sqrt(2/5) a^2, the constant a NumPy scalar."""

    c = np.sqrt(2 / 5)

    def f(self, a):
        return self.c * a * a

    def df(self, a):
        return 2 * self.c * a

    def d2f(self, a):
        return 2 * self.c + 0 * a


class KeepsDtype(LeakyDtype):
    c = math.sqrt(2 / 5)


class LeakyCurvature(KeepsDtype):
    def d2f(self, a):
        return np.full(a.shape, 2 * self.c)


class BatchMean(nn.Linear):
    def backward_parameters(self, ga):
        super().backward_parameters(ga)
        self.W.grad = self.W.grad / ga.shape[1]


class WeightNotSquared(nn.Linear):
    def backward_hessian(self, ga, ha):
        gx, _ = super().backward_hessian(ga, ha)
        return gx, self.W.data.T @ ha


class InputNotSquared(nn.Linear):
    def backward_hessian_parameters(self, ga, ha):
        super().backward_hessian_parameters(ga, ha)
        self.W.hess_diag = ha @ self.x.T


class NoSecondDerivativeTerm(nn.Tanh):
    def backward_hessian(self, gy, hy):
        df = self.df(self.a)
        return df * gy, df * df * hy


class NotChainedInTheHessianSweep(nn.Tanh):
    def backward_hessian(self, gy, hy):
        _, hx = super().backward_hessian(gy, hy)
        return gy, hx


class Accumulates(nn.Linear):
    def backward_parameters(self, ga):
        before = self.W.grad
        super().backward_parameters(ga)
        if before is not None:
            self.W.grad = before + self.W.grad


class Swapped(nn.BatchNorm):
    def backward_parameters(self, gy):
        super().backward_parameters(gy)
        self.gamma.grad, self.beta.grad = self.beta.grad, self.gamma.grad

    def backward(self, gy):
        gx = super().backward(gy)
        if self.training:  # the projections take the two from where they were
            super().backward_parameters(gy)
            right = nn.BatchNorm.backward_parameters
            self.backward_parameters = lambda g: right(self, g)
            gx = super().backward(gy)
            del self.backward_parameters
            self.gamma.grad, self.beta.grad = self.beta.grad, self.gamma.grad
        return gx


class Constants(nn.BatchNorm):
    """In train mode it takes mean and variance for constants."""

    def backward(self, gy):
        self.backward_parameters(gy)
        gx = self.scale()[:, None] * gy.reshape(self.centred.shape)
        return gx.reshape(self.shape)


class NoPadding(nn.Conv2d):
    def to_input(self, W, ga):
        C, H, W_, N = self.padded.shape
        (top, bottom), (left, right) = self.geometry.padding
        whole = np.zeros(self.padded.shape, ga.dtype)
        whole[:, top : H - bottom, left : W_ - right, :] = super().to_input(W, ga)
        return whole[:, : H - top - bottom, : W_ - left - right, :]


class Gather(nn.Module):
    """y = x[index], rows named more than once: a small im2col."""

    index = np.array([0, 1, 1, 2, 0, 1])

    def forward(self, x):
        self.shape = x.shape
        return x[self.index]

    def backward(self, gy):
        gx = np.zeros(self.shape, gy.dtype)
        np.add.at(gx, self.index, gy)
        return gx

    def backward_hessian(self, gy, hy):
        return self.backward(gy), self.backward(hy)


class GatherOnce(Gather):
    def backward(self, gy):
        gx = np.zeros(self.shape, gy.dtype)
        gx[self.index] += gy
        return gx


class NotDividedByN(nn.SquaredError):
    def backward(self):
        return 2 * (self.y - self.t)


class ProbabilityForHessian(nn.SoftmaxCrossEntropy):
    def backward_hessian(self):
        return self._target_sums() * self.p / self.p.shape[-1]


class NoProducts(nn.SoftmaxCrossEntropy):
    def hessian(self):
        return nn.backend.diagonal_matrices(self.backward_hessian())


class NoShortcut(nn.Residual):
    def backward(self, gy):
        return self.body.backward(gy)

    def backward_hessian(self, gy, hy):
        gx, hx = self.body.backward_hessian(gy, hy)
        return gx, hx + hy


class DrawsAgain(nn.Dropout):
    def backward(self, gy):
        if self.training:
            self.forward(gy)
        return gy * self.scale


class ForgetsTheScale(nn.Dropout):
    def backward(self, gy):
        return gy * (self.scale != 0) if self.training else gy

    def backward_hessian(self, gy, hy):
        _, hx = super().backward_hessian(gy, hy)
        return self.backward(gy), hx


class FillsNothing(nn.Linear):
    def backward_parameters(self, ga):
        pass

    def backward(self, ga):
        super().backward_parameters(ga)
        return self.W.data.T @ ga

    def backward_hessian_parameters(self, ga, ha):
        super().backward_parameters(ga)
        self.W.hess_diag = ha @ (self.x * self.x).T
        self.b.hess_diag = ha.sum(axis=1)


class ShareNotSquared(nn.AvgPool2d):
    def backward_hessian(self, gy, hy):
        return self.backward(gy), self.backward(hy)


class DiagonalForFull(nn.Linear):
    def backward_hessian_full(self, ga, Ha):
        gx, hx = self.backward_hessian(ga, nn.backend.diagonal(Ha))
        return gx, nn.backend.diagonal_matrices(hx)


class Blend(nn.Module):
    """y = sum_k c_k x^k of each number: parameters in a list, each a single number a row."""

    def __init__(self, D):
        self.c = [nn.Parameter(np.full(D, 0.5 + k)) for k in range(3)]

    def forward(self, x):
        self.x = x
        return sum(c.data[:, None] * x**k for k, c in enumerate(self.c))

    def backward(self, gy):
        for k, c in enumerate(self.c):
            c.grad = (gy * self.x**k).sum(axis=1)
        return gy * self.slope()

    def backward_hessian(self, gy, hy):
        for k, c in enumerate(self.c):
            c.hess_diag = (hy * self.x ** (2 * k)).sum(axis=1)
        slope = self.slope()
        return self.backward(gy), slope * slope * hy + 2 * self.c[2].data[:, None] * gy

    def slope(self):
        return self.c[1].data[:, None] + 2 * self.c[2].data[:, None] * self.x


class WrongPower(Blend):
    def backward(self, gy):
        gx = super().backward(gy)
        self.c[2].grad = (gy * self.x).sum(axis=1)
        return gx


class Absolute(nn.Activation):
    """f(a) = |a|, by a function that forgets the imaginary part."""

    def f(self, a):
        return np.abs(a)

    def df(self, a):
        return np.sign(a)

    def d2f(self, a):
        return 0 * a


class NoSlope(Absolute):
    """Its derivative agrees with what the complex step finds of an absolute value: nothing."""

    def df(self, a):
        return 0 * a


class Noisy(nn.Module):
    """y = x times noise of a generator that the layer does not hold."""

    draws = np.random.default_rng(3)

    def forward(self, x):
        self.scale = self.draws.standard_normal(x.shape).astype(x.real.dtype)
        return x * self.scale

    def backward(self, gy):
        return gy * self.scale

    def backward_hessian(self, gy, hy):
        return gy * self.scale, hy * self.scale**2


class HeldNoise(Noisy):
    def __init__(self):
        self.draws = np.random.default_rng(3)


class NoiseInAList(nn.Module):
    """y = x times noise of a generator in a list, in train mode."""

    def __init__(self):
        self.sources = [np.random.default_rng(1)]

    def forward(self, x):
        self.scale = 1.0
        if self.training:
            self.scale = self.sources[0].standard_normal(x.shape).astype(x.real.dtype)
        return x * self.scale

    def backward(self, gy):
        return gy * self.scale

    def backward_hessian(self, gy, hy):
        return gy * self.scale, hy * self.scale * self.scale


class NoiseNotSquared(NoiseInAList):
    def backward_hessian(self, gy, hy):
        return gy * self.scale, hy * self.scale


class LayerNorm(nn.Module):
    """y = gamma (x - mean) / deviation of every pattern, without second derivatives."""

    def __init__(self, D):
        self.gamma2 = nn.Parameter(np.linspace(0.5, 2.0, D))

    def forward(self, x):
        centred = x - x.mean(axis=0, keepdims=True)
        self.deviation = ((centred * centred).mean(axis=0, keepdims=True) + 1e-5) ** 0.5
        self.h = centred / self.deviation
        return self.gamma2.data[:, None] * self.h

    def backward(self, gy):
        self.gamma2.grad = (gy * self.h).sum(axis=1)
        gh = gy * self.gamma2.data[:, None]
        projected = self.h * (gh * self.h).mean(axis=0, keepdims=True)
        return (gh - gh.mean(axis=0, keepdims=True) - self.projection * projected) / self.deviation

    projection = 1


class ConstantDeviation(LayerNorm):
    projection = 0


class TwoMaps(nn.Module):
    """Two affine maps with a tanh between them in one layer, which drops terms and says so, or does not."""

    exact_diagonal = False

    def __init__(self):
        self.one, self.act, self.heads = linear(nn.Linear), nn.Tanh(), {"left": linear(nn.Linear, 5, 2)}

    def layers(self):
        return self.one, self.act, self.heads["left"]

    def forward(self, x):
        for layer in self.layers():
            x = layer.forward(x)
        return x

    def backward(self, gy):
        for layer in reversed(self.layers()):
            gy = layer.backward(gy)
        return gy

    def backward_hessian(self, gy, hy):
        for layer in reversed(self.layers()):
            gy, hy = layer.backward_hessian(gy, hy)
        return gy, hy


class DropsWithoutAWord(TwoMaps):
    exact_diagonal = True


class WeightsChange(nn.Linear):
    def backward(self, ga):
        gx = super().backward(ga)
        self.b.data *= 0.5
        return gx


class NegatedBody(nn.Sequential):
    """A container whose sweep of both derivatives loses the sign of one."""

    def backward_hessian(self, gy, hy):
        gx, hx = super().backward_hessian(gy, hy)
        return -gx, hx


def linear(kind, n_in=3, n_out=5):
    layer = kind(n_in, n_out, rng())
    layer.b.data = rng().standard_normal(n_out)
    return layer


def norm(kind):
    layer = kind(3)
    layer.gamma.data = np.array([0.5, -1.5, 2.0])
    layer.running_variance = np.array([0.5, 2.0, 1.5])
    return layer


class Planted(NamedTuple):
    name: str
    wrong: Any
    right: Any
    x: Any
    names: set  # of the lines that fail, all of them
    t: Any = None


T = rng().standard_normal((5, 4))
LABELS = np.array([0, 2, 1, 2])
D, N = (3, 4), (5, 4)


def planted(wrong, right, x, *names, t=None):
    """A bug, with instances or functions of the class that give one."""
    return Planted(type(wrong).__name__, wrong, right, x, set(names), t)


def stack(activation):
    return nn.Sequential(linear(nn.Linear), activation, linear(nn.Linear, 5, 2))


RIGHT = linear(nn.Linear)
BUGS = [
    planted(linear(Doubled), RIGHT, D, "dE/dW"),
    planted(WrongSign(), nn.Tanh(), D, "dE/dx"),
    planted(linear(NotTransposed, 3, 3), linear(nn.Linear, 3, 3), D, "dE/dx"),
    planted(linear(FirstPatternOnly), RIGHT, D, "dE/db"),
    planted(FirstDerivativeTwice(), nn.Sigmoid(), D, "d2E/dx2", "d2E/dx2, full"),
    planted(linear(StaleInput), RIGHT, D, "dE/dW", "d2E/dW2", "d2E/dW2, full"),
    planted(ClearsItsInput(), nn.ReLU(), D, "x"),
    planted(ClearsTheSignal(), nn.ReLU(), D, "dE/dy"),
    planted(LeakyDtype(), KeepsDtype(), D, "y", "dE/dx", "d2E/dx2"),
    planted(LeakyCurvature(), KeepsDtype(), D, "d2E/dx2"),
    planted(linear(BatchMean), RIGHT, D, "dE/dW"),
    planted(linear(WeightNotSquared), RIGHT, D, "d2E/dx2"),
    planted(linear(InputNotSquared), RIGHT, D, "d2E/dW2", "d2E/dW2, full"),
    planted(NoSecondDerivativeTerm(), nn.Tanh(), D, "d2E/dx2"),
    planted(NotChainedInTheHessianSweep(), nn.Tanh(), D, "dE/dx"),
    planted(linear(Accumulates), RIGHT, D, "dE/dW"),
    planted(norm(Swapped), norm(nn.BatchNorm), (3, 2, 5, 4), "dE/dgamma", "dE/dbeta"),
    planted(norm(Constants), norm(nn.BatchNorm), (3, 7), "dE/dx"),
    planted(
        NoPadding(2, 3, 3, rng(), padding=1), nn.Conv2d(2, 3, 3, rng(), padding=1), (2, 4, 5, 2), "dE/dx", "d2E/dx2"
    ),
    planted(GatherOnce(), Gather(), D, "dE/dx", "d2E/dx2"),
    planted(NotDividedByN(), nn.SquaredError(), N, "dE/dy", t=T),
    planted(ProbabilityForHessian(), nn.SoftmaxCrossEntropy(), D, "d2E/dy2", t=LABELS),
    planted(NoProducts(), nn.SoftmaxCrossEntropy(), D, "d2E/dy2, hessian", t=LABELS),
    planted(NoShortcut(nn.Tanh()), nn.Residual(nn.Tanh()), D, "dE/dx"),
    planted(DrawsAgain(0.4, rng()), nn.Dropout(0.4, rng()), N, "dE/dx", "d2E/dx2"),
    planted(ForgetsTheScale(0.4, rng()), nn.Dropout(0.4, rng()), N, "dE/dx"),
    planted(linear(FillsNothing), RIGHT, D, "dE/dW", "dE/db"),
    planted(ShareNotSquared(2), nn.AvgPool2d(2), (2, 4, 6, 3), "d2E/dx2"),
    planted(linear(DiagonalForFull), RIGHT, D, "d2E/dx2, full"),
    planted(WrongPower(3), Blend(3), D, "dE/d(c.2)"),
    planted(NoSlope(), Absolute(), D, "dE/dx", "d2E/dx2", "d2E/dx2, full"),
    planted(Noisy(), HeldNoise(), D, "y", "dE/dx", "d2E/dx2"),
    planted(stack(NoSecondDerivativeTerm()), stack(nn.Tanh()), D, "d2E/d(1.x)2"),
    planted(NoiseNotSquared(), NoiseInAList(), D, "d2E/dx2"),
    planted(ConstantDeviation(3), LayerNorm(3), D, "dE/dx"),
    planted(DropsWithoutAWord(), TwoMaps(), D, "d2E/dx2"),
    planted(linear(WeightsChange), RIGHT, D, "b"),
    planted(NegatedBody(nn.Tanh()), nn.Sequential(nn.Tanh()), D, "dE/dx"),
]
