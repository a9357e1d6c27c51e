"""Architectures: networks as functions of their parameters. `learners.Network` trains them."""

from ._architecture import AbstractArchitecture, Functions, Outputs
from ._convolution import convolve
from .channels import Channels, Masked
from .convnet import ConvNet, lenet, small, wide
from .mlp import MLP
from .resnet import ResNet
