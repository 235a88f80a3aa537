"""A chain of convolutions, each with its batch norm and activation, computed by the kernels of ``chain.c``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from featherlight.errors import FeatherlightError

Kind = Literal["norm", "pointwise", "depthwise"]
ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 2}
PARAMETERS = 5  # of a link: weight, gamma, beta, running mean, running variance


@dataclass(frozen=True)
class Link:
    """One convolution with its batch norm and activation.

    Attributes:
        kind: ``norm`` is a batch norm of what comes in, without a convolution.
        activation: after the norm.
        groups: of a pointwise convolution.
        stride: of a depthwise convolution.
        padding: of a depthwise convolution.
        momentum: of the running statistics.
        eps: of the norm.
        shuffle: a pointwise convolution's input channels are first shuffled in that many groups; 1: not.
        shuffled: of a depthwise convolution: its parameters stand for channels that were shuffled in that many groups,
            but input and output are not; 0: they are. A shuffle in front of a depthwise convolution is the same as one
            behind it, where the next pointwise convolution undoes it for nothing.
    """

    kind: Kind
    activation: str
    groups: int = 1
    stride: int = 1
    padding: int = 0
    momentum: float = 0.1
    eps: float = 1e-5
    shuffle: int = 1
    shuffled: int = 0


class _Shape(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in (
            "images", "height", "width", "channels", "size", "stride", "pad", "out_height", "out_width",
        )
    )  # fmt: skip


@dataclass
class _State:
    """What the backward pass needs of a link."""

    raw: Tensor  # (N, H, W, C): before the norm
    norm: Tensor  # (4, C): s, t, mean, 1/std


def run_chain(
    library: ctypes.CDLL, links: Sequence[Link], x: Tensor, parameters: Sequence[Tensor], *, mixes: bool = False
) -> Tensor:
    """Computes a chain in training mode, and updates the running statistics.

    Args:
        library: the kernels.
        links: what to compute.
        x: float32 (N, C, H, W), channels last in memory.
        parameters: for each link its weight (of ``norm``: any tensor), gamma, beta, running mean and variance.
        mixes: a unit of ShuffleNetV2. The chain begins with a pointwise convolution, keeps the shape and computes the
            second half of the channels; then both halves are concatenated and shuffled in two groups.

    Returns:
        float32 (N, C', H', W'), channels last in memory.

    Raises:
        FeatherlightError: memory is short; the running statistics of the link at hand are as they were.
    """
    result: Tensor = _Chain.apply(library, tuple(links), mixes, x, *parameters)
    return result


def _address(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _integers(*values: int) -> list[ctypes.c_long]:
    return [ctypes.c_long(value) for value in values]


def _order(channels: int, groups: int) -> Tensor | None:
    """For each channel after a shuffle, the one before it that it is."""
    if groups == 1:
        return None
    return torch.arange(channels, dtype=torch.int32).view(groups, -1).t().reshape(-1).contiguous()


def _inverse(channels: int, groups: int) -> Tensor:
    """For each channel before a shuffle, the one after it that it becomes... read backwards: x[inverse] undoes it."""
    return torch.arange(channels).view(-1, groups).t().reshape(-1)


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, library: ctypes.CDLL, links: tuple[Link, ...], mixes: bool, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        value = x.permute(0, 2, 3, 1)
        strided = links[0].kind == "pointwise" and not mixes and _has_equal_rows(value)
        value = value if value.is_contiguous() or strided else value.contiguous()
        chain = _Runner(library, links, parameters, mixes)
        ctx.chain, ctx.needs_x = chain, x.requires_grad
        ctx.save_for_backward(x)  # the chain has it too; this notices when it is changed in between
        return chain.forward(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        _ = ctx.saved_tensors
        gradient = gradients[0].permute(0, 2, 3, 1).contiguous()
        found_x, found = ctx.chain.backward(gradient, ctx.needs_x)
        return None, None, None, None if found_x is None else found_x.permute(0, 3, 1, 2), *found


def _has_equal_rows(x: Tensor) -> bool:
    """Whether pixels (N, H, W, C) lie the same distance apart everywhere: some channels of a contiguous tensor."""
    _, height, width, _ = x.shape
    rows, columns, pixels, channels = x.stride()
    return channels == 1 and columns == width * pixels and rows == height * columns


class _Runner:
    """One pass through a chain, and back."""

    def __init__(
        self, library: ctypes.CDLL, links: tuple[Link, ...], parameters: Sequence[Tensor], mixes: bool
    ) -> None:
        self._library, self._links, self._mixes = library, links, mixes
        self._parameters = [tuple(parameters[i : i + PARAMETERS]) for i in range(0, len(parameters), PARAMETERS)]
        self._input = torch.empty(0)
        self._states: list[_State] = []

    def forward(
        self, x: Tensor
    ) -> Tensor:  # (N, H, W, C) -> (N, C, H, W), no view: what follows may change it in place
        half = x.shape[3] // 2
        self._input = x.narrow(3, half, half) if self._mixes else x
        source, norm, act = self._input, None, "none"
        for link, parameters in zip(self._links, self._parameters, strict=True):
            state = self._forward_link(link, parameters, source, norm, act)
            self._states.append(state)
            source, norm, act = state.raw, state.norm, link.activation
        assert norm is not None  # noqa: S101  (a chain has a link)
        channels = source.shape[3]
        head = _integers(source.numel() // channels, channels)
        middle = [_address(source), _address(norm[0]), _address(norm[1]), ctypes.c_int(ACTIVATIONS[act])]
        count, height, width, _ = source.shape
        outs = x.shape[3] if self._mixes else channels
        out = torch.empty(count, outs, height, width, memory_format=torch.channels_last)
        if self._mixes:
            self._call("leave_join", *head, *middle, _address(x), ctypes.c_long(x.shape[3]), _address(out))
        else:
            self._call("leave_forward", *head, *middle, _address(out), ctypes.c_long(channels))
        return out

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise FeatherlightError("there is not enough memory for a training step; take a smaller batch_size")

    def _forward_link(
        self, link: Link, parameters: tuple[Tensor, ...], x: Tensor, norm: Tensor | None, act: str
    ) -> _State:
        if link.shuffled:
            return self._forward_shuffled(link, parameters, x, norm, act)
        weight, *statistics = parameters
        count, height, width, ins = x.shape
        tail = [*map(_address, statistics), ctypes.c_double(link.momentum), ctypes.c_double(link.eps)]
        head = [_address(None), _address(None)] if norm is None else [_address(norm[0]), _address(norm[1])]
        code = ctypes.c_int(ACTIVATIONS[act])
        outs = statistics[0].shape[0]
        found = torch.empty(4, outs)
        if link.kind == "norm":
            y = x
            _check_count(y)
            self._call("norm_forward", *_integers(x.numel() // ins, ins), _address(x), *tail, _address(found))
        elif link.kind == "pointwise":
            y = torch.empty(count, height, width, outs)
            _check_count(y)
            order = _order(ins, link.shuffle)
            self._call(
                "pointwise_forward", *_integers(count * height * width, ins, outs, link.groups), _address(x),
                *_integers(x.stride(2)), *head, code, _address(order), _address(weight), _address(y), *tail, _address(found),
            )  # fmt: skip
        else:
            shape = _depthwise_shape(link, x, weight)
            y = torch.empty(count, shape.out_height, shape.out_width, outs)
            _check_count(y)
            self._call(
                "depthwise_forward", ctypes.byref(shape), _address(x), *head, code, _address(weight), _address(y),
                *tail, _address(found),
            )  # fmt: skip
        return _State(y, found)

    def _forward_shuffled(
        self, link: Link, parameters: tuple[Tensor, ...], x: Tensor, norm: Tensor | None, act: str
    ) -> _State:
        """With the parameters in the input's order."""
        back = _inverse(parameters[0].shape[0], link.shuffled)
        sorted_parameters = tuple(parameter[back] for parameter in parameters)
        state = self._forward_link(replace(link, shuffled=0), sorted_parameters, x, norm, act)
        for running, updated in zip(parameters[3:], sorted_parameters[3:], strict=True):
            running[back] = updated
        return state

    def backward(self, gradient: Tensor, needs_x: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        last = self._states[-1]
        channels = last.raw.shape[3]
        pixels = last.raw.numel() // channels
        sums = torch.empty(2, channels, dtype=torch.float64)
        g: Tensor | None = torch.empty_like(last.raw)
        arguments = [
            *_integers(pixels, channels), _address(gradient), _address(last.raw), *map(_address, last.norm[:3]),
            ctypes.c_int(ACTIVATIONS[self._links[-1].activation]), _address(g), _address(sums),
        ]  # fmt: skip
        whole: Tensor | None = None
        if self._mixes:
            whole = torch.empty_like(gradient)
            self._call("enter_split", *arguments, _address(whole), ctypes.c_long(gradient.shape[3]))
        else:
            self._call("enter_backward", *arguments)
        found: list[Tensor | None] = []
        for number in reversed(range(len(self._links))):
            assert g is not None  # noqa: S101  (only the first link may have none)
            g, sums, own = self._backward_link(number, g, sums, whole, needs_x=needs_x or number > 0)
            found = [*own, *found]
        return (g if whole is None else whole), found

    def _backward_link(
        self, number: int, g: Tensor, sums: Tensor, whole: Tensor | None, *, needs_x: bool
    ) -> tuple[Tensor | None, Tensor, list[Tensor | None]]:
        link, weight, state = self._links[number], self._parameters[number][0], self._states[number]
        back = _inverse(weight.shape[0], link.shuffled) if link.shuffled else None
        weight = weight if back is None else weight[back]
        outs = state.raw.shape[3]
        pixels = state.raw.numel() // outs
        coefficients = torch.empty(3, outs)
        gamma, beta = torch.empty(2, outs)
        self._call("norm_backward", *_integers(pixels, outs), _address(sums), _address(state.norm), _address(coefficients), _address(gamma),
            _address(beta),
        )  # fmt: skip
        if link.kind == "norm":
            self._call(
                "leave_backward", *_integers(pixels, outs), _address(g), _address(state.raw), _address(coefficients)
            )
            return g, sums, [None, gamma, beta, None, None]
        before = self._states[number - 1] if number else None
        x = before.raw if before else self._input
        ins = x.shape[3]
        gx = torch.empty(x.shape) if needs_x else None
        if whole is not None and before is None:
            gx = whole.narrow(3, ins, ins)
        dw = torch.empty_like(weight, memory_format=torch.contiguous_format)
        next_sums = torch.empty(2, ins, dtype=torch.float64)
        of_x = [
            _address(x),
            *([ctypes.c_long(x.stride(2))] if link.kind == "pointwise" else []),
            *(_address(before.norm[i] if before else None) for i in range(3)),
            ctypes.c_int(ACTIVATIONS[self._links[number - 1].activation] if before else 0),
        ]
        of_sums = _address(next_sums if before else None)
        if link.kind == "pointwise":
            order = _order(ins, link.shuffle)
            self._call("pointwise_backward", *_integers(pixels, ins, outs, link.groups), _address(g), _address(state.raw), _address(coefficients),
                *of_x, _address(order), _address(weight), _address(gx),
                *_integers(ins if gx is None else gx.stride(2)), of_sums, _address(dw),
            )  # fmt: skip
        else:
            gx = torch.empty(x.shape)
            self._call("depthwise_backward", ctypes.byref(_depthwise_shape(link, x, weight)), _address(g), _address(state.raw),
                _address(coefficients), *of_x, _address(weight), _address(gx), of_sums, _address(dw),
            )  # fmt: skip
        if back is not None:
            dw, gamma, beta = (torch.empty_like(found).index_copy_(0, back, found) for found in (dw, gamma, beta))
        return gx, next_sums, [dw, gamma, beta, None, None]


def _check_count(y: Tensor) -> None:
    if y.numel() <= y.shape[3]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(y.shape)}")


def _depthwise_shape(link: Link, x: Tensor, weight: Tensor) -> _Shape:
    count, height, width, channels = x.shape
    size = weight.shape[2]
    out_height, out_width = ((side + 2 * link.padding - size) // link.stride + 1 for side in (height, width))
    return _Shape(count, height, width, channels, size, link.stride, link.padding, out_height, out_width)
