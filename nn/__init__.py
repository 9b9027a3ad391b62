"""A neural net small enough to read: layers with hand-written first and second derivatives.

The batch is the last axis: features (D, N), images (C, H, W, N).  A layer is a = W x + b.
"""

from nn import (
    backend,
    batches,
    checkpoint,
    curvature,
    data,
    gradcheck,
    initializers,
    models,
    recording,
    sweeps,
    training,
)
from nn.activations import Activation, Identity, ReLU, ScaledTanh, Sigmoid, Softplus, Tanh
from nn.batchnorm import BatchNorm, Dropout, fold_pair
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.companions import Companion
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.losses import Distillation, SoftmaxCrossEntropy, SquaredError, one_hot
from nn.module import Module, Parameter, Sequential
from nn.optimizers import SGD, Adam, cosine_decay, step_decay
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling
from nn.windows import col2im, im2col

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "AvgPool2d",
    "BatchNorm",
    "Channelwise",
    "Companion",
    "Concat",
    "Conv2d",
    "Distillation",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "Parameter",
    "ReLU",
    "Residual",
    "ScaledTanh",
    "Select",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Subsampling",
    "Tanh",
    "ZeroPadShortcut",
    "backend",
    "batches",
    "checkpoint",
    "col2im",
    "cosine_decay",
    "curvature",
    "data",
    "fold_pair",
    "gradcheck",
    "im2col",
    "initializers",
    "models",
    "one_hot",
    "recording",
    "step_decay",
    "sweeps",
    "training",
]
