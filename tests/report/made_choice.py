"""A choice, made up, for its page."""

from __future__ import annotations

from featherlight.choosing import Candidate, Choice, Limits, Pick, show_figures, tell_pick
from featherlight.phrases import phrase


def make_candidate(
    name: str, latency_ms: float | None, accuracy: float | None, dropped: str | None = None
) -> Candidate:
    curve = ((10.0, 0.4), (30.0, accuracy)) if accuracy is not None else ()
    return Candidate(name, name, 96, {}, latency_ms, 900_000, 7_000_000, 200_000, 0.6, accuracy, 30.0, dropped, curve)


def make_choice() -> Choice:
    """With two networks that were trained, and some that were not for all kinds of reasons."""
    limits = Limits(latency_ms=5.0, size_bytes=1_000_000, accuracy=0.8)
    pick = Pick(
        "shufflenet_v2_x0_5-96", "shufflenet_v2_x0_5", 96, 0.9, (0.85, 0.94), "test", 177, 0.92, 1.5, 900_000,
        7_000_000, 200_000, 1.0, ("/out/onnx/model.onnx", "/out/runs/fast/model.safetensors"), "/out/runs/fast",
    )  # fmt: skip
    candidates = (
        make_candidate("shufflenet_v2_x0_5-96", 1.5, 0.92),
        make_candidate("mobilenet_v1_x0_25-96", 4.0, 0.95, phrase("exported: {limits}", limits=limits.broken_by(6.0))),
        make_candidate("mobilenet_v2_x1_0-96", 9.0, None, limits.broken_by(9.0, 3_000_000)),
        make_candidate(
            "shufflenet_v2_x1_0-96", None, None,
            phrase("no time: behind {number} by published accuracy and size", number=2),
        ),
    )  # fmt: skip
    figures = show_figures(1.0, 800_000, 6_000_000)
    where = phrase("in {engine} here", engine="onnxruntime")
    advice = (
        phrase(
            "{model} at {side} px is not clearly worse on validation ({own} beside {best}) and cheaper: {figures}",
            model="mobilenet_v1_x0_25", side=96, own="91.0%", best="92.0%", figures=figures,
        ),
        phrase("Name images with it: {command}", command="featherlight predict /out/onnx/model.onnx IMAGE"),
    )  # fmt: skip
    notes = (phrase("chosen by accuracy on {number} validation images; the {split} images decided nothing",
                    number=200, split=phrase("test")),)  # fmt: skip
    return Choice(
        "/data/photos", ("cat", "dog"), {"time_s": 60.0}, candidates, pick, tell_pick(pick, candidates, 61.0, where),
        advice, True, "a machine, 2 cores", 61.0, notes, "featherlight choose /data/photos --max-latency 5ms", limits,
    )  # fmt: skip
