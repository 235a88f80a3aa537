"""Several models on the same images: which is better, by how much, and whether that is real or luck."""

from featherlight.comparison.result import Answers, ComparedModel, Comparison, Pair
from featherlight.comparison.sentence import explain_comparison, p_text
from featherlight.comparison.statistics import compare_pairs, difference_interval, holm, mcnemar

__all__ = [
    "Answers",
    "ComparedModel",
    "Comparison",
    "Pair",
    "compare_pairs",
    "difference_interval",
    "explain_comparison",
    "holm",
    "mcnemar",
    "p_text",
]
