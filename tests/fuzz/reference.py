"""What Pillow makes of an image, in the plainest way: the measure for what Featherlight makes of it."""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from featherlight.errors import UnreadableImageError
from featherlight.images import MAX_PIXELS, describe_image, load_image

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def decode_plainly(data: bytes) -> np.ndarray | None:
    """RGB uint8 (H, W, 3), upright, on white; None when there is nothing to see.

    Images of more than 8 bits come as their mode's numbers (H, W): how they become 8 bits is not Pillow's to say.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                image.load()
                if image.mode == "P" and image.palette is None:  # Pillow shows bare numbers, browsers show nothing
                    return None
                with suppress(Exception):  # EXIF that cannot be read, or, once all is turned, not written anew
                    ImageOps.exif_transpose(image, in_place=True)
                return _flatten(image)
        except Exception:
            return None


def _flatten(image: Image.Image) -> np.ndarray:
    if image.mode[0] in "IF":
        return np.array(image)
    if image.has_transparency_data:
        over = image.convert("RGBA")
        image = Image.new("RGBA", over.size, "white")
        image.alpha_composite(over)
    return np.array(image.convert("RGB"))


def find_difference(data: bytes, path: Path) -> str | None:
    """How Featherlight differs from Pillow on an image, or None; ``path`` is overwritten with it."""
    path.write_bytes(data)
    expected, found, from_file, small = decode_plainly(data), _read(data), _read(path), _read(data, 5)
    readable = {name: isinstance(image, np.ndarray) for name, image in (("file", from_file), ("draft", small))}
    if isinstance(found, str):
        if expected is not None:
            return f"reported ({found}), but Pillow shows {expected.shape}"
        return None if found and not any(readable.values()) else f"reported ({found!r}), but not as {readable}"
    if expected is None:
        return f"shows {found.shape}, but Pillow shows nothing"
    if not all(readable.values()):
        return f"shown, but not as {readable}"
    if not np.array_equal(found, from_file):
        return "the file gives other pixels than its bytes"
    describe_image(data)
    return _compare_pixels(found, expected)


def _read(image: bytes | Path, at_least: int = 0) -> np.ndarray | str:
    try:
        return load_image(image, at_least=at_least)
    except UnreadableImageError as error:
        return error.reason


def _compare_pixels(found: np.ndarray, expected: np.ndarray) -> str | None:
    if found.shape != (*expected.shape[:2], 3):
        return f"shape {found.shape}, Pillow's {expected.shape}"
    if expected.ndim == 2:  # more than 8 bits: brighter stays brighter
        grey = found[..., 0][~np.isnan(expected)].astype(int)
        order = np.argsort(expected[~np.isnan(expected)], kind="stable")
        return None if (np.diff(grey[order]) >= 0).all() else "grey levels change order"
    return None if np.array_equal(found, expected) else f"{(found != expected).any(axis=2).sum()} pixels differ"
