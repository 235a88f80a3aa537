"""Weights of other implementations: files read safely, names translated, channels put in our order.

A file becomes a network's weights in three steps:

1. ``reading.read_weights(path)``: any known kind of file -> :class:`~featherlight.interop.weights.Weights`
   (tensors by the names the file gives them). Nothing in the file is executed; sizes are bounded.
2. ``layouts.recognise_layout(...)``: the names tell which implementation wrote it, unless the user does.
3. ``layout.translate(weights, model)``: their names -> ours, and ``layout.reorder(state, model)``: their order of
   channels -> ours. Both are pure bookkeeping; no value is computed.

``featherlight.models.foreign`` runs the steps, and checks that every parameter and running statistic is used exactly
once and that the implementation computes what the network does. This room knows networks only as modules that are
handed to it, so ``models`` may use it.

To add a layout, write one file here with

- ``recognise(names) -> bool``: true for the names of this implementation and of no other;
- ``translate(weights, model) -> dict``: takes tensors out of ``weights`` (``weights.take(name)``) and returns them by
  the names in ``model.state_dict()``. What it does not take is reported as left over, what it does not return as
  missing. Where only module names differ, ``names(model) -> {our module: their module}`` and ``renaming.by_names``
  do it;
- ``reorder(state, model) -> dict``, where channels stand in another order; ``shuffles`` has the functions;

and put a ``Layout`` a family into the table in ``layouts``. If the implementation computes something else than the
family's own network, it has a tag of the layout's name in ``models.variants``. A parity test goes to
``tests/interop/test_parity.py``. To add a kind of file, put a ``Reader`` into the table in ``reading``.
"""
