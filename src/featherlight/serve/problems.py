"""Refusals as problem+json (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  # the standard's own word
    """A request that is not answered as asked.

    Attributes:
        status: HTTP status.
        detail: what, where and what to do, for a person.
        headers: of the response.
        more: further members of the JSON.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more

    def to_response(self) -> Response:
        """The response that says it."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return json_response(body, self.status, self.headers, MEDIA_TYPE)


def busy(detail: str, seconds: float) -> Problem:
    """503 that says when to come again."""
    return Problem(503, detail, {"Retry-After": str(max(1, round(seconds + 0.5)))})


def json_response(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """JSON in ASCII: names of files and classes may hold what UTF-8 cannot."""
    return Response(json.dumps(body), status, dict(headers or {}), media_type)
