"""Runtimes that turn prepared images into logits, one file each, behind one small contract."""

from featherlight.engines.base import (
    Engine,
    batch_size_for,
    compute_logits,
    open_engine,
    prepare_image,
    working_pixels,
)

__all__ = ["Engine", "batch_size_for", "compute_logits", "open_engine", "prepare_image", "working_pixels"]
