"""Graph passes: a network becomes the smallest graph that computes the same. One pass a file."""

from featherlight.passes.base import Step
from featherlight.passes.explain import explain
from featherlight.passes.forms import FORMS
from featherlight.passes.simplify import DEFAULT_FORM, DEFAULT_PASSES, KEPT, Simplified, simplify, simplify_forms

__all__ = [
    "DEFAULT_FORM",
    "DEFAULT_PASSES",
    "FORMS",
    "KEPT",
    "Simplified",
    "Step",
    "explain",
    "simplify",
    "simplify_forms",
]
