"""``POST /v1/predict``, from the headers to the answer, within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import anyio
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from featherlight.predictor import Prediction
from featherlight.serve.problems import Problem, busy, json_response
from featherlight.serve.service import TOO_LARGE, Service, Upload
from featherlight.serve.uploads import Body, check_length, read_uploads

CLIENT_GONE = 499  # for the log; nobody receives it


@dataclass
class Note:
    """What the log says of a request beside its first line."""

    images: int = 0
    size: int = 0


async def answer(request: Request, service: Service, top: int, note: Note) -> Response:
    """Rows for the images of a request.

    Raises:
        Problem: it is refused, or none of its images can be read.
    """
    deadline = asyncio.get_running_loop().time() + service.settings.request_timeout_s
    body = Body(request, service)
    try:
        uploads = await _receive(request, service, body, note)
        predictions = await _predict_while_there(request, service, uploads, top, deadline)
    except Problem as problem:
        if problem.status != HTTPStatus.REQUEST_TIMEOUT:
            await body.drain(deadline - asyncio.get_running_loop().time())
        if not body.is_read:
            problem.headers["Connection"] = "close"
        raise
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    finally:
        body.let_go()
    return _response(predictions)


async def _receive(request: Request, service: Service, body: Body, note: Note) -> list[Upload]:
    limits = service.settings
    check_length(request, limits.max_body_bytes)
    service.check_room(1, int(request.headers.get("content-length", "0")))
    try:
        with anyio.fail_after(limits.request_timeout_s):
            uploads = await read_uploads(request, body, limits.max_files)
    except TimeoutError as error:
        raise Problem(408, f"the body did not arrive within {limits.request_timeout_s:g} s") from error
    note.size, note.images = body.size, len(uploads)
    body.let_go(kept=sum(len(upload.data) for upload in uploads))
    return uploads


async def _predict_while_there(
    request: Request, service: Service, uploads: Sequence[Upload], top: int, deadline: float
) -> list[Prediction]:
    """Answers, unless the time is over or the other end goes before."""
    predicting = asyncio.ensure_future(service.predict(uploads, top))
    leaving = asyncio.ensure_future(_wait_until_gone(request))
    try:
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.wait({predicting, leaving}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if predicting.done():
            return predicting.result()
        if leaving.done():
            raise ClientDisconnect
        raise busy(f"no answer within {service.settings.request_timeout_s:g} s", service.expected_wait)
    finally:
        predicting.cancel()
        leaving.cancel()
        with suppress(asyncio.CancelledError):
            await leaving


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _response(predictions: Sequence[Prediction]) -> Response:
    rows = [prediction.to_row() for prediction in predictions]
    errors = [prediction.error for prediction in predictions if prediction.error is not None]
    if len(errors) < len(rows):
        return json_response({"predictions": rows})
    status = 413 if all(error.startswith(TOO_LARGE) for error in errors) else 400
    what = "the image" if len(rows) == 1 else f"any of the {len(rows)} images"
    raise Problem(status, f"cannot read {what}: {errors[0]}", predictions=rows)
