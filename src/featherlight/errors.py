"""What went wrong, where, and what to do about it.

Every mistake a user can make raises a :class:`FeatherlightError`; the command line prints its
message and exits with its ``exit_code``. A traceback on screen is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FeatherlightError(Exception):
    """A problem that the person at the keyboard can solve; the message says how.

    ``exit_code`` follows the command line's contract: 2, it could not run; 1, it ran and the
    answer is negative.
    """

    exit_code = 2


class UsageError(FeatherlightError):
    """An argument, option or field that does not exist or does not fit."""


class DataError(FeatherlightError):
    """Images, labels or folders that cannot be used as they are."""


class UnreadableImageError(DataError):
    """One image that cannot be decoded.

    Attributes:
        path: the file, as the user named it.
        reason: why it cannot be read, a few words.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableImageError], tuple[str, str]]:  # crosses process borders
        return type(self), (self.path, self.reason)


class ModelFileError(FeatherlightError):
    """A model file that is damaged, foreign or does not fit its network."""


class DownloadError(FeatherlightError):
    """A file that could not be fetched: no network, a server that refuses or breaks off, or the wrong content."""


class TrainingStoppedError(FeatherlightError):
    """Training ended before its time; what was reached is saved and can be resumed."""

    exit_code = 1


class TrainingInterruptedError(TrainingStoppedError):
    """Somebody stopped training; what was reached is saved and can be resumed."""


class MemoryExhaustedError(FeatherlightError):
    """There is not enough memory for what was asked."""


class GateFailedError(FeatherlightError):
    """An exported file gives other answers than its model; it did not get its name."""

    exit_code = 1


class MissingExtraError(FeatherlightError):
    """Something optional is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {package}, which is not installed. Run: pip install "featherlight[{extra}]"')


EXTRA_OF_MODULE = {
    "ai_edge_litert": "litert",
    "cleanlab": "labels",
    "datasets": "huggingface",
    "fastapi": "serve",
    "h5py": "convert",
    "matplotlib": "train",
    "ncnn": "ncnn",
    "nncf": "int8",
    "onnx": "onnx",
    "onnx_ir": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "optuna": "choose",
    "pnnx": "ncnn",
    "prometheus_client": "serve",
    "pyarrow": "data",
    "python_multipart": "serve",
    "ray": "ray",
    "tensorboard": "train",
    "timm": "timm",
    "torch": "train",
    "torchvision": "train",
    "uvicorn": "serve",
}


def explain_missing(error: ModuleNotFoundError, purpose: str) -> Exception:
    """The error to raise instead of ``error``: which extra brings the module, if one does."""
    module = (error.name or "").partition(".")[0]
    extra = EXTRA_OF_MODULE.get(module)
    return MissingExtraError(module, extra, purpose) if extra else error


NAMES_SHOWN = 20
NAME_LENGTH_SHOWN = 40


def quote_names(names: Sequence[str], limit: int = NAMES_SHOWN) -> str:
    """``'a', 'b' and 3 more``: names for a message, however many and long they are."""
    shown = ", ".join(repr(_shortened(name)) for name in names[:limit])
    return f"{shown} and {len(names) - limit:,} more" if len(names) > limit else shown


def did_you_mean(name: str, names: Iterable[str], *, most: int = 1) -> str:
    """`` did you mean A or B?``, the nearest of ``names``, to follow a message's semicolon; nothing if none is near."""
    near = difflib.get_close_matches(name.lower(), list(names), n=most)
    return f" did you mean {' or '.join(near)}?" if near else ""


def _shortened(name: str) -> str:
    return name if len(name) <= NAME_LENGTH_SHOWN else f"{name[:NAME_LENGTH_SHOWN]}..."
