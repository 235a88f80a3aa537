"""A part of many images -> a table of answers, wherever it is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from featherlight.errors import explain_missing
from featherlight.predictor import Prediction, Predictor
from featherlight.sources.many import Image, Part


@dataclass(frozen=True)
class Job:
    """What is asked of each image.

    Attributes:
        model: run directory, model file, exported file or folder.
        top: how many classes to list.
        engine: runtime.
        device: where the torch engine computes.
        threads: how many the runtime computes with; None: its own choice.
    """

    model: str
    top: int = 5
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None

    def open(self) -> Predictor:
        """Loads the model; errors as :class:`featherlight.predictor.Predictor`."""
        return Predictor(self.model, self.engine, self.device, self.threads)


def answer_part(predictor: Predictor, part: Part, top: int, readers: int | None = None) -> Any:
    """Answers for the images of a part, as an Arrow table with a row for each, in order.

    Args:
        predictor: has the model.
        part: the images.
        top: how many classes to list.
        readers: threads that read and resize images; None: Python's choice.
    """
    names: list[str] = []

    def images() -> Iterator[Image]:
        for name, image in part.images():
            names.append(name)
            yield image

    answers = list(predictor.stream(images(), top, readers=readers))
    return as_table(names, answers)


def as_table(names: Sequence[str], answers: Sequence[Prediction]) -> Any:
    """The rows that ``predict --json`` prints, as an Arrow table; what a row does not have is null."""
    import pyarrow as pa

    columns = [
        [_as_utf8(name) for name in names],
        [answer.label for answer in answers],
        [answer.probability for answer in answers],
        [None if answer.error else [{"label": k, "probability": p} for k, p in answer.top] for answer in answers],
        [None if answer.error else answer.rejected for answer in answers],
        [answer.error for answer in answers],
    ]
    return pa.table(columns, schema=answer_schema())


def answer_schema() -> Any:
    """Of a file of answers.

    Raises:
        MissingExtraError: PyArrow is not installed.
    """
    try:
        import pyarrow as pa
    except ModuleNotFoundError as error:
        raise explain_missing(error, "writing Parquet") from error
    top = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())]))
    return pa.schema(
        [
            ("path", pa.string()),
            ("label", pa.string()),
            ("probability", pa.float64()),
            ("top", top),
            ("rejected", pa.bool_()),
            ("error", pa.string()),
        ]
    )


def _as_utf8(name: str) -> str:  # a file name may hold bytes that are no text
    return name.encode("utf-8", "backslashreplace").decode()
