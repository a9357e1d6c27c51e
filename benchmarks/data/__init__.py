"""Real data for experiments: digits and tables, drawn or filed splits of them."""

from ._table import Group, Parts, Table
from .adult import adult_frame
from .cifar import Images, cifar10
from .compas import compas_frame
from .contagio import pdf_malware
from .enron import enron
from .files import Poison, filed_parts, filed_poison, numbered_parts
from .gtsrb import Tracked, gtsrb
from .lending_club import encoded, loans, loans_frame
from .manip_ml import house, pharm
from .mnist import (
    FULL_TEST,
    HASHES,
    MIRROR,
    TEST,
    TRAIN,
    VALIDATION,
    Digits,
    Rows,
    Split,
    drawn_splits,
    filed_splits,
    mnist,
    mnist_full,
    parse_pair,
)
from .uci import breast_cancer, spambase
