"""Where the time of a training step goes: each kind of operator beside its limits.

    OMP_NUM_THREADS=1 python benchmarks/kernels.py --models mobilenet_v1_x1_0 shufflenet_v2_x0_5 --batch 128 --size 32

First, whole steps (forwards, backwards, SGD with momentum; one thread) by PyTorch's plain eager float32 in its default
layout, by the kernels in float32, and by those in bfloat16 where the processor multiplies it, in turn. Then a table for
each way of the kernels: milliseconds a step of each kernel and of what is left to PyTorch. The arithmetic limit is what
products of large matrices reach here in float32 or bfloat16, the limit by bytes what a copy reaches, if each tensor is
read and written once; all are measured first. `ratio` is the measured time over the larger limit.

Times are CPU time of the process, so other processes disturb little: what they do to the caches.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import importlib
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from featherlight import create_model
from featherlight.cost.latency import machine_name
from featherlight.kernels import accelerate
from featherlight.kernels.library import Shape, has_bfloat16, load_kernels

MODELS = ("mobilenet_v1_x1_0", "shufflenet_v1_g3_x1_0", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0")
CLASSES = 10


@dataclass
class Row:
    """An operator's sums over some steps; seconds, operations, bytes."""

    seconds: float = 0.0
    operations: float = 0.0
    bytes: float = 0.0
    calls: int = 0

    def add(self, seconds: float, operations: float, count: float) -> None:
        self.seconds += seconds
        self.operations += operations
        self.bytes += count
        self.calls += 1


Rows = dict[str, Row]


def kernel_cost(name: str, numbers: list[int]) -> tuple[float, float]:
    """Operations and floats that a call moves at least; ``numbers`` are its leading whole arguments."""
    if name.startswith("depthwise"):
        images, height, width, channels, size, _, _, out_height, out_width = numbers[:9]
        ins, outs = images * height * width * channels, images * out_height * out_width * channels
        once = 2.0 * outs * size * size
        return (once, ins + outs) if name == "depthwise_forward" else (2 * once, 2 * (ins + outs))
    if name.startswith("pointwise"):
        pixels, ins, outs, groups = numbers[:4]
        once = 2.0 * pixels * ins * outs / groups
        moved = pixels * (ins + outs)
        return (once, moved) if name == "pointwise_forward" else (2 * once, 2 * moved)
    if name.startswith("stem"):
        images, height, width, channels, size, _, _, out_height, out_width, outs = numbers[:10]
        pixels = images * out_height * out_width
        moved = images * height * width * channels + pixels * outs * (1 if name == "stem_forward" else 2)
        return 2.0 * pixels * outs * channels * size * size, moved
    if name.endswith("_pool"):
        images, height, width, channels, _, _, _, out_height, out_width, others = numbers[:10]
        ins, outs = images * height * width * channels, images * out_height * out_width
        reads = 1 if name == "leave_pool" else 2
        return 0.0, ins + outs * (reads * others + reads * (channels + others))
    floats = {
        "norm_forward": 1, "leave_forward": 2, "leave_add": 3, "leave_join": 4, "leave_backward": 3,
        "enter_backward": 3, "enter_split": 5,
    }  # fmt: skip
    return 0.0, floats[name] * numbers[0] * numbers[1] if name in floats else 0


class TimedLibrary:
    """The kernels, each call measured."""

    def __init__(self, library: ctypes.CDLL, rows: Rows) -> None:
        self._library, self._rows = library, rows

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = getattr(self._library, name)

        def call(*arguments: Any) -> int:
            begun = time.thread_time()
            result: int = function(*arguments)
            seconds = time.thread_time() - begun
            operations, floats = kernel_cost(name, _numbers(arguments))
            self._rows[name].add(seconds, operations, self._library.bytes_a_number() * floats)
            return result

        return call


def _numbers(arguments: tuple[Any, ...]) -> list[int]:
    found: list[int] = []
    for argument in arguments:
        shape = getattr(argument, "_obj", None)  # passed by reference
        if isinstance(shape, Shape):
            found += [getattr(shape, name) for name, *_ in shape._fields_]
        elif isinstance(argument, int):
            found.append(argument)
    return found


