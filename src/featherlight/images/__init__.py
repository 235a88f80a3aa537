"""Any image file becomes an RGB array as a person sees it; the one definition of resize, crop and normalisation."""

from featherlight.images.decode import MAX_PIXELS, ImageInput, load_image
from featherlight.images.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, normalize, resize_image

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MAX_PIXELS",
    "ImageInput",
    "Preprocessing",
    "load_image",
    "normalize",
    "resize_image",
]
