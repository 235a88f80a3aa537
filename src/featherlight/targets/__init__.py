"""Trained networks to files that run without PyTorch: one file a target, behind one small contract."""
