"""Which operators a network runs, in which layer, on which shapes.

The network runs once as it is, with a mode that sees every operator and hooks that tell which module is running. So
any ``nn.Module`` can be traced, with whatever control flow; nothing is interpreted or rewritten. On the ``meta``
device only shapes are computed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from featherlight.cost.formulas import MACS, Shape


@dataclass(frozen=True)
class Call:
    """One operator that ran.

    Attributes:
        module: name of the innermost module that was running; empty for the network itself.
        operator: the operator, without its overload.
        arguments: positional; a tensor is its shape.
        output: shape of the first tensor it gave, or None.
        computed_bytes: size of that tensor; 0 for a view of an input.
        read_bytes: size of all tensors it was given.
        params: indices, in ``network.parameters()``, of the parameters it was given.
    """

    module: str
    operator: Any
    arguments: tuple[Any, ...]
    output: Shape | None
    computed_bytes: int
    read_bytes: int
    params: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-adds, by the table of formulas."""
        formula = MACS.get(self.operator)
        return formula(self.arguments, self.output) if formula and self.output is not None else 0


class Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's, as it is subclassed
    """Sees every operator that a network runs between ``with`` and its end.

    Attributes:
        calls: what ran, in order.
        containers: names of the modules that called other modules.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.containers: set[str] = set()
        self._running = [""]
        self._param_index = {id(parameter): index for index, parameter in enumerate(network.parameters())}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else PyTorch imports its compiler, which takes a second, only to keep it from compiling this

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs one operator; one that is made of others is taken apart first."""
        kwargs = kwargs or {}
        if _is_made_of_others(func):  # PyTorch takes these apart itself, save for weights made in inference mode
            with self:
                return func.decompose(*args, **kwargs)
        return self.run(func, args, kwargs)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Runs one operator and notes it."""
        result = func(*args, **kwargs)
        self.calls.append(self._describe(func, (*args, *kwargs.values()), result))
        return result

    @property
    def module(self) -> str:
        """Name of the module that is running."""
        return self._running[-1]

    def _describe(self, func: Any, given: tuple[Any, ...], result: Any) -> Call:
        tensors = {id(tensor): tensor for tensor in _tensors(given)}
        output = next(_tensors(result), None)
        is_view = func.is_view or func.overloadpacket is torch.ops.aten._unsafe_view
        return Call(
            module=self.module,
            operator=func.overloadpacket,
            arguments=tuple(tuple(value.shape) if isinstance(value, Tensor) else value for value in given),
            output=None if output is None else tuple(output.shape),
            computed_bytes=0 if output is None or is_view else output.nbytes,
            read_bytes=sum(tensor.nbytes for tensor in tensors.values()),
            params=tuple(self._param_index[key] for key in tensors if key in self._param_index),
        )

    @contextmanager
    def follow(self, network: nn.Module) -> Iterator[None]:
        """Keeps track of the module that is running."""
        hooks = []
        for name, module in network.named_modules():
            hooks.append(module.register_forward_pre_hook(lambda _module, _inputs, name=name: self._enter(name)))
            hooks.append(
                module.register_forward_hook(lambda _module, _inputs, _result: self._leave(), always_call=True)
            )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str) -> None:
        if name:  # the network itself stands on the stack from the start
            self.containers.add(self._running[-1])
        self._running.append(name)

    def _leave(self) -> None:
        self._running.pop()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in network.modules()]
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator would do a whole layer of a transformer
    try:
        with torch.inference_mode(False), torch.no_grad(), _eagerly():
            network.eval()
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_attention)
        if any(training for _, training in modes):
            network.train()  # not only the flags: some networks then forget what they prepared for evaluation
            for module, training in modes:
                module.training = training


def _eagerly() -> AbstractContextManager[None]:
    """Lets compiled networks run as they are written; without the compiler, which is slow to import, there are none."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    eager: AbstractContextManager[None] = torch.compiler.set_stance("force_eager")
    return eager


def trace(network: nn.Module, image: Tensor) -> Tracer:
    """Runs ``network`` on ``image`` in evaluation mode.

    Raises:
        Exception: whatever the network raises when it cannot take such an image.
    """
    tracer = Tracer(network)
    with evaluation_mode(network), tracer.follow(network), tracer:
        network(image)
    return tracer


def zeros_for(network: nn.Module, *shape: int) -> Tensor:
    """An input where the network's weights are, of their type."""
    tensors = [*network.parameters(), *network.buffers()]
    device = tensors[0].device if tensors else None
    dtype = next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)
    return torch.zeros(shape, device=device, dtype=dtype)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _is_made_of_others(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))
