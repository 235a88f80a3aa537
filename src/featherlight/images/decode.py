"""Any image file becomes an RGB array as a person sees it, or an error with a short reason."""

from __future__ import annotations

import ctypes
import io
import logging
import os
import warnings
from contextlib import AbstractContextManager, suppress
from functools import partial
from types import TracebackType
from typing import BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, _imaging

from featherlight.errors import UnreadableImageError
from featherlight.images.limits import (
    MAX_PIXELS,
    ForkSafeLock,
    RefusedError,
    as_file,
    check_picture,
    check_size,
    in_turn,
)
from featherlight.images.opening import SIGNATURES, contents_of

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | NDArray[np.uint8]

# Named one by one: Pillow's full list has readers that start other programs (EPS) or are rarely tested.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIXTEEN_TO_EIGHT = ((np.arange(65536) + 128) // 257).astype(np.uint8)  # 65535 / 257 = 255, rounded to nearest


def load_image(image: ImageInput, name: str | None = None, at_least: int = 0) -> NDArray[np.uint8]:
    """Decodes an image as a person sees it: upright, on white where transparent, 8 bits, the first frame.

    Args:
        image: path, encoded bytes, binary file, Pillow image, or uint8 array (H, W), (H, W, 1), (H, W, 3), (H, W, 4).
        name: what errors call the image; the path or file name if not given.
        at_least: 0: exactly the image. Else a JPEG is decoded at the smallest of 1/1, 1/2, 1/4, 1/8 of its size whose
            sides both have at least so many pixels, several times faster: libjpeg leaves out what is not needed. The
            pixels then differ slightly from a full decode that is scaled, so this is for training only.

    Returns:
        RGB, uint8, shape (H, W, 3).

    Raises:
        UnreadableImageError: missing, empty, no image, truncated, damaged, or more than ``MAX_PIXELS`` pixels.
    """
    shown = name if name is not None else _name_of(image)
    try:
        with _QUIET_PILLOW:
            return _decode(image, at_least)
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        raise UnreadableImageError(shown, reason_unreadable(error)) from error


def _silence_decoders() -> None:
    """Pillow's log and libtiff say what they think of a damaged file on standard error, amid progress bars."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with suppress(OSError, AttributeError):  # where libtiff is linked so that it cannot be told
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


_silence_decoders()


class _QuietPillow(AbstractContextManager[None]):
    """Keeps Pillow's warnings to itself while any thread is inside.

    ``warnings.catch_warnings`` alone is not made for threads: two that overlap can leave the filters changed for good.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._inside = 0
        self._saved = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_QUIET_PILLOW = _QuietPillow()


def quiet_pillow() -> AbstractContextManager[None]:
    """Keeps Pillow's warnings to itself; around many images it saves each of them the change of filters."""
    return _QUIET_PILLOW


def _name_of(image: ImageInput) -> str:
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    name = getattr(image, "name", None) or getattr(image, "filename", None)  # open files; Pillow's images
    return name if isinstance(name, str) else "image"


def describe_image(encoded: bytes) -> tuple[str, str, bool]:
    """How an image that can be decoded is stored.

    Args:
        encoded: the file's bytes.

    Returns:
        Pillow's mode (``RGB``, ``L``, ``P``, ``CMYK``, ...), its format (``JPEG``, ``PNG``, ...) and whether there is
        more than one frame.
    """
    with _QUIET_PILLOW, Image.open(as_file(encoded), formats=_FORMATS) as image:
        try:
            is_animated = bool(getattr(image, "is_animated", False))
        except Exception:  # frames behind the first may be damaged in any way
            is_animated = False
        return image.mode, image.format or "", is_animated


def measure_image(encoded: bytes, name: str = "image") -> tuple[int, int]:
    """Width and height that an image's header claims; nothing is decoded.

    Raises:
        UnreadableImageError: empty, no image, or one that :func:`load_image` refuses by its header.
    """
    try:
        with _QUIET_PILLOW, _open_checked(encoded) as image:
            return image.size
    except Exception as error:
        raise UnreadableImageError(name, reason_unreadable(error)) from error


def _decode(image: ImageInput, at_least: int) -> NDArray[np.uint8]:
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if isinstance(image, Image.Image):
        return _to_rgb(image)
    if isinstance(image, bytes):
        return _from_bytes(image, at_least)
    if isinstance(image, (str, os.PathLike)):
        with contents_of(image) as data:
            return _from_bytes(data, at_least)
    if image.seekable():
        image.seek(0)
    return _from_bytes(image.read(), at_least)


