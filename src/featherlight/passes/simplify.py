"""A network becomes the smallest graph that computes the same."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from featherlight.errors import UsageError, quote_names
from featherlight.passes.base import Pass, Step, run_pass
from featherlight.passes.drop_identities import drop_identities
from featherlight.passes.eliminate_channel_shuffle import EliminateChannelShuffle
from featherlight.passes.fold_batch_norm import fold_batch_norm
from featherlight.passes.fold_normalisation import fold_normalisation
from featherlight.passes.forms import FORMS
from featherlight.passes.graph import count_operators
from featherlight.passes.merge_constants import merge_constants
from featherlight.passes.merge_pads import merge_pads
from featherlight.passes.remove_duplicates import remove_duplicates
from featherlight.passes.tracing import CannotTraceError, trace

KEPT = "shuffle"  # the form that leaves channel shuffles where they are
SHUFFLES = "eliminate_channel_shuffle"
DEFAULT_FORM = "slices"
_LOCAL: dict[str, Pass] = {
    one.name: one
    for one in (
        drop_identities,
        remove_duplicates,
        fold_batch_norm,
        merge_constants,
        fold_normalisation,
        merge_pads,
    )
}
DEFAULT_PASSES = (*_LOCAL, SHUFFLES)


@dataclass(frozen=True)
class Simplified:
    """A network after the passes.

    Attributes:
        module: the same function, in evaluation mode, on the CPU: a ``torch.fx.GraphModule`` of ATen operators, or a
            copy of the network itself where it could not be traced.
        steps: what each pass did.
        form: the form in which channels are brought together, see :data:`featherlight.passes.forms.FORMS`;
            "shuffle" where shuffles stayed or there were none.
        problem: why the network could not be traced; None if it was.
    """

    module: nn.Module
    steps: tuple[Step, ...]
    form: str
    problem: str | None = None


def simplify(
    module: nn.Module,
    example: Tensor,
    *,
    passes: Collection[str] = DEFAULT_PASSES,
    form: str = DEFAULT_FORM,
    dtype: torch.dtype = torch.float32,
) -> Simplified:
    """Rewrites a network into a smaller graph that computes the same; the network itself stays as it is.

    Args:
        module: any network that takes an image tensor and gives one tensor.
        example: an input, (N, C, H, W). The result takes any N, but only this C, H and W.
        passes: names of those to run, of ``DEFAULT_PASSES``; they run in that order.
        form: how channels are brought together once the shuffles are gone, a name in ``FORMS``; "shuffle" keeps them.
        dtype: of the result, float32 or float64. Weights are always folded in float64.

    Raises:
        UsageError: there is no such pass or form.
    """
    return simplify_forms(module, example, [form], passes=passes, dtype=dtype, asked=True)[form]


def simplify_forms(
    module: nn.Module,
    example: Tensor,
    forms: Iterable[str] = (KEPT, *FORMS),
    *,
    passes: Collection[str] = DEFAULT_PASSES,
    dtype: torch.dtype = torch.float32,
    asked: bool = False,
) -> dict[str, Simplified]:
    """The same network in several forms, to measure which is fastest; it is traced only once.

    Args:
        module: see :func:`simplify`.
        example: see :func:`simplify`.
        forms: names of forms.
        passes: see :func:`simplify`.
        dtype: see :func:`simplify`.
        asked: give every form, also those that are the same as another. Otherwise each graph comes once, under the
            first of its names.

    Raises:
        UsageError: there is no such pass or form.
    """
    names = tuple(dict.fromkeys(forms))
    _check_names(names, passes)
    try:
        traced = trace(module, example, dtype)
    except CannotTraceError as error:
        untouched = copy.deepcopy(module).to("cpu", dtype).eval()
        kept = {name: Simplified(untouched, (), KEPT, str(error)) for name in names}
        return kept if asked else dict(list(kept.items())[:1])
    steps = [run_pass(_LOCAL[name], traced) for name in _LOCAL if name in passes]
    results = {name: _in_form(traced, steps, name if SHUFFLES in passes else KEPT) for name in names}
    return results if asked else _distinct(results)


def _in_form(traced: GraphModule, steps: list[Step], form: str) -> Simplified:
    module = copy.deepcopy(traced)
    if form == KEPT:
        return Simplified(module, tuple(steps), KEPT)
    step = run_pass(EliminateChannelShuffle(FORMS[form]), module)
    again = run_pass(remove_duplicates, module)
    return Simplified(module, (*steps, step, *([again] if again.applied else [])), form if step.applied else KEPT)


def _distinct(results: dict[str, Simplified]) -> dict[str, Simplified]:
    """Each graph once."""
    seen: dict[object, str] = {}
    for name, result in results.items():
        seen.setdefault(_print(result.module), name)
    return {name: results[name] for name in seen.values()}


def _print(module: nn.Module) -> tuple[tuple[str, object], ...]:
    """What tells graphs of the same network apart: operators, and shapes of weights."""
    return (
        *(sorted(count_operators(module).items()) if isinstance(module, GraphModule) else ()),
        *(("weight", tuple(tensor.shape)) for tensor in module.parameters()),
    )


def _check_names(forms: Collection[str], passes: Collection[str]) -> None:
    for what, names, known in (("form", forms, (KEPT, *FORMS)), ("pass", passes, DEFAULT_PASSES)):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(f"there is no {what} named {quote_names(unknown)}; these exist: {', '.join(known)}")
