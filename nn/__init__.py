"""A neural net small enough to read: layers with hand-written first and second derivatives.

The batch is the last axis: features (D, N), images (C, H, W, N).  A layer is a = W x + b.
"""

from nn import backend, checkpoint, curvature, data, gradcheck, initializers, models, training
from nn.activations import Activation, Identity, ReLU, ScaledTanh, Sigmoid, Softplus, Tanh
from nn.batchnorm import BatchNorm, Dropout
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.conv import Conv2d, col2im, im2col
from nn.linear import Flatten, Linear
from nn.losses import SoftmaxCrossEntropy, SquaredError, one_hot
from nn.module import Module, Parameter, Sequential
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling
from nn.optimizers import SGD, Adam, step_decay

__all__ = [
    "Subsampling",
    "MaxPool2d",
    "GlobalAvgPool2d",
    "AvgPool2d",
    "im2col",
    "col2im",
    "Conv2d",
    "ZeroPadShortcut",
    "Select",
    "Residual",
    "Concat",
    "Dropout",
    "BatchNorm",
    "SGD",
    "Activation",
    "Adam",
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "Parameter",
    "ReLU",
    "ScaledTanh",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Tanh",
    "backend",
    "checkpoint",
    "curvature",
    "data",
    "gradcheck",
    "initializers",
    "models",
    "one_hot",
    "step_decay",
    "training",
]
