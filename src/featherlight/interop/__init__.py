"""Weights of other implementations: files read safely, names translated, channels put in our order.

A file becomes a network's weights in three steps:

1. ``reading.read_weights(path)``: any known kind of file -> :class:`~featherlight.interop.weights.Weights`
   (tensors by the names the file gives them). Nothing in the file is executed; sizes are bounded.
2. ``layouts.find_layout(names, family)``: the names tell which implementation wrote it.
3. ``layout.translate(weights, model)``: their names -> ours, and ``layout.reorder(state, model)``: their order of
   channels -> ours. Both are pure bookkeeping; no value is computed.

``featherlight.models.foreign`` runs the steps and checks that every parameter and running statistic is used
exactly once. This room knows networks only as modules that are handed to it, so the networks may use it.

To add a layout, write one file here with

- ``recognise(names) -> bool``: true for the names of this implementation and of no other;
- ``translate(weights, model) -> dict``: takes tensors out of ``weights`` (``weights.take(name)``) and returns them by
  the names in ``model.state_dict()``. What it does not take is reported as left over, what it does not return as
  missing. If only module names differ, ``renaming.rename(weights, model, {our module: their module})`` does it all;
- ``reorder(state, model) -> dict``, where channels are in another order: see ``shuffles``;

and put a ``Layout`` a family into the table in ``layouts``. A parity test goes to ``tests/interop/``. To add a kind
of file, put a ``Reader`` into the table in ``reading``.
"""
