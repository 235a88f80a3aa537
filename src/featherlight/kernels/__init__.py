"""Faster training operators behind ``accelerate(model)``; never needed, never visible in a saved model."""
