"""The ncnn target: two files, made by ``pnnx`` of what the ONNX target writes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from featherlight.engines.exported import LOGITS, PROBABILITIES, TENSOR, ExportedCard, Input
from featherlight.engines.ncnn import INPUT
from featherlight.engines.sidecar import write_sidecar
from featherlight.errors import FeatherlightError, UsageError
from featherlight.targets.base import Draft
from featherlight.targets.onnx import FILE_NAME, OnnxTarget

PARAM = "model.ncnn.param"
_BLOBS = {"in0": INPUT, "out0": LOGITS, "out1": PROBABILITIES}  # pnnx's names, and ours


class NcnnTarget:
    """Writes ``model.param``, ``model.bin`` and ``model.json``; see :class:`featherlight.targets.base.Target`."""

    name = "ncnn"
    engine = "ncnn"
    file_names: tuple[str, ...] = ("model.param", "model.bin", "model.json")
    packages: tuple[str, ...] = ("onnxscript", "onnxruntime", "ncnn", "pnnx")
    int8_packages: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = (TENSOR,)
    precisions: tuple[str, ...] = ("float", "half")
    auto_form: str | None = None
    runs_here = True
    is_public = False

    def write(self, draft: Draft, folder: Path) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        preprocessing = draft.exported.card.preprocessing
        shape = f"[1,{preprocessing.in_channels},{preprocessing.input_size},{preprocessing.input_size}]"
        with TemporaryDirectory(dir=folder, prefix=".pnnx-") as inside:
            OnnxTarget().write(replace(draft, half_weights=False), Path(inside))
            _refuse_gathers(Path(inside) / FILE_NAME)
            _convert(Path(inside), shape, half=draft.half_weights)
            param = (Path(inside) / PARAM).read_text(encoding="ascii")
            (folder / self.file_names[0]).write_text(_rename_blobs(param), encoding="ascii")
            (Path(inside) / "model.ncnn.bin").replace(folder / self.file_names[1])
        self.describe(folder, draft.exported)

    def describe(self, folder: Path, exported: ExportedCard) -> None:
        """See :class:`featherlight.targets.base.Target`."""
        write_sidecar(folder / self.file_names[0], exported, self.file_names[:2])


def _refuse_gathers(path: Path) -> None:
    """Pnnx takes a gather of many channels for one of the first, and ncnn then reads where nothing is."""
    import onnx

    graph = onnx.load(path).graph
    many = {one.name for one in graph.initializer if list(one.dims) not in ([], [1])}
    if any(node.op_type == "Gather" and node.input[1] in many for node in graph.node):
        raise UsageError(
            "this form cannot be written for ncnn: it takes channels by index; take another: --form slices"
        )


def _convert(folder: Path, shape: str, *, half: bool) -> None:
    """Calls the program that the package ``pnnx`` brings; the package itself would only start it, too."""
    command = [str(_program()), FILE_NAME, f"inputshape={shape}", f"fp16={int(half)}"]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    log = done.stdout.decode("utf-8", "replace")
    if done.returncode or not (folder / PARAM).is_file():
        last = log.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise UsageError(f"this network cannot be written for ncnn: {last[0]:.200}")
    lines = (folder / PARAM).read_text(encoding="ascii").splitlines()[2:]
    unknown = sorted({kind for kind in (line.split()[0] for line in lines) if not kind.isalnum()})
    if unknown:  # pnnx writes what it does not understand under names of its own, such as aten::sort
        raise UsageError(f"this network cannot be written for ncnn: it has no {', '.join(unknown):.200}")


def _program() -> Path:
    spec = find_spec("pnnx")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        for name in ("pnnx", "pnnx.exe", "bin/pnnx"):
            if (Path(place) / name).is_file():
                return Path(place) / name
    raise FeatherlightError("the package pnnx is there without its program; install it again: pip install -U pnnx")


def _rename_blobs(param: str) -> str:
    """The network's inputs and outputs under the names of every exported file."""
    head, *lines = param.splitlines()
    return "\n".join([head, *(" ".join(_BLOBS.get(word, word) for word in line.split()) for line in lines), ""])