class TimedOperators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """PyTorch's operators, each call measured."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows = rows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        begun = time.thread_time()
        result = func(*args, **(kwargs or {}))
        seconds = time.thread_time() - begun
        packet = func.overloadpacket
        flops = flop_registry[packet](*args, **(kwargs or {}), out_val=result) if packet in flop_registry else 0
        tensors = [x for x in [*_flat(args), *_flat(result)] if isinstance(x, Tensor)]
        moved = 0 if "empty" in str(packet) else sum(x.numel() * x.element_size() for x in tensors)
        self._rows[f"torch {str(packet).removeprefix('aten.')}"].add(seconds, flops, moved)
        return result


def _flat(value: Any) -> list[Any]:
    return [x for item in value for x in _flat(item)] if isinstance(value, (tuple, list)) else [value]


class Step:
    """One way to train a network."""

    def __init__(self, model: nn.Module, compute: Callable[[Tensor], Tensor], batch: int, size: int) -> None:
        self._compute = compute
        fused = True if compute is not model else None  # as in training, or as in tutorials
        self._optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, fused=fused)
        channels_last = next(p for p in model.parameters() if p.dim() == 4)
        is_last = channels_last.is_contiguous(memory_format=torch.channels_last)
        images = torch.randn(batch, 3, size, size)
        self._images = images.contiguous(memory_format=torch.channels_last) if is_last else images
        self._labels = torch.randint(CLASSES, (batch,))

    def __call__(self) -> None:
        self._optimizer.zero_grad()
        F.cross_entropy(self._compute(self._images), self._labels).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def seconds_of(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def product_limit(kind: torch.dtype) -> float:
    """Operations a second of products of large matrices."""
    a = torch.randn(1024, 1024).to(kind)
    return 2 * 1024**3 / min(seconds_of(lambda: a @ a) for _ in range(10))


def copy_limit() -> float:
    """Bytes a second."""
    a = torch.randn(16 * 2**20)
    b = torch.empty_like(a)
    return 8 * a.numel() / min(seconds_of(lambda: b.copy_(a)) for _ in range(10))


def profile(plain: nn.Module, batch: int, size: int, steps: int, *, reduced: bool) -> tuple[Rows, float]:
    """Rows and seconds of a step, from ``steps`` of them."""
    library = load_kernels(bfloat16=reduced)
    if library is None:
        raise SystemExit("there is no C compiler here")
    rows: Rows = defaultdict(Row)
    module: Any = importlib.import_module("featherlight.kernels.exchange")
    module.load_kernels = lambda **_: TimedLibrary(library, rows)
    model = copy.deepcopy(plain).to(memory_format=torch.channels_last).train()
    step = Step(model, accelerate(model, reduced=reduced) or model, batch, size)
    step()
    rows.clear()
    with TimedOperators(rows):
        total = sum(seconds_of(step) for _ in range(steps))
    module.load_kernels = load_kernels
    return rows, total / steps


def compare(plain: nn.Module, batch: int, size: int, rounds: int, kinds: list[bool]) -> list[float]:
    """Medians of a step's seconds: PyTorch's plain loop, the kernels of each kind."""
    eager = copy.deepcopy(plain).train()
    ways = [Step(eager, eager, batch, size)]
    for reduced in kinds:
        fast = copy.deepcopy(plain).to(memory_format=torch.channels_last).train()
        ways.append(Step(fast, accelerate(fast, reduced=reduced) or fast, batch, size))
    found: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way in range(len(ways))[:: 1 if number % 2 else -1]:
            seconds = seconds_of(ways[way])
            if number:
                found[way].append(seconds)
    return [median(seconds) for seconds in found]


def print_rows(rows: Rows, total_s: float, steps: int, limits: tuple[float, float]) -> None:
    print("| operator | calls | ms | arithmetic limit, ms | limit by bytes, ms | ratio |\n|---|---|---|---|---|---|")
    ordered = sorted(rows.items(), key=lambda item: -item[1].seconds)
    shown = [item for item in ordered if item[1].seconds > 0.003 * total_s * steps]
    for name, row in shown:
        arithmetic, moved = row.operations / limits[0] / steps, row.bytes / limits[1] / steps
        ratio = row.seconds / steps / max(arithmetic, moved, 1e-9)
        print(
            f"| {name} | {row.calls / steps:.0f} | {row.seconds / steps * 1e3:.2f} | {arithmetic * 1e3:.2f} | "
            f"{moved * 1e3:.2f} | {ratio:.1f} |"
        )
    rest = total_s - sum(row.seconds for _, row in shown) / steps
    print(f"| everything else (Python, autograd, small operators, measuring) | | {rest * 1e3:.2f} | | | |\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3, help="measured for the tables")
    parser.add_argument("--rounds", type=int, default=5, help="of whole steps; 0: tables alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    kinds = {False: "float32", True: "bfloat16"} if has_bfloat16() else {False: "float32"}
    limits = {reduced: product_limit(getattr(torch, kind)) for reduced, kind in kinds.items()}
    copied = copy_limit()
    products = ", ".join(f"{kinds[reduced]} products {limit / 1e9:.0f} GFLOP/s" for reduced, limit in limits.items())
    print(
        f"{machine_name()}; torch {torch.__version__}; one thread; {products}, copies {copied / 1e9:.1f} GB/s; ", end=""
    )
    print(f"copies {copied / 1e9:.1f} GB/s; {arguments.size} px, batch {arguments.batch}\n")
    for name in arguments.models:
        model = create_model(name, CLASSES, input_size=arguments.size)
        print(f"## {name}\n", flush=True)
        if arguments.rounds:
            eager, *fast = compare(model, arguments.batch, arguments.size, arguments.rounds, list(kinds))
            print(f"eager {eager * 1e3:.0f} ms a step", end="")
            for kind, seconds in zip(kinds.values(), fast, strict=True):
                print(f"; kernels, {kind}, {seconds * 1e3:.0f} ms: {eager / seconds:.2f} times as fast", end="")
            print("\n")
        for reduced, kind in kinds.items():
            print(f"### Kernels, {kind}\n")
            rows, total = profile(model, arguments.batch, arguments.size, arguments.steps, reduced=reduced)
            print_rows(rows, total, arguments.steps, (limits[reduced], copied))


if __name__ == "__main__":
    main()
