"""Faster training operators behind ``accelerate(model)``; never needed, never visible in a saved model.

The name is loaded when first used: what compiles the kernels (:mod:`featherlight.kernels.library`) needs no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featherlight.kernels.exchange import accelerate

__all__ = ["accelerate"]


def __getattr__(name: str) -> Any:
    if name != "accelerate":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from featherlight.kernels.exchange import accelerate

    return accelerate