def _from_array(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise RefusedError(f"an array of {image.dtype} with shape {image.shape}, not uint8 (H, W), (H, W, 1|3|4)")
    check_size(image.shape[1], image.shape[0])
    if channels == 3:
        return np.ascontiguousarray(image)
    return _to_rgb(Image.fromarray(image[:, :, 0] if image.ndim == 3 and channels == 1 else image))


def _from_bytes(data: bytes, at_least: int) -> NDArray[np.uint8]:
    with _open_checked(data) as opened:
        return in_turn(partial(_to_rgb, opened, at_least), *opened.size)


def _open_checked(data: bytes) -> Image.Image:
    if not data:
        raise RefusedError("empty file")
    file = as_file(data)
    opened = _open(file, data)
    check_picture(opened, file)  # the whole of it: whether an image is read does not depend on who asks
    return opened


def _open(file: io.BytesIO, data: bytes) -> Image.Image:
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        known = data.startswith(SIGNATURES)
        reason = "truncated or damaged" if known else "not an image (PNG, JPEG, WebP, BMP, GIF, TIFF or PPM)"
        raise RefusedError(reason) from None
    except OSError:
        if data.startswith(b"RIFF") and int.from_bytes(data[4:8], "little") + 8 > len(data):
            raise RefusedError("truncated") from None  # libwebp does not say why it will not
        raise


def _to_rgb(image: Image.Image, at_least: int = 0) -> NDArray[np.uint8]:
    check_size(*image.size)
    if at_least:
        image.draft(None, (at_least, at_least))
    image.load()
    if image.mode == "P" and image.palette is None:
        raise RefusedError("damaged: its palette is missing")
    if image.mode[0] in "IF":
        rgb = Image.fromarray(_to_eight_bits(image)).convert("RGB")
    elif image.has_transparency_data:
        rgb = Image.new("RGB", image.size, "white")
        coloured = _convert(image, "RGBA")
        rgb.paste(coloured, mask=coloured)
    else:
        rgb = _convert(image, "RGB")
    turn = _UPRIGHT.get(_orientation(image))
    return np.array(rgb if turn is None else rgb.transpose(turn))


def _convert(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # Pillow would copy


def _orientation(image: Image.Image) -> int:
    # After load(): TIFF turns itself upright there, and PNG may carry its EXIF behind the pixels.
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF beside good pixels: viewers show the pixels as stored
        return 1


def _to_eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Grey of more than 8 bits. 16-bit is scaled by its full range; int32 and float have none, so it is inferred."""
    if image.mode.startswith("I;16"):
        scaled: NDArray[np.uint8] = _SIXTEEN_TO_EIGHT[np.asarray(image)]
        return scaled
    values: NDArray[np.float32] = np.array(image, np.float32)
    is_finite = np.isfinite(values)
    if not is_finite.any():
        return np.zeros(values.shape, np.uint8)
    low = float(values.min(where=is_finite, initial=np.inf))
    high = float(values.max(where=is_finite, initial=-np.inf))
    black, white = _infer_range(image, low, high)
    if white == black:
        return np.zeros(values.shape, np.uint8)
    np.nan_to_num(values, copy=False, nan=black, posinf=high, neginf=low)
    factor = 255 / (white - black)
    values *= factor
    values -= black * factor
    np.rint(np.clip(values, 0, 255, out=values), out=values)
    return values.astype(np.uint8)


def _infer_range(image: Image.Image, low: float, high: float) -> tuple[float, float]:
    sixteen_bits = getattr(image, "format", None) in ("PNG", "PPM")  # before Pillow 11.3 these come as mode "I"
    if low < 0 or high > 65535:
        return low, high
    if image.mode == "F" and high <= 1:
        return 0.0, 1.0
    return (0.0, 255.0) if high <= 255 and not sixteen_bits else (0.0, 65535.0)


def reason_unreadable(error: Exception) -> str:
    """Why an image cannot be read, in a few words."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, UnreadableImageError):
        return error.reason
    by_type: tuple[tuple[type[Exception], str], ...] = (
        (FileNotFoundError, "no such file"),
        (IsADirectoryError, "a folder, not an image"),
        (PermissionError, "no permission to read it"),
        (MemoryError, "needs more memory than there is"),
        (Image.DecompressionBombError, f"too large: at most {MAX_PIXELS // 10**6} million pixels are read"),
        (EOFError, "truncated"),
    )
    for kind, reason in by_type:
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and error.strerror:  # of the system: links in a circle, a lost disk, too long a name
        return f"cannot be read: {error.strerror.lower()}"
    return "truncated" if "truncated" in str(error).lower() else "damaged"
