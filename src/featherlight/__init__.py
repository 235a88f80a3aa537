"""Featherlight: small, fast image classifiers, from a folder of images to a trained, verified, running network.

Names are loaded when first used, so that ``import featherlight`` stays quick and works without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featherlight.choosing import Choice
    from featherlight.comparison import Comparison
    from featherlight.cost.result import Cost
    from featherlight.device_profile import read_device_profile
    from featherlight.errors import FeatherlightError
    from featherlight.images import Preprocessing
    from featherlight.metrics import Evaluation
    from featherlight.models.catalogue import list_models
    from featherlight.models.foreign import load_weights
    from featherlight.models.registry import create_model
    from featherlight.models.weights import load_model, save_model
    from featherlight.predictor import Prediction, Predictor
    from featherlight.sources.findings import Finding, Findings
    from featherlight.verification import Verification
    from featherlight.workflows.benchmark import benchmark
    from featherlight.workflows.check import check
    from featherlight.workflows.choose import choose
    from featherlight.workflows.compare import compare
    from featherlight.workflows.evaluate import evaluate
    from featherlight.workflows.export import Export, export
    from featherlight.workflows.find_rate import find_rate
    from featherlight.workflows.profile import profile
    from featherlight.workflows.train import Run, resume, train
    from featherlight.workflows.verify import verify

__all__ = [
    "Choice",
    "Comparison",
    "Cost",
    "Evaluation",
    "Export",
    "FeatherlightError",
    "Finding",
    "Findings",
    "Prediction",
    "Predictor",
    "Preprocessing",
    "Run",
    "Verification",
    "__version__",
    "benchmark",
    "check",
    "choose",
    "compare",
    "create_model",
    "evaluate",
    "export",
    "find_rate",
    "list_models",
    "load_model",
    "load_weights",
    "profile",
    "read_device_profile",
    "resume",
    "save_model",
    "train",
    "verify",
]

_HOME = {
    "Comparison": "comparison",
    "Choice": "choosing",
    "Cost": "cost.result",
    "Evaluation": "metrics",
    "Export": "workflows.export",
    "FeatherlightError": "errors",
    "Finding": "sources.findings",
    "Findings": "sources.findings",
    "Prediction": "predictor",
    "Predictor": "predictor",
    "Preprocessing": "images",
    "Run": "workflows.train",
    "Verification": "verification",
    "benchmark": "workflows.benchmark",
    "check": "workflows.check",
    "compare": "workflows.compare",
    "create_model": "models.registry",
    "choose": "workflows.choose",
    "evaluate": "workflows.evaluate",
    "export": "workflows.export",
    "find_rate": "workflows.find_rate",
    "list_models": "models.catalogue",
    "load_model": "models.weights",
    "load_weights": "models.foreign",
    "profile": "workflows.profile",
    "read_device_profile": "device_profile",
    "resume": "workflows.train",
    "save_model": "models.weights",
    "train": "workflows.train",
    "verify": "workflows.verify",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("featherlight")
    if name not in _HOME:
        raise AttributeError(f"module 'featherlight' has no attribute {name!r}")
    try:
        return getattr(import_module(f"featherlight.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        from featherlight.errors import explain_missing

        raise explain_missing(error, f"featherlight.{name}") from error


def __dir__() -> list[str]:
    return __all__
