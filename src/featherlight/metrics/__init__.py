"""From logits and labels to everything ``evaluation.json`` says: accuracy, confusion, calibration, rejection."""

from featherlight.metrics.calibration import fit_temperature
from featherlight.metrics.classes import macro_scores
from featherlight.metrics.evaluation import TOP_K, Evaluation, evaluate_logits
from featherlight.metrics.logits import cross_entropy, most_likely, softmax
from featherlight.metrics.rejection import accepts, area_under_roc, fit_rule, fit_to_known, fit_to_unknown, known_scores

__all__ = [
    "TOP_K",
    "Evaluation",
    "accepts",
    "area_under_roc",
    "cross_entropy",
    "evaluate_logits",
    "fit_rule",
    "fit_temperature",
    "fit_to_known",
    "fit_to_unknown",
    "known_scores",
    "macro_scores",
    "most_likely",
    "softmax",
]
