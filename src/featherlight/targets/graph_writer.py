"""ONNX operators written down one after another, as calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Given = ir.Value | NDArray[Any] | np.float32 | int


class GraphWriter:
    """Records nodes: ``write("Add", a, b)`` gives the sum's value. Arrays become constants, equal ones the same.

    Args:
        prefix: of all names, so that they differ from those of the graph that this one is joined to.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._tape = ir.tape.Tape()
        self._constants: dict[tuple[object, ...], ir.Value] = {}

    @property
    def nodes(self) -> list[ir.Node]:
        """In the order in which they were written, which is one that they can run in."""
        return list(self._tape.nodes)

    @property
    def constants(self) -> list[ir.Value]:
        """The values of arrays."""
        return list(self._constants.values())

    def __call__(self, operator: str, *inputs: Given, **attributes: Any) -> ir.Value:
        """Writes a node with one output. Whole numbers among the inputs become int64 (1,)."""
        values = [given if isinstance(given, ir.Value) else self.constant(given) for given in inputs]
        name = f"{self._prefix}/{len(self._tape.nodes)}"
        return self._tape.op(operator, values, attributes, name=name, output=ir.Value(name=name))

    def constant(self, given: NDArray[Any] | np.float32 | int) -> ir.Value:
        """The value of an array; a whole number becomes int64 (1,)."""
        array = np.array([given], np.int64) if isinstance(given, int) else np.asarray(given)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            tensor = ir.tensor(array, name=f"{self._prefix}/constant{len(self._constants)}")
            self._constants[key] = self._tape.initializer(tensor)
        return self._constants[key]
