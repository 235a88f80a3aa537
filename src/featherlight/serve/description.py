"""What OpenAPI says: the rows, the problems, and the three forms of a request's body."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from featherlight.serve.problems import MEDIA_TYPE


class Answer(BaseModel):
    """The answer for an image."""

    path: str = Field(description="The file's name; `image 0` for images that have none.")
    label: str = Field(description="Most probable class.")
    probability: float = Field(ge=0, le=1)
    top: list[tuple[str, float]] = Field(description="The most probable classes, best first.")
    rejected: bool = Field(description="The model says that it does not know.")


class Unreadable(BaseModel):
    """Why there is no answer for an image."""

    path: str
    error: str


class Predictions(BaseModel):
    """A row for each image, in order."""

    predictions: list[Answer | Unreadable]


class Limits(BaseModel):
    """Of a request."""

    max_body_bytes: int
    max_pixels: int = Field(description="Of an image.")
    max_files: int
    request_timeout_s: float


class Description(BaseModel):
    """The model that answers."""

    model: str = Field(description="Name of the network.")
    classes: list[str]
    preprocessing: dict[str, Any]
    temperature: float
    rejects: bool = Field(description="Whether it can say that it does not know.")
    engine: str
    threads: int
    latency_ms: float = Field(description="Of one image, computing only, measured when the model was loaded.")
    loaded: float = Field(description="When, seconds since 1970.")
    size_bytes: int = Field(description="Of its file.")
    version: str = Field(description="Of Featherlight.")
    limits: Limits


class State(BaseModel):
    """The server lives."""

    status: Literal["ok"]


class ProblemDetails(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    predictions: list[Unreadable] | None = Field(None, description="The rows, where no image could be read.")


_MEANINGS = {
    400: "No image, or a damaged form or JSON.",
    401: "No key, or a wrong one.",
    404: "There is nothing here.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or an image, or there are too many.",
    415: "Neither an image nor a form nor JSON, or compressed.",
    422: "A parameter or a field is not as described.",
    503: "No room at the moment; `Retry-After` says when to come again.",
}

IMAGES_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "byte"}}
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals, as FastAPI takes them."""
    reference = {"$ref": f"#/components/schemas/{ProblemDetails.__name__}"}
    return {
        status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": reference}}}
        for status in statuses
    }
