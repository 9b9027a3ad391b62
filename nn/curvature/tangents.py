"""The R-operator of all layers: R{z} = d/de z(x + e R{x}, u + e v) at e = 0, by the product rule, line by line.

Pearlmutter, "Fast exact multiplication by the Hessian", 1994.  ``ahead`` is the derivative of ``forward``, ``back``
that of ``backward``, ``fill`` that of ``backward_parameters``.
"""

from collections.abc import Mapping
from functools import singledispatchmethod

from nn.activations import Activation
from nn.backend import Array, get_array_module, sum_rows
from nn.batchnorm import BatchNorm, Dropout, dot_rows
from nn.branches import Select, ZeroPadShortcut
from nn.conv import Conv2d
from nn.gates import Gate
from nn.linear import Flatten, Linear
from nn.module import Module, Parameter
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling
from nn.scale import Scale
from nn.sweeps import Signal, Sweep


class Tangents(Sweep):
    """Takes R{x} ahead to R{y}, and (dE/dy, R{dE/dy}) back to (dE/dx, R{dE/dx}).

    Parameters
    ----------
    v : {Parameter: direction}, for every parameter of the net.

    Attributes
    ----------
    Hv : {Parameter: R{dE/du}}, the product of the Hessian with v, after the sweep back.
    rx : {layer: R{x}}, or what the layer's sweep back needs of it.
    """

    what = "Hessian-vector products"

    def __init__(self, v: Mapping[Parameter, Array]):
        self.v = v
        self.Hv: dict[Parameter, Array] = {}
        self.rx: dict[Module, Array] = {}

    @singledispatchmethod
    def ahead(self, layer: Module, rx: Array) -> Array:
        """R{x} -> R{y}."""
        raise self.unknown(layer)

    @singledispatchmethod
    def fill(self, layer: Module, gy: Array, rgy: Array) -> None:
        """R{dE/dy} -> R{dE/du}; a layer without parameters has nothing to fill."""
        if layer.parameters():
            raise self.unknown(layer)

    @singledispatchmethod
    def back(self, layer: Module, gy: Array, rgy: Array) -> Signal:
        """R{dE/dy} -> R{dE/dx}, beside dE/dy -> dE/dx."""
        raise self.unknown(layer)

    # Linear: a = W x + b

    @ahead.register
    def ahead_linear(self, layer: Linear, rx: Array) -> Array:
        """R{a} = W R{x} + V x + v_b, with the directions V and v_b of W and b."""
        self.rx[layer] = rx
        ra = layer.W.data @ rx + self.v[layer.W] @ layer.x
        return ra if layer.b is None else ra + self.v[layer.b][:, None]

    @fill.register
    def fill_linear(self, layer: Linear, ga: Array, rga: Array) -> None:
        """R{dE/dW} = R{dE/da} x^T + dE/da R{x}^T, the product rule on ga x^T."""
        self.Hv[layer.W] = rga @ layer.x.T + ga @ self.rx[layer].T
        if layer.b is not None:
            self.Hv[layer.b] = sum_rows(rga)

    @back.register
    def back_linear(self, layer: Linear, ga: Array, rga: Array) -> Signal:
        """R{dE/dx} = W^T R{dE/da} + V^T dE/da."""
        return layer.W.data.T @ ga, layer.W.data.T @ rga + self.v[layer.W].T @ ga

    # Conv2d: a = W cols + b

    @ahead.register
    def ahead_conv(self, layer: Conv2d, rx: Array) -> Array:
        """R{a} = W R{cols} + V cols + v_b."""
        self.rx[layer] = layer.geometry.pad(rx)
        vb = None if layer.b is None else self.v[layer.b]
        return layer.product(layer.W.data, self.rx[layer], None) + layer.product(self.v[layer.W], layer.padded, vb)

    @fill.register
    def fill_conv(self, layer: Conv2d, ga: Array, rga: Array) -> None:
        """R{dE/dW} = R{dE/da} cols^T + dE/da R{cols}^T."""
        self.Hv[layer.W] = layer.to_weights(rga, layer.padded) + layer.to_weights(ga, self.rx[layer])
        if layer.b is not None:
            self.Hv[layer.b] = sum_rows(rga)

    @back.register
    def back_conv(self, layer: Conv2d, ga: Array, rga: Array) -> Signal:
        """R{dE/dx} = col2im(W^T R{dE/da} + V^T dE/da)."""
        rgx = layer.to_input(layer.W.data, rga) + layer.to_input(self.v[layer.W], ga)
        return layer.to_input(layer.W.data, ga), rgx

    # Activations: y = f(a)

    @ahead.register
    def ahead_activation(self, layer: Activation, ra: Array) -> Array:
        """R{y} = f'(a) R{a}."""
        self.rx[layer] = ra
        return layer.df(layer.a) * ra

    @back.register
    def back_activation(self, layer: Activation, gy: Array, rgy: Array) -> Signal:
        """R{dE/da} = f'(a) R{dE/dy} + f''(a) R{a} dE/dy, the product rule on f'(a) dE/dy."""
        df = layer.df(layer.a)
        return df * gy, df * rgy + layer.d2f(layer.a) * self.rx[layer] * gy

    # Batch norm in eval mode: y = scale (x - mean) + beta, scale = gamma / deviation

    @ahead.register
    def ahead_batchnorm(self, layer: BatchNorm, rx: Array) -> Array:
        """R{y} = scale R{x} + R{scale} (x - mean) + v_beta, with R{scale} = v_gamma / deviation."""
        layer.check_eval()
        xp, rscale = get_array_module(rx), self.v[layer.gamma] / layer.deviation
        self.rx[layer] = xp.reshape(rx, layer.centred.shape)
        ry = layer.scale()[:, None] * self.rx[layer] + rscale[:, None] * layer.centred + self.v[layer.beta][:, None]
        return xp.reshape(ry, rx.shape)

    @fill.register
    def fill_batchnorm(self, layer: BatchNorm, gy: Array, rgy: Array) -> None:
        """R{dE/dgamma} = (R{dE/dy} (x - mean)^T + dE/dy R{x}^T) / deviation, row by row."""
        xp, rows = get_array_module(gy), layer.centred.shape
        g, rg = xp.reshape(gy, rows), xp.reshape(rgy, rows)
        self.Hv[layer.gamma] = (dot_rows(rg, layer.centred) + dot_rows(g, self.rx[layer])) / layer.deviation
        self.Hv[layer.beta] = sum_rows(rg)

    @back.register
    def back_batchnorm(self, layer: BatchNorm, gy: Array, rgy: Array) -> Signal:
        """R{dE/dx} = scale R{dE/dy} + R{scale} dE/dy."""
        layer.check_eval()
        xp, rows = get_array_module(gy), layer.centred.shape
        g, rg = xp.reshape(gy, rows), xp.reshape(rgy, rows)
        scale, rscale = layer.scale()[:, None], (self.v[layer.gamma] / layer.deviation)[:, None]
        return xp.reshape(scale * g, gy.shape), xp.reshape(scale * rg + rscale * g, gy.shape)

    # Scale: y = s x, with s = P s_g of the groups

    @ahead.register
    def ahead_scale(self, layer: Scale, rx: Array) -> Array:
        """R{y} = s R{x} + v_s x."""
        xp = get_array_module(rx)
        self.rx[layer] = xp.reshape(rx, layer.rows.shape)
        vs = layer.membership(rx) @ self.v[layer.s]
        return xp.reshape(layer.factor()[:, None] * self.rx[layer] + vs[:, None] * layer.rows, rx.shape)

    @fill.register
    def fill_scale(self, layer: Scale, gy: Array, rgy: Array) -> None:
        """R{dE/ds} = sum over each group of R{dE/dy} x + dE/dy R{x}."""
        xp, rows = get_array_module(gy), layer.rows.shape
        g, rg = xp.reshape(gy, rows), xp.reshape(rgy, rows)
        self.Hv[layer.s] = layer.membership(gy).T @ (dot_rows(rg, layer.rows) + dot_rows(g, self.rx[layer]))

    @back.register
    def back_scale(self, layer: Scale, gy: Array, rgy: Array) -> Signal:
        """R{dE/dx} = s R{dE/dy} + v_s dE/dy."""
        s, vs = layer.factor(), layer.membership(gy) @ self.v[layer.s]
        return layer.back(gy, s), layer.back(rgy, s) + layer.back(gy, vs)

    # Subsampling: a = c mean(window) + b

    @ahead.register
    def ahead_subsampling(self, layer: Subsampling, rx: Array) -> Array:
        """R{a} = c R{mean} + v_c mean + v_b."""
        self.rx[layer] = layer.window_mean(rx, *layer.mean.shape[1:3])
        c, vc, vb = (each[:, None, None, None] for each in
                     (layer.coefficient.data, self.v[layer.coefficient], self.v[layer.b]))  # fmt: skip
        return c * self.rx[layer] + vc * layer.mean + vb

    @fill.register
    def fill_subsampling(self, layer: Subsampling, ga: Array, rga: Array) -> None:
        """R{dE/dc} = sum of R{dE/da} mean + dE/da R{mean}."""
        self.Hv[layer.coefficient] = sum_rows(rga * layer.mean + ga * self.rx[layer])
        self.Hv[layer.b] = sum_rows(rga)

    @back.register
    def back_subsampling(self, layer: Subsampling, ga: Array, rga: Array) -> Signal:
        """R{dE/dx} = (c R{dE/da} + v_c dE/da) / k^2 at every pixel of the window."""
        c, vc = layer.share(layer.coefficient.data), layer.share(self.v[layer.coefficient])
        return layer.spread(c * ga), layer.spread(c * rga + vc * ga)

    # Linear maps without parameters: R{y} is the same map of R{x}, and so back.

    @ahead.register
    def ahead_linear_map(
        self, layer: Flatten | AvgPool2d | GlobalAvgPool2d | ZeroPadShortcut | Select, rx: Array
    ) -> Array:
        """R{y} = the layer's map of R{x}; it remembers shapes only, which are the same."""
        return layer.forward(rx)

    @ahead.register
    def ahead_dropout(self, layer: Dropout, rx: Array) -> Array:
        """R{y} = mask R{x}, the mask that was drawn."""
        return rx * layer.scale

    @ahead.register
    def ahead_gate(self, layer: Gate, rx: Array) -> Array:
        """R{y} = z R{x}, the gates that were drawn; a gate with parameters has no rule."""
        return layer.spread(layer.z) * rx

    @ahead.register
    def ahead_max_pool(self, layer: MaxPool2d, rx: Array) -> Array:
        """R{y} is the R{x} of the first winner of each window."""
        winners = layer.routed(layer.padded, layer.y, get_array_module(rx).ones_like(layer.y))
        windows = layer.windows(layer.geometry.pad(rx), *layer.y.shape[1:3])
        return sum(winner * window for winner, window in zip(winners, windows))

    @back.register
    def back_linear_map(
        self,
        layer: Flatten | AvgPool2d | GlobalAvgPool2d | ZeroPadShortcut | Select | Dropout | Gate | MaxPool2d,
        gy: Array,
        rgy: Array,
    ) -> Signal:
        """R{dE/dx} = the layer's way back of R{dE/dy}."""
        return layer.backward(gy), layer.backward(rgy)
