"""Faster training operators; never needed, never visible in a saved model."""

from featherlight.kernels.accelerate import accelerate

__all__ = ["accelerate"]
