"""A model behind HTTP: batches, limits, metrics and a page around the predictor. Needs the extra ``serve``."""
