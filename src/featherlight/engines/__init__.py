"""Runtimes that turn prepared images into logits, one file each, behind one small contract."""

from featherlight.engines.base import Engine, open_engine

__all__ = ["Engine", "open_engine"]
