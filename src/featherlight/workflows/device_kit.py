"""The device kit: a folder with all that a device needs to name images, and a sample to see that it does."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfile

import numpy as np
from PIL import Image

from featherlight.engines import Engine, prepare_image
from featherlight.errors import UnreadableImageError, UsageError
from featherlight.files import replace_folder, staging_folder
from featherlight.images import Preprocessing
from featherlight.metrics import softmax
from featherlight.model_file import EXPORTED_NAMES
from featherlight.report.rendering import load_template
from featherlight.targets.base import Target
from featherlight.workflows.verify import Reference

PACKAGES = {"litert": "ai-edge-litert", "coreml": "coremltools"}  # of the runtimes, where pip calls them otherwise
LABELS, SAMPLE, EXPECTED, SCRIPT = "labels.txt", "sample.png", "expected.json", "run.py"


def check_kit(out: Path) -> None:
    """Says at once what would only come out in the end.

    Raises:
        UsageError: ``out`` is taken.
    """
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= _names()):
        raise UsageError(f"{out} is not empty and is no earlier kit; choose another --kit")


def write_kit(out: Path, exported: Path, target: Target, engine: Engine, reference: Reference) -> Path:
    """Makes the folder.

    Args:
        out: the folder.
        exported: folder with the target's files.
        target: what wrote them.
        engine: with the exported model open.
        reference: images to take the sample out of.
    """
    with staging_folder(out) as folder:
        for name in target.file_names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            copyfile(exported / name, folder / name)
        names = [" ".join(name.split()) for name in engine.card.classes]  # a line each
        (folder / LABELS).write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="replace")
        _write_sample(folder, engine, reference, names)
        script = make_script(
            target.engine, target.file_names[0], engine.card.preprocessing, takes_images=engine.resizes
        )
        (folder / SCRIPT).write_text(script, encoding="utf-8")
        replace_folder(folder, out)
    return out


def make_script(engine: str, model: str, preprocessing: Preprocessing, *, takes_images: bool) -> str:
    """The text of ``run.py``, which needs only the runtime, NumPy and Pillow.

    Args:
        engine: that runs the file.
        model: the file's name.
        preprocessing: what the script does itself, unless the file does.
        takes_images: the file does.
    """
    fill = np.rint(np.clip(np.resize(preprocessing.mean, 3) * 255, 0, 255)).astype(int)
    return load_template("run.py.jinja").render(
        engine=engine,
        package=PACKAGES.get(engine, engine),
        model=model,
        takes_images=takes_images,
        preprocessing=preprocessing,
        scaled=round(preprocessing.input_size / preprocessing.crop_fraction),
        fill=tuple(fill.tolist()),
    )


def _write_sample(folder: Path, engine: Engine, reference: Reference, names: list[str]) -> None:
    """The first image that the model names with certainty enough that rounding cannot change it."""
    image = reference.images.read(_choose_sample(reference))
    Image.fromarray(image).save(folder / SAMPLE)
    probabilities = softmax(engine.logits(prepare_image(engine, image)[None]), engine.card.temperature)[0]
    best = int(probabilities.argmax())
    expected = {"label": names[best], "probability": round(float(probabilities[best]), 6)}
    (folder / EXPECTED).write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")


def _choose_sample(reference: Reference) -> int:
    best = np.sort(reference.logits, axis=1)
    margins = best[:, -1] - best[:, -2] if best.shape[1] > 1 else best[:, -1]
    for position in np.argsort(-margins, kind="stable"):
        try:
            reference.images.read(int(position))
        except UnreadableImageError:
            continue
        return int(position)
    raise UsageError("no image can be read any more to make a sample of")


def _names() -> set[str]:
    return {LABELS, SAMPLE, EXPECTED, SCRIPT, *EXPORTED_NAMES, "model.bin", "model.json", "model.mlpackage"}
