"""A neural net small enough to read: layers with hand-written first and second derivatives.

The batch is the last axis: features (D, N), images (C, H, W, N).  A layer is a = W x + b.

Read in this order:

=====================  ================================================================================================
linear                 one layer whole: forward, backward, backward_hessian, the same lines with x and W squared
activations            f, f' and f'', and the chain rule written once
losses                 where the sweeps back begin
module                 what a layer is, and how a chain of them passes the sweeps on
optimizers, training   what is done with a gradient; batches cuts the data and evaluates, companions go along
windows, conv          a convolution as a matrix product; then pooling, batchnorm, and branches (sums, concatenations)
sweeps                 a signal carried through any net: what containers do to it, once for all that follows
curvature              squares (gradients of single patterns), tangents (Hessian-vector products of every layer, on one
                       page), exact (full matrices), matrix (the Hessian of a small net); its face: hess_diag
gradcheck              the referees: derivatives by the complex step
referee                your own layer, loss or formula on trial: verify, verify_formula
channelwise, scale     what batch norm and other layers with one factor a channel share, for those who cut channels;
                       one trained factor for a block, a group of channels or a channel
gates                  factors of channels that are drawn anew in every step; a tap for losses on hidden layers
recurrent              sequences (D, T, N): a table of symbols, a recurrence, layers at every position
companions, recording  what goes along with training; what goes into and comes out of named layers
checkpoint             nets and runs as files; description, run_state and archive are its parts
=====================  ================================================================================================

backend, parameter, arguments, checks, initializers and files are what these stand on; models and data are what they
are used for.
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
    referee,
    sweeps,
    training,
)
from nn.activations import Activation, Identity, ReLU, ScaledTanh, Sigmoid, Softplus, Tanh
from nn.batchnorm import BatchNorm, Dropout, fold_pair, renew_statistics
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.companions import Companion, OwnGradients, Ramp
from nn.conv import Conv2d
from nn.gates import Gate, Tap
from nn.linear import Flatten, Linear
from nn.losses import Distillation, SoftmaxCrossEntropy, SquaredError, one_hot
from nn.module import Module, Parameter, Sequential
from nn.optimizers import SGD, Adam, cosine_decay, step_decay
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling
from nn.recurrent import SRU, Embedding, Positionwise
from nn.referee import verify, verify_formula
from nn.scale import Scale
from nn.windows import col2im, im2col

__all__ = [
    "SGD",
    "SRU",
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
    "Embedding",
    "Flatten",
    "Gate",
    "GlobalAvgPool2d",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Module",
    "OwnGradients",
    "Parameter",
    "Positionwise",
    "Ramp",
    "ReLU",
    "Residual",
    "Scale",
    "ScaledTanh",
    "Select",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SquaredError",
    "Subsampling",
    "Tanh",
    "Tap",
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
    "referee",
    "renew_statistics",
    "step_decay",
    "sweeps",
    "training",
    "verify",
    "verify_formula",
]
