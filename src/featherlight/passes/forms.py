"""The exact forms that a network without shuffles can take; which is fastest depends on the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """How channels are brought together where they cannot simply stay where they are.

    Attributes:
        name: as it is asked for.
        what: one line for people.
        keeps_joins: concatenations stay, and what follows takes its channels from them.
        reorders: convolutions make their channels so that what is taken together lies together.
        gathers: channels are taken one by one with a single gather, not by slices and a concatenation.
        cuts_once: slices of one tensor are one operator with several results.
    """

    name: str
    what: str
    keeps_joins: bool = False
    reorders: bool = True
    gathers: bool = False
    cuts_once: bool = False


# Measured and slower everywhere (ShuffleNetV2 1x and V1 g3 1x, ONNX Runtime and OpenVINO): reading whole tensors with
# zero weights for what is not needed; one convolution for each way that channels go, also filled up to blocks of 8 or
# 16 channels; sums of convolutions in place of concatenations; in place of a grouped convolution whose channels go to
# different groups a dense one, one for each such group, or one that makes equal blocks which are transposed.
FORMS = {
    form.name: form
    for form in (
        Form("gather", "each shuffle is one gather", keeps_joins=True, reorders=False, gathers=True),
        Form("carry", "channels lie ready for contiguous slices of each concatenation", keeps_joins=True),
        Form("slices", "each convolution takes contiguous slices of what made its channels"),
        Form("pieces", "what made channels is cut once into contiguous pieces", cuts_once=True),
    )
}
