"""From a source's split to batches for training."""
