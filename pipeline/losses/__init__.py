"""Training losses: one file per method, registered in ``pipeline.plugins.LOSSES``."""

from pipeline.losses.base import DistillationLoss
from pipeline.losses.build import build_loss
from pipeline.losses.cross_entropy import CrossEntropy
from pipeline.losses.dist import DISTLoss
from pipeline.losses.dkd import DKDLoss
from pipeline.losses.figkd.loss import FiGKDLoss
from pipeline.losses.kd import KDLoss
from pipeline.losses.logit_mse import LogitMSELoss

__all__ = [
    "CrossEntropy",
    "DISTLoss",
    "DKDLoss",
    "DistillationLoss",
    "FiGKDLoss",
    "KDLoss",
    "LogitMSELoss",
    "build_loss",
]
