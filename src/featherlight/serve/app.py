"""The endpoints."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from featherlight.serve.answering import answer
from featherlight.serve.description import (
    IMAGES_BODY,
    Description,
    Limits,
    Predictions,
    ProblemDetails,
    State,
    problems,
)
from featherlight.serve.guard import Guard
from featherlight.serve.loaded import Keeper, Loaded
from featherlight.serve.metrics import CONTENT_TYPE, Metrics
from featherlight.serve.pages import INDEX, POLICY, read_pages, render_description
from featherlight.serve.problems import Problem, json_response
from featherlight.serve.service import Service
from featherlight.serve.settings import Settings

MAX_TOP = 100_000  # as many classes as a model file may have
ABOUT = "Names what is in images. Images are read in memory, never kept, and nothing in a request is opened."


def create_app(settings: Settings, loaded: Loaded | None = None) -> ASGIApp:
    """The server of one model.

    Args:
        settings: which model, limits.
        loaded: that model, if it is loaded already.

    Raises:
        FeatherlightError: there is no usable model.
    """
    metrics = Metrics()
    service = Service(settings, Keeper(settings, metrics, loaded), metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(
        title="Featherlight", version=version("featherlight"), description=ABOUT, lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    _add_api(app, service)
    _add_health(app, service)
    _add_problems(app)
    _add_pages(app)
    return Guard(app, metrics, {"content-security-policy": POLICY})


def _add_api(app: FastAPI, service: Service) -> None:
    keys = service.settings.api_keys
    locked = [Depends(_check_key(keys))] if keys else []
    refused = (401,) if keys else ()

    @app.post(
        "/v1/predict", dependencies=locked, response_model=Predictions, openapi_extra=IMAGES_BODY,
        responses=problems(400, *refused, 408, 413, 415, 422, 503),
    )  # fmt: skip
    async def predict(request: Request, top: Annotated[int, Query(ge=1, le=MAX_TOP)] = 5) -> Response:
        """Names what is in the images of a form (`files`), of JSON (`images`, base64), or of the body itself.

        An image that cannot be read is a row with `error` among the others; if none can be read, the answer is 400 or,
        where they are too large, 413.
        """
        return await answer(request, service, top, request.state.note)

    @app.get("/v1/model", dependencies=locked, response_model=Description, responses=problems(*refused))
    async def model() -> Response:
        """The model that answers, and the limits of a request."""
        return json_response(_describe(service).model_dump())

    @app.get("/metrics", dependencies=locked, response_class=Response, responses=problems(*refused))
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.render(), headers={"content-type": CONTENT_TYPE})


def _describe(service: Service) -> Description:
    loaded, settings = service.keeper.current, service.settings
    card = loaded.engine.card
    return Description(
        model=card.model,
        classes=list(card.classes),
        preprocessing=card.preprocessing.to_dict(),
        temperature=card.temperature,
        rejects=card.reject is not None,
        engine=loaded.engine.name,
        threads=settings.cores,
        latency_ms=round(1000 * loaded.cost.seconds(1), 3),
        loaded=loaded.since,
        size_bytes=sum(size for _, _, size, _ in loaded.signature),
        version=version("featherlight"),
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_files=settings.max_files,
            request_timeout_s=settings.request_timeout_s,
        ),
    )


def _check_key(keys: tuple[str, ...]) -> Callable[..., Awaitable[None]]:
    """A dependency that lets pass whoever has one of the keys; how long it takes does not depend on the guess."""
    digests = [sha256(key.encode()).digest() for key in keys]

    async def check(
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
        header: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
    ) -> None:
        given = sha256((bearer.credentials if bearer else header or "").encode("utf-8", "surrogateescape")).digest()
        if not any([hmac.compare_digest(given, digest) for digest in digests]):  # noqa: C419 - compares with all
            raise Problem(401, "send a key: Authorization: Bearer KEY", {"WWW-Authenticate": "Bearer"})

    return check


def _add_health(app: FastAPI, service: Service) -> None:
    async def live() -> Response:
        """Whether the server lives; otherwise start it anew."""
        if not service.is_alive:
            raise Problem(503, "the thread that computes has ended")
        return json_response({"status": "ok"})

    for path in ("/healthz", "/readyz"):
        app.add_api_route(path, live, response_model=State, responses=problems(503))


def _add_pages(app: FastAPI) -> None:
    pages = read_pages()

    def give(response: Response) -> Callable[[], Awaitable[Response]]:
        async def page() -> Response:
            return response

        return page

    index = pages.get(INDEX, RedirectResponse("/docs"))
    endpoints = {
        "": give(index),
        "docs": give(render_description(app.openapi())),
        **{name: give(page) for name, page in pages.items()},
    }
    for path, endpoint in endpoints.items():
        app.add_api_route(f"/{path}", endpoint, methods=["GET", "HEAD"], include_in_schema=False)


def _add_problems(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return error.to_response()

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return Problem(error.status_code, str(error.detail), error.headers).to_response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return Problem(422, f"{' '.join(map(str, first['loc']))}: {first['msg']}").to_response()

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> Response:  # noqa: ARG001 - the guard logs it
        return Problem(500, "this is a fault of the server; its log says more").to_response()

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            app.openapi_schema["components"]["schemas"][ProblemDetails.__name__] = schema
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]
