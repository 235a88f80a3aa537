"""Make an ONNX file, and run it in a program that has neither Featherlight nor PyTorch.

    python examples/export_and_run.py runs/a photo.jpg

``name_image`` is the part for your own program. It needs ``pip install onnxruntime pillow`` and nothing else: resizing
and normalisation are inside the file, class names are in its metadata.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def export(model: str, out: Path) -> Path:
    """Writes the file; it gets its name only if it gives the model's answers on the validation images."""
    import featherlight

    exported = featherlight.export(model, "onnx", out=out)
    print(f"{exported.path}: {exported.size_bytes / 1e6:.2f} MB, {exported.verification.agreement:.1%} named alike")
    return exported.path


def name_image(model: Path, image: Path) -> tuple[str, float]:
    """The label of one image and its probability, by ONNX Runtime alone."""
    session = onnxruntime.InferenceSession(str(model))
    with Image.open(image) as opened:
        pixels = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    (probabilities,) = session.run(["probabilities"], {"image": pixels[None]})
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    best = int(probabilities[0].argmax())
    return classes[best], float(probabilities[0, best])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("image", type=Path)
    parser.add_argument("--out", type=Path, default=Path("exported.onnx"))
    given = parser.parse_args()
    label, probability = name_image(export(given.model, given.out), given.image)
    print(f"{given.image}: {label}, {probability:.1%}")
