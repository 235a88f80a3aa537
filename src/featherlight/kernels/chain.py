"""A chain of convolutions, each with its batch norm and activation, computed by the kernels of ``chain.c``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from featherlight.errors import FeatherlightError
from featherlight.kernels.library import Learned, Shape
from featherlight.kernels.links import ACTIVATIONS, PLAIN, Ending, Link

PARAMETERS = 5  # of a link: weight, gamma, beta, running mean, running variance
BYTES_OF_BFLOAT16 = 2


@dataclass
class _State:
    """What the backward pass needs of a link."""

    raw: Tensor  # (N, H, W, C): before the norm
    norm: Tensor  # (4, C): s, t, mean, 1/std


def run_chain(
    library: ctypes.CDLL,
    links: Sequence[Link],
    x: Tensor,
    parameters: Sequence[Tensor],
    ending: Ending = PLAIN,
    other: Tensor | None = None,
) -> Tensor:
    """Computes a chain in training mode, and updates the running statistics.

    Args:
        library: the kernels; tensors are kept in float32 or bfloat16, as these are compiled for.
        links: what to compute.
        x: (N, C, H, W), channels last in memory.
        parameters: for each link its weight (of ``norm``: any tensor), gamma, beta, running mean and variance.
        ending: what becomes of the result.
        other: the tensor that it is joined with or added to.

    Returns:
        (N, C', H', W') in the kernels' type, channels last in memory; of a mean (N, C') in float32.

    Raises:
        ValueError: shapes do not go together, or there is one value a channel.
        FeatherlightError: memory is short; the running statistics of the link at hand are as they were.
    """
    kept = torch.bfloat16 if library.bytes_a_number() == BYTES_OF_BFLOAT16 else torch.float32
    other = None if other is None else other.to(kept)
    result: Tensor = _Chain.apply(library, tuple(links), ending, x.to(kept), other, *parameters)
    return result


@lru_cache(maxsize=256)
def _inverse(channels: int, groups: int) -> Tensor:
    """For each channel before a shuffle, the one after it that it becomes... read backwards: x[inverse] undoes it."""
    return torch.arange(channels).view(-1, groups).t().reshape(-1)


def _pixels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        library: ctypes.CDLL,
        links: tuple[Link, ...],
        ending: Ending,
        x: Tensor,
        other: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        value = x.permute(0, 2, 3, 1)
        strided = links[0].kind == "pointwise" and ending.kind in ("plain", "join", "mean") and _has_equal_rows(value)
        value = value if strided else value.contiguous()
        if value.is_contiguous():  # with one pixel an image, strides may still be anything; these are the usual ones
            value = value.view(-1).view(value.shape)
        chain = _Runner(library, links, parameters, ending, value.dtype)
        ctx.chain, ctx.needs_x = chain, x.requires_grad
        out = chain.forward(value, None if other is None else _pixels_last(other))
        # The chain has x too; this notices when it is changed in between.
        ctx.save_for_backward(x, out if ending.activation != "none" else None)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        _, out = ctx.saved_tensors
        (given,) = gradients
        averages = ctx.chain.averages  # these are divided in place
        gradient = given.clone(memory_format=torch.contiguous_format) if averages else _pixels_last(given)
        found_x, found_other, found = ctx.chain.backward(gradient, out, ctx.needs_x)
        both = [None if tensor is None else tensor.permute(0, 3, 1, 2) for tensor in (found_x, found_other)]
        return None, None, None, *both, *found


def _has_equal_rows(x: Tensor) -> bool:
    """Whether pixels (N, H, W, C) lie the same distance apart everywhere: some channels of a contiguous tensor."""
    _, height, width, _ = x.shape
    rows, columns, pixels, channels = x.stride()
    return channels == 1 and columns == width * pixels and rows == height * columns


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class _Runner:
    """One pass through a chain, and back."""

    def __init__(
        self,
        library: ctypes.CDLL,
        links: tuple[Link, ...],
        parameters: Sequence[Tensor],
        ending: Ending,
        kept: torch.dtype,
    ) -> None:
        self._library, self._links, self._ending, self._kept = library, links, ending, kept
        self._parameters = [tuple(parameters[i : i + PARAMETERS]) for i in range(0, len(parameters), PARAMETERS)]
        self._input = torch.empty(0)
        self._states: list[_State] = []
        self._adds_input = False

    @property
    def averages(self) -> bool:
        """Whether the result is a mean over pixels."""
        return self._ending.kind == "mean"

    def _call(self, name: str, *arguments: Any) -> None:
        if getattr(self._library, name)(*arguments):
            raise FeatherlightError("there is not enough memory for a training step; take a smaller batch_size")

    def _empty(self, *shape: int) -> Tensor:
        """Memory for a large tensor."""
        tensor = torch.empty(shape, dtype=self._kept)
        self._library.use_large_pages(tensor.data_ptr(), tensor.nbytes)
        return tensor

    def forward(self, x: Tensor, other: Tensor | None) -> Tensor:
        """(N, H, W, C) -> (N, C, H, W), no view: what follows may change it in place."""
        half = x.shape[3] // 2
        self._input = x.narrow(3, half, half) if self._ending.kind == "split" else x
        self._adds_input = self._ending.kind == "add" and other is None
        value, norm, act = self._input, None, "none"
        for link, parameters in zip(self._links, self._parameters, strict=True):
            state = self._forward_link(link, parameters, value, norm, act)
            self._states.append(state)
            value, norm, act = state.raw, state.norm, link.activation
        return self._leave(x if other is None else other)

    def _leave(self, other: Tensor) -> Tensor:
        raw, norm, act = self._states[-1].raw, self._states[-1].norm, ACTIVATIONS[self._links[-1].activation]
        count, height, width, channels = raw.shape
        ending, pixels = self._ending, count * height * width
        if ending.kind in ("join", "add") and other.shape != raw.shape:
            raise ValueError(f"{tuple(other.shape)} does not go with a result of shape {tuple(raw.shape)}")
        if self.averages:
            means = torch.empty(count, channels)
            self._call("leave_mean", count, height * width, channels, *map(_address, (raw, norm)), act, _address(means))
            return means
        before = {"split": channels, "join": channels, "pool": other.shape[3]}.get(ending.kind, 0)
        whole = self._empty(count, height, width, before + channels)
        head = (pixels, channels, raw.data_ptr(), norm.data_ptr())
        if ending.kind in ("split", "join"):
            self._call("leave_join", *head, act, other.data_ptr(), other.shape[3], whole.data_ptr())
        elif ending.kind == "pool":
            middle = (channels, other.data_ptr(), *head[2:], ACTIVATIONS[ending.activation])
            self._call("leave_pool", _pooling(other, raw), *middle, whole.data_ptr())
        elif ending.kind == "add":
            self._call("leave_add", *head, ACTIVATIONS[ending.activation], other.data_ptr(), whole.data_ptr())
        else:
            self._call("leave_forward", *head, act, whole.data_ptr())
        out = torch.empty(0, dtype=self._kept)
        return out.set_(
            whole.untyped_storage(), 0, (count, whole.shape[3], height, width), whole.permute(0, 3, 1, 2).stride()
        )

    def _forward_link(
        self, link: Link, parameters: tuple[Tensor, ...], x: Tensor, norm: Tensor | None, act: str
    ) -> _State:
        if link.shuffled:
            return self._forward_shuffled(link, parameters, x, norm, act)
        weight, *statistics = parameters
        learned = ctypes.byref(Learned(*map(_address, statistics), link.momentum, link.eps))
        count, height, width, ins = x.shape
        outs = statistics[0].shape[0]
        found = torch.empty(4, outs)
        y = x
        if link.kind == "norm":
            _check_count(y)
            self._call("norm_forward", count * height * width, ins, _address(x), learned, _address(found))
        elif link.kind == "pointwise":
            y = self._empty(count, height, width, outs)
            _check_count(y)
            self._call(
                "pointwise_forward", count * height * width, ins, outs, link.groups, _address(x), x.stride(2),
                _address(norm), ACTIVATIONS[act], link.shuffle, _address(weight), _address(y), learned, _address(found),
            )  # fmt: skip
        else:
            shape = _shape(link, x, weight)
            y = self._empty(count, shape.out_height, shape.out_width, outs)
            _check_count(y)
            tail = (_address(y), learned, _address(found))
            if link.kind == "stem":
                numbers = _pixels_last(weight)
                head = (ctypes.byref(shape), outs, _address(x), _address(numbers))
                self._call("stem_forward", *head, *tail)
            else:
                inputs = (_address(x), _address(norm), ACTIVATIONS[act], _address(weight))
                self._call("depthwise_forward", ctypes.byref(shape), *inputs, *tail)
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

    def backward(
        self, gradient: Tensor, out: Tensor | None, needs_x: bool
    ) -> tuple[Tensor | None, Tensor | None, list[Tensor | None]]:
        """Gradients of x, of the other tensor, of the parameters; ``out``: where its activation needs it."""
        g, sums, left = self._enter(gradient, out)
        kind = self._ending.kind
        more = left if kind == "pool" else g if self._adds_input else None
        of_other = left if kind == "join" else g if kind == "add" and not self._adds_input else None
        whole = left if kind == "split" else None
        gx: Tensor | None = g
        found: list[Tensor | None] = []
        for number in reversed(range(len(self._links))):
            assert gx is not None  # noqa: S101  (only the first link may have none)
            first = number == 0
            gx, sums, own = self._backward_link(
                number, gx, sums, whole if first else None, more if first else None, needs_x=needs_x or not first
            )
            found = [*own, *found]
        return (gx if whole is None else whole), of_other, found

    def _enter(self, gradient: Tensor, out: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """The gradient before the last activation, its sums, and that of what the result is mixed with."""
        last, act = self._states[-1], self._links[-1].activation
        channels = last.raw.shape[3]
        sums = torch.empty(2, channels, dtype=torch.float64)
        head, tail = (last.raw.numel() // channels, channels, gradient.data_ptr(), last.raw.data_ptr()), sums.data_ptr()
        kind = self._ending.kind
        if kind in ("split", "join"):
            g = self._empty(*last.raw.shape)
            left = self._empty(*gradient.shape) if kind == "split" else self._empty(*last.raw.shape)
            middle: tuple[int | None, ...] = (_address(last.norm), ACTIVATIONS[act], left.data_ptr(), left.shape[3])
            self._call("enter_split", *head, *middle, g.data_ptr(), tail)
            return g, sums, left
        if kind == "pool":
            g, left = self._empty(*last.raw.shape), self._empty(*self._input.shape)
            middle = (channels, *head[2:], _address(last.norm), ACTIVATIONS[self._ending.activation], _address(out))
            self._call("enter_pool", _pooling(left, g), *middle, left.data_ptr(), g.data_ptr(), tail)
            return g, sums, left
        if self.averages:
            count, height, width, _ = last.raw.shape
            g = self._empty(*last.raw.shape)
            middle = (*head[2:], _address(last.norm), ACTIVATIONS[act])
            self._call("enter_mean", count, height * width, channels, *middle, g.data_ptr(), tail)
            return g, sums, None
        act = self._ending.activation if kind == "add" else act
        changes = len(self._links) == 1 and self._links[0].kind == "norm"  # what it gets, which is not ours
        g = gradient if act == "none" and not changes else self._empty(*last.raw.shape)
        middle = (_address(last.norm), ACTIVATIONS[act], _address(out))
        self._call("enter_backward", *head, *middle, g.data_ptr(), tail)
        return g, sums, None

    def _backward_link(
        self, number: int, g: Tensor, sums: Tensor, whole: Tensor | None, more: Tensor | None, *, needs_x: bool
    ) -> tuple[Tensor | None, Tensor, list[Tensor | None]]:
        link, weight, state = self._links[number], self._parameters[number][0], self._states[number]
        back = _inverse(weight.shape[0], link.shuffled) if link.shuffled else None
        weight = weight if back is None else weight[back]
        outs = state.raw.shape[3]
        pixels = state.raw.numel() // outs
        coefficients = torch.empty(3, outs)
        gamma, beta = torch.empty(2, outs)
        addresses = (_address(tensor) for tensor in (sums, state.norm, coefficients, gamma, beta))
        self._call("norm_backward", pixels, outs, *addresses)
        of_y = (_address(g), _address(state.raw), _address(coefficients))
        if link.kind == "norm":
            self._call("leave_backward", pixels, outs, *of_y)
            return g, sums, [None, gamma, beta, None, None]
        before = self._states[number - 1] if number else None
        x = before.raw if before else self._input
        ins = x.shape[3]
        norm, act = (before.norm, ACTIVATIONS[self._links[number - 1].activation]) if before else (None, 0)
        dw = torch.empty_like(weight, memory_format=torch.contiguous_format)
        next_sums = torch.empty(2, ins, dtype=torch.float64)
        of_sums = next_sums.data_ptr() if before else None
        if link.kind == "stem":
            gx, dw = self._backward_stem(link, weight, x, of_y, outs, g if needs_x else None)
        elif link.kind == "pointwise":
            gx = self._empty(*x.shape) if needs_x and whole is None else None
            if whole is not None:
                gx = whole.narrow(3, ins, ins)
            self._call(
                "pointwise_backward", pixels, ins, outs, link.groups, *of_y, _address(x), x.stride(2), _address(norm),
                act, link.shuffle, _address(weight), _address(gx), ins if gx is None else gx.stride(2), _address(more),
                of_sums, _address(dw),
            )  # fmt: skip
        else:
            gx = self._empty(*x.shape)
            self._call(
                "depthwise_backward", ctypes.byref(_shape(link, x, weight)), *of_y, _address(x), _address(norm), act,
                _address(weight), _address(gx), of_sums, _address(dw),
            )  # fmt: skip
        if back is not None:
            dw, gamma, beta = (torch.empty_like(found).index_copy_(0, back, found) for found in (dw, gamma, beta))
        return gx, next_sums, [dw, gamma, beta, None, None]

    def _backward_stem(
        self, link: Link, weight: Tensor, x: Tensor, of_y: tuple[int | None, ...], outs: int, g: Tensor | None
    ) -> tuple[Tensor | None, Tensor]:
        """Gradients of the images, where ``g`` is given, and of the weight."""
        shape, numbers = _shape(link, x, weight), _pixels_last(weight)
        dw = torch.empty_like(numbers)
        tail = (_address(x), _address(numbers), _address(dw))
        self._call("stem_backward", ctypes.byref(shape), outs, *of_y, *tail)
        gx = None
        if g is not None:  # images seldom want one: adversarial training
            dy = g.clone()
            self._call("leave_backward", dy.numel() // outs, outs, dy.data_ptr(), *of_y[1:])
            size = (x.shape[0], x.shape[3], *x.shape[1:3])
            convolved = conv2d_input(  # type: ignore[no-untyped-call]
                size, weight, dy.permute(0, 3, 1, 2).float(), link.stride, link.padding
            )
            gx = _pixels_last(convolved).to(self._kept)
        return gx, dw.permute(0, 3, 1, 2)


def _check_count(y: Tensor) -> None:
    if y.numel() <= y.shape[3]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(y.shape)}")


def _pooling(x: Tensor, pooled: Tensor) -> Any:
    """The shape of averaging 3 x 3 pixels at stride 2."""
    return ctypes.byref(Shape(*x.shape, 3, 2, 1, *pooled.shape[1:3]))


def _shape(link: Link, x: Tensor, weight: Tensor) -> Shape:
    count, height, width, channels = x.shape
    size = weight.shape[2]
    out_height, out_width = ((side + 2 * link.padding - size) // link.stride + 1 for side in (height, width))
    return Shape(count, height, width, channels, size, link.stride, link.padding, out_height, out_width)
