"""Architectures as functions (sizes, rng, ...) -> Module; rng=None builds an outline, whose parameters hold no data."""

from nn.models.alexnets import alexnet
from nn.models.densenets import densenet
from nn.models.lenets import lenet5, lenet1990
from nn.models.perceptrons import lenet300, mlp
from nn.models.resnets import preresnet, resnet18_cifar, resnet_cifar, resnet_imagenet
from nn.models.vggs import vgg, vgg_imagenet, vgg_thinet

__all__ = [
    "alexnet",
    "densenet",
    "lenet5",
    "lenet300",
    "lenet1990",
    "mlp",
    "preresnet",
    "resnet18_cifar",
    "resnet_cifar",
    "resnet_imagenet",
    "vgg",
    "vgg_imagenet",
    "vgg_thinet",
]
