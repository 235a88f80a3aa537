"""The images in a request's body, which is counted while it comes in. Nothing in it is opened as a path or a URL."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncGenerator
from contextlib import suppress

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from featherlight.serve.problems import Problem
from featherlight.serve.service import Service, Upload

FIELD = "files"  # of a form
MAX_NAME = 255  # characters of a file's name that are kept
FORMS, JSON, RAW = "multipart/form-data", "application/json", ("image/", "application/octet-stream")


class Body:
    """A request's body, read once; the service counts its bytes."""

    def __init__(self, request: Request, service: Service) -> None:
        self._request = request
        self._service = service
        self.limit = service.settings.max_body_bytes
        self.size = 0  # bytes that are held
        self.is_read = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Its pieces as they come.

        Raises:
            Problem: 413, it is larger than allowed; 503, there is no memory for it.
            ClientDisconnect: the other end has gone.
        """
        async for chunk in self._pieces():
            if self.size + len(chunk) > self.limit:
                raise too_large(self.limit)
            self._service.hold(len(chunk))
            self.size += len(chunk)
            yield chunk

    def let_go(self, kept: int = 0) -> None:
        """Holds no more of it than ``kept`` bytes, which from now on are others' to let go."""
        self._service.hold(kept - self.size)
        self.size = 0

    async def drain(self, seconds: float) -> None:
        """Throws away what is still to come: whoever is cut off while sending does not read the refusal."""
        if "expect" in self._request.headers and not self.size:
            return  # it waits to be asked for the body
        left = self.limit
        with suppress(ClientDisconnect), anyio.move_on_after(seconds):
            async for chunk in self._pieces():
                left -= len(chunk)
                if left < 0:
                    return

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        while not self.is_read:
            message = await self._request.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.is_read = not message.get("more_body", False)
            yield message.get("body", b"")


def too_large(limit: int) -> Problem:
    """413."""
    return Problem(413, f"the body is larger than {limit:,} bytes")


def check_length(request: Request, limit: int) -> None:
    """Refuses by its headers what would be too large or is packed.

    Raises:
        Problem: 413 or 415.
    """
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > limit:
        raise too_large(limit)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "the body is compressed; send it as it is")


async def read_uploads(request: Request, body: Body, max_files: int) -> list[Upload]:
    """The images of a form, of JSON, or the body itself.

    Raises:
        Problem: 400, 413, 415 or 422: it is none of these, or not as the description says.
        ClientDisconnect: the other end has gone.
    """
    kind = request.headers.get("content-type", RAW[1]).partition(";")[0].strip().lower()
    if kind == FORMS:
        uploads = await _read_form(request, body, max_files)
    elif kind == JSON:
        uploads = await _read_json(body, max_files)
    elif kind.startswith(RAW):
        uploads = [Upload("image 0", b"".join([chunk async for chunk in body.chunks()]))]
    else:
        raise Problem(415, f"{kind[:80]!a} is no image; send {FORMS}, {JSON}, image/... or {RAW[1]}")
    if not uploads:
        raise Problem(422, "no image in the request")
    return uploads


class _Form(MultiPartParser):
    """Knows whether it came to its end."""

    is_whole = False

    def on_end(self) -> None:
        """The last boundary was there."""
        self.is_whole = True


async def _read_form(request: Request, body: Body, max_files: int) -> list[Upload]:
    parser = _Form(request.headers, body.chunks(), max_files=max_files, max_fields=1)
    parser.spool_max_size = 2 * body.limit  # nothing goes to the disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise _too_many(max_files) if "Too many files" in error.message else _damaged(error.message) from error
    except (FormParserError, UnicodeError, LookupError) as error:
        raise _damaged(str(error)) from error
    if not parser.is_whole:
        raise _damaged("it is cut off")
    return [await _form_file(name, value) for name, value in form.multi_items()]


async def _form_file(name: str, value: UploadFile | str) -> Upload:
    if name != FIELD or isinstance(value, str):
        raise Problem(
            422, f"{name[:80]!a} is no file in the field {FIELD!r}; send images as {FIELD!r}, with file names"
        )
    try:
        return Upload((value.filename or "")[:MAX_NAME], await value.read())
    finally:
        await value.close()


async def _read_json(body: Body, max_files: int) -> list[Upload]:
    data = b"".join([chunk async for chunk in body.chunks()])
    return await asyncio.get_running_loop().run_in_executor(None, _parse_json, data, max_files)


def _parse_json(data: bytes, max_files: int) -> list[Upload]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "the body is no JSON") from error
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Problem(422, 'the JSON must be {"images": [base64, ...]}')
    if len(images) > max_files:
        raise _too_many(max_files)
    return [Upload(f"image {number}", _decode_base64(number, image)) for number, image in enumerate(images)]


def _decode_base64(number: int, text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(422, f"image {number} is no base64") from error


def _too_many(limit: int) -> Problem:
    return Problem(413, f"more than {limit} images in one request")


def _damaged(reason: str) -> Problem:
    return Problem(400, f"damaged form: {ascii(reason)[1:-1][:200]}")
