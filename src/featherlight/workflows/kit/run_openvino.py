"""Names what is in images: python run.py IMAGE ...; without any, checks the sample.

Needs: pip install openvino pillow
"""

import json
import sys
from pathlib import Path

import numpy as np
import openvino
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
LABELS = (HERE / "labels.txt").read_text(encoding="utf-8").splitlines()
MODEL = openvino.Core().compile_model(HERE / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def predict(path):
    """The likeliest class and its probability; the model resizes and normalises by itself."""
    with Image.open(path) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    probabilities = MODEL({"image": pixels[None]})["probabilities"]
    best = int(probabilities[0].argmax())
    return LABELS[best], float(probabilities[0][best])


if len(sys.argv) > 1:
    for name in sys.argv[1:]:
        label, probability = predict(name)
        print(f"{name}: {label} {probability:.1%}")
else:
    expected = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))
    label, probability = predict(HERE / "sample.png")
    is_right = label == expected["label"] and abs(probability - expected["probability"]) < 1e-3
    print(f"sample.png: {label} {probability:.1%}, {'as expected' if is_right else f'but expected: {expected}'}")
    sys.exit(0 if is_right else 1)
