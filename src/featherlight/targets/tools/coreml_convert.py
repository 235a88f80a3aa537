"""A program of torch.export to an .mlpackage of Core ML: ``python coreml_convert.py JOB ANSWER``.

Runs in the toolchain's own environment and imports nothing of Featherlight. The job: ``out`` (an .mlpackage) and
``metadata``, texts to put into it; with ``program`` (.pt2) it is made first. The answer is what its specification
says, read back from the files; to run them takes a Mac.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import coremltools
import torch

_DEBUG = "executorch_debug_handle_mapping.json"  # is no part of the package
OUTPUTS = ("logits", "probabilities")


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Does the job and reads the result back."""
    out = Path(job["out"])
    model = _convert(job["program"]) if "program" in job else _open(out)
    for name, text in job["metadata"].items():
        model.user_defined_metadata[name] = text
    described = out.with_name("described.mlpackage")  # the old one is read while the new one is written
    model.save(str(described))
    shutil.rmtree(out, ignore_errors=True)
    described.rename(out)
    (out / _DEBUG).unlink(missing_ok=True)
    return _read(str(out))


def _open(package: Path) -> coremltools.models.MLModel:
    return coremltools.models.MLModel(str(package), skip_model_load=True)


def _convert(program: str) -> coremltools.models.MLModel:
    exported = torch.export.load(program).run_decompositions()
    (image,) = exported.example_inputs[0]
    return coremltools.convert(
        exported,
        inputs=[coremltools.TensorType(name="input", shape=tuple(image.shape))],
        outputs=[coremltools.TensorType(name=name) for name in OUTPUTS],
        convert_to="mlprogram",
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    )


def _read(path: str) -> dict[str, Any]:
    spec = coremltools.utils.load_spec(path)
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return {
        "version": spec.specificationVersion,
        "inputs": {one.name: list(one.type.multiArrayType.shape) for one in spec.description.input},
        "outputs": {one.name: list(one.type.multiArrayType.shape) for one in spec.description.output},
        "operations": sum(operation.type != "const" for operation in block.operations),
        "metadata": dict(spec.description.metadata.userDefined),
    }


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
