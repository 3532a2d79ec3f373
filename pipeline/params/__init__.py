"""All parameters with their types, limits, defaults and descriptions, one class per section."""

from pipeline.params.candidate import Candidate
from pipeline.params.compare import Compare, CompareEntry
from pipeline.params.evaluate import Evaluate, ListedDevice
from pipeline.params.loading import load_params, load_section, read_values
from pipeline.params.network import Network
from pipeline.params.prepare import Fractions, Prepare, prepare_model
from pipeline.params.qat import QAT
from pipeline.params.recipe import Recipe
from pipeline.params.root import Params, Run, params_model
from pipeline.params.scout import Scout
from pipeline.params.shipping import Bundle, Export, MixedPrecision
from pipeline.params.student import ClassOrder, Distill
from pipeline.params.teacher import CacheLogits, Finetune
from pipeline.params.views import Views

__all__ = [
    "QAT",
    "Bundle",
    "CacheLogits",
    "Candidate",
    "ClassOrder",
    "Compare",
    "CompareEntry",
    "Distill",
    "Evaluate",
    "Export",
    "Finetune",
    "Fractions",
    "ListedDevice",
    "MixedPrecision",
    "Network",
    "Params",
    "Prepare",
    "Recipe",
    "Run",
    "Scout",
    "Views",
    "load_params",
    "load_section",
    "params_model",
    "prepare_model",
    "read_values",
]
