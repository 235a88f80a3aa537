"""Any network as a graph of ATen operators: every spelling of an operator in PyTorch becomes the same node.

``torch.export`` runs the network once on tensors without values. Modules, functions and methods, shapes that are
computed and branches on shapes all end in the same few operators. The batch stays a symbol.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from featherlight.passes.graph import aten, finish, is_call, names, operator_name

_VIEWS = names(
    "view reshape transpose permute select slice split split_with_sizes chunk getitem squeeze unsqueeze flatten "
    "unflatten expand detach alias contiguous unbind narrow swapaxes movedim diagonal unfold"
)
_TOLERANCE = 1e-4  # of the largest output; rounding is far below, another branch far above


class CannotTraceError(Exception):
    """The network is no fixed graph of operators; the message says why."""


def trace(module: nn.Module, example: Tensor, dtype: torch.dtype = torch.float32) -> GraphModule:
    """The graph of ``module`` in evaluation mode; the module itself stays as it is.

    Args:
        module: any network that takes one image tensor and gives one tensor.
        example: an input, (N, C, H, W). The graph takes any N, but only this C, H and W.
        dtype: of weights and arithmetic.

    Raises:
        CannotTraceError: control flow depends on values, or the network does something that no graph holds.
    """
    module = copy.deepcopy(module).to("cpu", dtype).eval()
    example = example.detach().to("cpu", dtype)
    if len(example) == 1:  # PyTorch takes a one for a constant
        example = torch.cat((example, example))
    try:
        graph_module = _export(module, example)
        _tidy(graph_module)
        _check(graph_module, module, example)
    except Exception as error:  # PyTorch raises whatever the network and its tracer raise
        raise CannotTraceError(_first_line(error)) from error
    return graph_module


def _tidy(graph_module: GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if is_call(node, (aten._assert_tensor_metadata.default,)):
            graph_module.graph.erase_node(node)
        if is_call(node, (aten.view.default, aten._unsafe_view.default)):
            node.target = aten.reshape.default  # a view needs memory in one piece, which passes do not promise
    finish(graph_module)


@torch.no_grad()
def _check(graph_module: GraphModule, module: nn.Module, example: Tensor) -> None:
    """Runs both, since what a network does may depend on the size of the batch."""
    generator = torch.Generator().manual_seed(0)
    for count in (1, 3):
        x = torch.randn((count, *example.shape[1:]), generator=generator, dtype=example.dtype)
        expected, result = module(x.clone()), graph_module(x.clone())
        scale = float(expected.abs().nan_to_num(0, 0, 0).max())
        if expected.shape != result.shape or not torch.allclose(
            expected, result, rtol=0, atol=_TOLERANCE * scale, equal_nan=True
        ):
            raise CannotTraceError(f"its graph gives something else for a batch of {count}")


@contextmanager
def _silence() -> Iterator[None]:
    """PyTorch logs a failure at length before it raises it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _export(module: nn.Module, example: Tensor) -> GraphModule:
    dimensions = ({0: torch.export.Dim.AUTO},)
    with warnings.catch_warnings(), _silence(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (example,), dynamic_shapes=dimensions, strict=False)
        graph_module = _unlifted(program)
        if not _make_functional(graph_module):
            graph_module = _unlifted(program.run_decompositions({}))  # exact, but three times slower
    outputs = graph_module.graph.output_node().args[0]
    if not isinstance(outputs, list | tuple) or len(outputs) != 1 or not isinstance(outputs[0], Node):
        raise CannotTraceError("it gives something else than one tensor")
    if any(isinstance(node.meta["val"].shape[0], int) for node in graph_module.graph.find_nodes(op="placeholder")):
        raise CannotTraceError("it only takes batches of one size")
    graph_module.graph.output_node().args = (outputs[0],)
    graph_module.graph.set_codegen(torch.fx.graph.CodeGen())
    return graph_module


def _unlifted(program: Any) -> GraphModule:
    graph_module: GraphModule = program.module(check_guards=False)
    plain = GraphModule(graph_module, graph_module.graph)
    plain.eval = nn.Module.eval.__get__(plain)  # type: ignore[method-assign]
    return plain


def _make_functional(module: GraphModule) -> bool:
    """Replaces operators that write into their input by those that do not; False where that would change a result."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or not _writes(node):
            continue
        plain = _functional(node)
        if plain is None or not _is_last_use(node):
            return False
        node.target = plain
    return True


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _functional(node: Node) -> Any:
    target: Any = node.target
    name = target._opname
    if not name.endswith("_") or not hasattr(aten, name[:-1]):
        return None
    return getattr(getattr(aten, name[:-1]), target._overloadname, None)


def _is_last_use(node: Node) -> bool:
    """Whether nothing sees the written memory under another name later."""
    written: Any = node.args[0]
    return written.op == "call_function" and list(written.users) == [node] and not _is_view(written)


def _is_view(node: Node) -> bool:
    return operator_name(node) in _VIEWS


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text[:200] or type(error).__name__
