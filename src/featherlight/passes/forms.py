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
        reorders: weights are reordered so that what is taken together lies together.
        splits: a convolution whose channels go different ways becomes one convolution for each way.
        block: the channels of such a convolution are filled up with zeros to a multiple of this.
        gathers: channels are taken one by one with a single gather, not by slices and a concatenation.
        adds: a convolution of several tensors becomes a sum of convolutions, not a convolution of a concatenation.
        whole: a convolution reads whole tensors, with zero weights for what it does not need, rather than slices.
        dense: grouped convolutions in front of a shuffle become dense ones.
        cuts_once: slices of one tensor are one operator with several results.
    """

    name: str
    what: str
    keeps_joins: bool = False
    reorders: bool = True
    splits: bool = False
    block: int = 1
    gathers: bool = False
    adds: bool = False
    whole: bool = False
    dense: bool = False
    cuts_once: bool = False


FORMS = {
    form.name: form
    for form in (
        Form("gather", "each shuffle is one gather", keeps_joins=True, reorders=False, gathers=True),
        Form("carry", "channels lie ready for contiguous slices of each concatenation", keeps_joins=True),
        Form("whole", "convolutions read whole concatenations", keeps_joins=True, whole=True),
        Form("slices", "each convolution takes contiguous slices of what made its channels"),
        Form("pieces", "what made channels is cut into contiguous pieces, one for each convolution", cuts_once=True),
        Form("carry_pieces", "carry, cut once", keeps_joins=True, cuts_once=True),
        Form("split", "convolutions are split by where their channels go", splits=True),
        Form("blocks", "the same, in blocks of 16 channels", splits=True, block=16, whole=True),
        Form("blocks8", "the same, in blocks of 8 channels", splits=True, block=8, whole=True),
        Form("sums", "blocks, and sums of convolutions in place of concatenations",
             splits=True, block=16, whole=True, adds=True),
        Form("wide", "convolutions read whole tensors, nothing is sliced", whole=True),
        Form("dense", "slices, and grouped convolutions in front of a shuffle become dense", dense=True),
    )
}
