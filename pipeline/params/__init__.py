"""Every parameter: its type, unit, meaning and limits. ``params.yaml`` mirrors these files."""

from pipeline.params.candidate import Candidate
from pipeline.params.compare import Compare, Entry
from pipeline.params.device import ListedDevice
from pipeline.params.file import load_params
from pipeline.params.methods import DIST, DKD, KD, FiGKD, LogitMSE, Transfer
from pipeline.params.mixed_precision import MixedPrecision
from pipeline.params.network import Network
from pipeline.params.prepare import Fractions, Prepare, Typefaces
from pipeline.params.qat import QAT
from pipeline.params.recipe import Recipe
from pipeline.params.run import Run
from pipeline.params.scout import Scout
from pipeline.params.shipping import Bundle, Evaluate, Export, Quantize
from pipeline.params.student import ClassOrder, Distill
from pipeline.params.teacher import CacheLogits, Finetune
from pipeline.params.views import Views
from pipeline.params.whole import Params

__all__ = [
    "DIST",
    "DKD",
    "KD",
    "QAT",
    "Bundle",
    "CacheLogits",
    "Candidate",
    "ClassOrder",
    "Compare",
    "Distill",
    "Entry",
    "Evaluate",
    "Export",
    "FiGKD",
    "Finetune",
    "Fractions",
    "ListedDevice",
    "LogitMSE",
    "MixedPrecision",
    "Network",
    "Params",
    "Prepare",
    "Quantize",
    "Recipe",
    "Run",
    "Scout",
    "Transfer",
    "Typefaces",
    "Views",
    "load_params",
]
