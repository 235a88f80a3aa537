"""The kernels' shared library: compiled by the system's C compiler on first use, kept in the cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from featherlight.console import note
from featherlight.cost.latency import machine_name
from featherlight.errors import FeatherlightError
from featherlight.files import atomic_path, cache_folder

SOURCE = Path(__file__).with_name("chain.c")  # it includes the headers beside it
# Reassociated sums let loops over channels become vector instructions; the order is fixed by the compiled code.
# Not -ffast-math, which would also flush small numbers to zero in the whole process.
FLAGS = (
    "-O3", "-march=native", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-fno-math-errno",
    "-ffp-contract=fast", "-fopenmp", "-shared", "-fPIC", "-w",
)  # fmt: skip
BFLOAT16 = ("-DBFLOAT16",)
COMPILE_TIMEOUT_S = 300
# What the kernels take: n a whole number, i a small one, p an address.
_SIGNATURES = {
    "bytes_a_number": "",
    "knows_bfloat16": "",
    "keep_memory": "",
    "try_tiles": "",
    "use_large_pages": "pn",
    "norm_forward": "nnppp",
    "norm_backward": "nnppppp",
    "pointwise_forward": "nnnnpnpinpppp",
    "pointwise_backward": "nnnnppppnpinppnppp",
    "stem_forward": "pnppppp",
    "stem_backward": "pnpppppp",
    "depthwise_forward": "pppipppp",
    "depthwise_backward": "ppppppipppp",
    "leave_forward": "nnppip",
    "leave_add": "nnppipp",
    "leave_join": "nnppipnp",
    "leave_backward": "nnppp",
    "enter_backward": "nnpppippp",
    "enter_split": "nnpppipnpp",
    "leave_pool": "pnpppip",
    "enter_pool": "pnpppipppp",
    "leave_mean": "nnnppip",
    "enter_mean": "nnnpppipp",
}
_TYPES = {"n": ctypes.c_long, "i": ctypes.c_int, "p": ctypes.c_void_p}


class Shape(ctypes.Structure):
    """Of a convolution with a square window."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in (
            "images", "height", "width", "channels", "size", "stride", "pad", "out_height", "out_width",
        )
    )  # fmt: skip


class Learned(ctypes.Structure):
    """What a batch norm learns and keeps."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("gamma", "beta", "running_mean", "running_var")),
        ("momentum", ctypes.c_double),
        ("eps", ctypes.c_double),
    )


@cache
def load_kernels(*, bfloat16: bool = False) -> ctypes.CDLL | None:
    """The library, or None where it cannot be had; says why in one line, once.

    Args:
        bfloat16: the one whose tensors hold bfloat16, for processors that multiply it.
    """
    if os.environ.get("FEATHERLIGHT_KERNELS") == "off":
        return None
    try:
        library = open_kernels(compile_kernels(extra_flags=BFLOAT16 if bfloat16 else ()))
    except (OSError, FeatherlightError) as error:
        note(f"speed: training goes on with PyTorch's operators alone ({error})")
        return None
    library.keep_memory()
    library.try_tiles()
    return library


@cache
def prepare_kernels() -> None:
    """Compiles what this processor can use and was not compiled before, so that no run's time is spent on it."""
    if os.environ.get("FEATHERLIGHT_KERNELS") == "off":
        return
    with contextlib.suppress(OSError, FeatherlightError):  # load_kernels says why
        missing = [flags for flags in _useful_flags() if not library_path(flags).is_file()]
        if missing:
            note("speed: kernels for this processor are being compiled, once; that is not counted as training")
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda flags: compile_kernels(extra_flags=flags), missing))


def _useful_flags() -> list[tuple[str, ...]]:
    return [(), BFLOAT16] if "avx512_bf16" in _instructions() else [()]


def has_bfloat16() -> bool:
    """Whether the kernels compute in bfloat16 on this processor."""
    library = load_kernels()
    return library is not None and bool(library.knows_bfloat16())


def open_kernels(path: Path) -> ctypes.CDLL:
    """A compiled library.

    Raises:
        OSError: it cannot be opened.
        FeatherlightError: it is not whole.
    """
    library = ctypes.CDLL(str(path))
    for name, signature in _SIGNATURES.items():
        if not hasattr(library, name):
            raise FeatherlightError(f"{path} is damaged; delete it, and it will be made anew")
        getattr(library, name).argtypes = [_TYPES[letter] for letter in signature]
    return library


def find_compiler() -> str:
    """The system's C compiler, or the one that ``$CC`` names.

    Raises:
        FeatherlightError: there is none.
    """
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)
    if compiler is None or platform.system() == "Windows":
        raise FeatherlightError("there is no C compiler (cc); install gcc or clang for faster training")
    return compiler


def compile_kernels(folder: Path | None = None, extra_flags: tuple[str, ...] = ()) -> Path:
    """Compiles the kernels for this processor, unless that was done before.

    Args:
        folder: where libraries are kept; by default in the cache folder.
        extra_flags: for the compiler.

    Raises:
        FeatherlightError: there is no compiler, or it fails.
    """
    target = library_path(extra_flags, folder)
    if not target.is_file():
        with atomic_path(target) as temporary:
            _run([find_compiler(), *FLAGS, *extra_flags, str(SOURCE), "-o", str(temporary), "-lm"])
    return target


def library_path(extra_flags: tuple[str, ...] = (), folder: Path | None = None) -> Path:
    """Where the library of these flags is, or will be.

    Raises:
        FeatherlightError: there is no compiler, and so no library.
    """
    return (folder or cache_folder() / "kernels") / _library_name(find_compiler(), (*FLAGS, *extra_flags))


def _library_name(compiler: str, flags: tuple[str, ...]) -> str:
    """Another one for other sources, compilers and processors."""
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCE.parent.glob("*.[ch]"))]
    subject = (sources, flags, machine_name(), platform.machine(), _instructions(), compiler)
    return f"kernels-{hashlib.sha256(repr(subject).encode()).hexdigest()[:16]}.so"


def _instructions() -> str:
    """What the processor knows: machines that share a cache folder may have one name and different processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise FeatherlightError(f"the C compiler cannot be run: {error}") from error
    if done.returncode:
        raise FeatherlightError(f"the C compiler fails: {done.stderr.strip()[:300]}")
