"""Any image file becomes an RGB array as a person sees it; the one definition of resize, crop and normalisation."""

from featherlight.images.decode import (
    ImageInput,
    describe_image,
    load_image,
    measure_image,
    quiet_pillow,
    reason_unreadable,
)
from featherlight.images.limits import MAX_PIXELS
from featherlight.images.opening import MAX_FILE_BYTES, is_image_file, open_file, read_file
from featherlight.images.preprocess import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preprocessing,
    normalize,
    resize_image,
    trim_image,
)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MAX_FILE_BYTES",
    "MAX_PIXELS",
    "ImageInput",
    "Preprocessing",
    "describe_image",
    "is_image_file",
    "load_image",
    "measure_image",
    "normalize",
    "open_file",
    "quiet_pillow",
    "read_file",
    "reason_unreadable",
    "resize_image",
    "trim_image",
]
