"""The HTTP shell of a service: FastAPI with problem documents, limits, health routes and a clean stop.

The one rule it protects: an answer never repeats what was sent. A problem names the field and the reason,
no value.
"""

import gc
import hmac
import os
import re
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from http import HTTPStatus
from ipaddress import ip_address
from types import FrameType
from typing import Any
from uuid import uuid4

import structlog
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import iter_route_contexts
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.chassis import postgres
from services.chassis.failpoints import arm
from services.chassis.health import Health
from services.chassis.logs import OperatorError, configure, get_logger
from services.chassis.settings import Settings, passwords_in

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

PROBLEM = "application/problem+json"
MAX_BODY_BYTES = 4 << 20
"""Room for an array of 500 events of the usual size; one event is limited to 64 KiB by whoever judges it."""

MAX_HEAD_BYTES = 64 << 10
"""Of a request's line and headers; all that Gihan reads of them fits into one."""

STOP_SECONDS = 11.0
"""How long an orderly end may take from the signal on, the connections' eight seconds among them."""
START_FAILED, STOP_TIMED_OUT = 3, 70
"""How a process ends that could not start, and one whose end took too long."""

_GC_THRESHOLDS = 100_000, 50, 20
"""A batch makes thousands of objects and hardly a cycle among them: the collector is to come round less often. Of what
sla_timer does it took a tenth at 10,000, and a twentieth at these."""

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
Words = Callable[[str, str], str]
"""What a problem's code and English detail are in the language of the reader."""

_words: ContextVar[Words | None] = ContextVar("words", default=None)
"""Set while a request is answered whose sender does not read English first."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}\Z")


def said(code: str, detail: str) -> str:
    """An English detail in the language of whoever sent the request that is being answered."""
    words = _words.get()
    return words(code, detail) if words else detail


class Problem(Exception):
    """Becomes a problem document (RFC 9457).

    `code` is for machines and never changes; `detail` is for people: what is wrong and what to do, without
    a value. `pointer` is the JSON pointer of the field, `retry_after` a number of seconds.
    """

    def __init__(
        self, status: int, code: str, detail: str, pointer: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.retry_after = retry_after

    def document(self, **more: Any) -> dict[str, Any]:
        """The problem as a JSON object; absent members are left out."""
        pointer = {} if self.pointer is None else {"pointer": self.pointer}
        return {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": said(self.code, self.detail),
            **pointer,
            **more,
        }

    def response(self, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
        """The problem as a response, with the request's id, by which it is found in the log."""
        request_id = structlog.contextvars.get_contextvars().get("id")
        if request_id:
            more["instance"] = f"urn:gihan:request:{request_id}"
        headers = {"Content-Language": "ko" if _words.get() else "en", **(headers or {})}
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return JSONResponse(self.document(**more), self.status, headers, media_type=PROBLEM)


def create_app(
    title: str,
    version: str,
    lifespan: Lifespan,
    health: Health,
    korean: Words | None = None,
    status_token: str | None = None,
) -> FastAPI:
    """A FastAPI application with the shell around it; the service adds its routes.

    `korean` says problems to those who read Korean before English. `status_token` opens /status and /metrics; without
    one they are told to this machine alone. The checks of `health` run while it runs. There is
    no page of FastAPI's own: those load scripts from outside, which a closed network does not reach; the OpenAPI
    document is at /openapi.json.
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with health, lifespan(app):
                get_logger().info("started", version=version)
                yield
        except OperatorError:
            # uvicorn prints a traceback as text, which the log drops; this says what the operator must do.
            get_logger().critical("failed", exc_info=True)
            raise
        get_logger().info("stopped")

    app = FastAPI(
        title=title,
        version=version,
        lifespan=run,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(_Shell, korean=korean)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)
    _add_health(app, health, _Operators(status_token))
    return app


_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class _Operators:
    """Lets in who may read what a service stands at: by the token, else from this machine, and not through a proxy on
    it, which would bring the whole world along."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def __call__(self, request: Request) -> None:
        """Raises Problem 401."""
        if not (self._knows_token(request) if self._token else self._is_local(request)):
            detail = "This is for operators: ask with the token of GIHAN_STATUS_TOKEN_FILE, or without one set there, "
            raise Problem(HTTPStatus.UNAUTHORIZED, "operators_only", detail + "from the machine itself.")

    def _knows_token(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), (self._token or "").encode())

    def _is_local(self, request: Request) -> bool:
        if request.client is None or any(name in request.headers for name in _FORWARDED):
            return False
        try:
            return ip_address(request.client.host).is_loopback
        except ValueError:
            return False


def _add_health(app: FastAPI, health: Health, operators: _Operators) -> None:
    for_operators: dict[str, Any] = {
        "dependencies": [Depends(operators)],
        "responses": {401: {"description": "It is for operators.", "content": {PROBLEM: {}}}},
    }

    @app.get("/health/live", tags=["health"], summary="Is the process alive?")
    async def live() -> dict[str, str]:
        return {"service": health.service, "status": "live"}

    @app.get(
        "/health/ready",
        tags=["health"],
        summary="Is every part well? 503 with those that are not; `standby` where another instance does the work",
    )
    async def ready() -> JSONResponse:
        red, standby = health.red(), health.standby()
        status = "unready" if red else "standby" if standby else "ready"
        answer = {"service": health.service, "status": status, "red": red, "standby": standby}
        return JSONResponse(answer, 503 if red else 200)

    @app.get("/status", tags=["health"], summary="Positions, lags and what the service stands at", **for_operators)
    async def status() -> JSONResponse:
        return JSONResponse(jsonable_encoder(await health.report()))

    @app.get("/metrics", tags=["health"], summary="Metrics for Prometheus", response_class=Response, **for_operators)
    async def metrics() -> Response:
        return Response(generate_latest(health.registry), media_type=CONTENT_TYPE_LATEST)


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _on_invalid(_: Request, error: Exception) -> Response:
    """422, or 400 for a body that is no JSON, with a pointer, a code and a reason for each field."""
    assert isinstance(error, RequestValidationError)
    errors = [describe_invalid(entry) for entry in error.errors()]
    if any(entry["code"] == "json_invalid" for entry in errors):
        return Problem(400, "not_json", "The body is not JSON. Send a JSON document in UTF-8.").response()
    errors = [{**entry, "detail": said(entry["code"], entry["detail"])} for entry in errors]
    detail = "Some fields are missing or wrong; see `errors`."
    return Problem(422, "invalid", detail).response(errors=errors)


def describe_invalid(entry: Mapping[str, Any]) -> dict[str, str]:
    """One entry of pydantic's errors() as pointer, code and reason, with nothing in it that was sent.

    An unknown field's name is something that was sent, so the pointer then ends at the object that holds it.
    """
    place = (
        entry["loc"][1:] if entry["loc"] and entry["loc"][0] in ("body", "query", "path", "header") else entry["loc"]
    )
    code = str(entry["type"])
    if code == "extra_forbidden":
        return {
            "pointer": _pointer(place[:-1]),
            "code": code,
            "detail": "There is a field here that is not known.",
        }
    if code in ("model_type", "dict_type", "model_attributes_type"):
        # The library names a class of ours, which says nothing to whoever wrote the text.
        return {"pointer": _pointer(place), "code": code, "detail": "Write a JSON object here."}
    return {"pointer": _pointer(place), "code": code, "detail": str(entry["msg"])}


def _pointer(place: tuple[Any, ...]) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    if (there := without_slash(request, error.status_code)) is not None:
        return there
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The framework names the methods of the first route that fits the path, not of all that do.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return _http_problem(error.status_code).response(headers)


def _methods(request: Request) -> set[str]:
    routes = iter_route_contexts(request.app.routes)
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    return {method for route in fitting for method in route.methods or ()}


def without_slash(request: Request, status: int) -> Response | None:
    """Where a page is not found for a slash too many at its end: the address without it, as a path alone, since the
    host that a request names is whatever its sender says."""
    path: str = request.scope["path"]
    if status != HTTPStatus.NOT_FOUND or request.method not in ("GET", "HEAD") or not path.rstrip("/").strip("/"):
        return None
    return RedirectResponse(f"/{path.strip('/')}") if path.endswith("/") else None


def _http_problem(code: int) -> Problem:
    status = HTTPStatus(code)
    return Problem(status, status.name.lower(), status.description or status.phrase)


_UNEXPECTED = Problem(
    500, "internal", "Something failed on our side; nothing is half done. Send the same again, with the same id."
)

_AWAY = Problem(
    503, "unavailable", "The database does not answer now. Send the same again, with the same id.", retry_after=2
)


def reads_korean(accept_language: str) -> bool:
    """Whether an Accept-Language header wants Korean before English. Without a word of either it does not."""
    wanted: dict[str, float] = {}
    for part in accept_language[:200].split(","):
        tag, _, weight = part.partition(";")
        name = tag.strip().lower().partition("-")[0]
        with suppress(ValueError):
            wanted[name] = max(wanted.get(name, 0.0), float(weight.strip().removeprefix("q=") or 1))
    return wanted.get("ko", 0.0) > wanted.get("en", 0.0)


class _Shell:
    """Around every request: an id for the log and for problems, a limit on the body, safe headers, no surprises.

    Unexpected errors are answered here, not by the framework, which would hand them on to a server that prints
    their text.
    """

    def __init__(self, app: ASGIApp, korean: Words | None = None) -> None:
        self._app = app
        self._korean = korean

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _REQUEST_ID.match(given) else uuid4().hex.encode()
        length = headers.get(b"content-length", b"")
        # Said to be too large it is refused when it is asked for, so that a page answers with a page.
        received = int(length) if length.isdigit() and int(length) > MAX_BODY_BYTES else 0
        answering = False

        async def receive_limited() -> Message:
            nonlocal received
            if received > MAX_BODY_BYTES:
                raise HTTPException(413)
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413)
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                # A route that knows better (a page with a style sheet, an answer with a tag) says so itself.
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in _HEADERS if header[0] not in own),
                    (b"x-request-id", request_id),
                ]
            await send(message)

        language = _words.set(
            self._korean if reads_korean(headers.get(b"accept-language", b"").decode("latin-1")) else None
        )
        with structlog.contextvars.bound_contextvars(id=request_id.decode()):
            try:
                await self._app(scope, receive_limited, send_with_headers)
            except ClientDisconnect:
                get_logger().info(
                    "client_gone"
                )  # it hung up in the middle of its request: nobody to answer, no failure
            except Exception as error:
                get_logger().error("request_failed", exc_info=True)
                if not answering:
                    away = isinstance(error, (*postgres.LOST, *postgres.NO_ROOM))
                    await (_AWAY if away else _UNEXPECTED).response()(scope, receive, send_with_headers)
            finally:
                _words.reset(language)


def run(service: str, build: Callable[[Settings], FastAPI]) -> None:
    """Runs a service as a process: its settings, its log, its failpoints, and then `build(settings)` over HTTP.

    What the environment has wrong is said in a sentence, and ends the process with 2.
    """
    try:
        settings = Settings.from_env(service)
        configure(service, settings.log_level)
        arm(settings)
        for name in passwords_in(os.environ):
            get_logger().warning("password_in_environment", name=name)
    except OperatorError as error:
        sys.stderr.write(f"{service}: {error}\n")
        sys.exit(2)
    serve(build(settings), settings)


_stopping = threading.Event()


def is_stopping() -> bool:
    """Whether this process was told to end: an answer that goes on for ever ends then, and delays nothing."""
    return _stopping.is_set()


class Connection(HttpToolsProtocol):
    """A connection whose requests have a head of MAX_HEAD_BYTES and what is read at once at most: httptools itself
    would keep whatever comes."""

    _head = 0
    _in_head = False

    def on_message_begin(self) -> None:
        self._head, self._in_head = 0, True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too long.")


class _Server(uvicorn.Server):
    """Ends in time also where a part does not, or has not begun: nothing rests on an orderly end, and a process that
    stays is in the way of the one that follows it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _stopping.set()
        super().handle_exit(sig, frame)
        _end_in_time()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        gc.enable()  # off since the service began
        await super().startup(sockets)
        # What stands by now stays: models, routes, charters. The collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _end_in_time()
        await super().shutdown(sockets)


def _end_in_time() -> None:
    """Winds up the alarm, once: further signals do not put the end off."""
    if signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        signal.signal(signal.SIGALRM, _end_at_once)
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)


def _end_at_once(*_: object) -> None:
    get_logger().critical("stop_took_too_long")
    os._exit(STOP_TIMED_OUT)


def _tls(settings: Settings) -> dict[str, Any]:
    served = settings.http_tls
    if served is None:
        return {}
    return {
        "ssl_certfile": served.certificate,
        "ssl_keyfile": served.key,
        "ssl_ca_certs": served.client_ca,
        "ssl_cert_reqs": ssl.CERT_REQUIRED if served.client_ca else ssl.CERT_NONE,
    }


def serve(app: FastAPI, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what is under way; STOP_SECONDS after the signal it ends all the
    same, in whatever phase it is."""
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=Connection,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=8,
            timeout_keep_alive=30,
            **_tls(settings),
        )
    )
    server.run()
    if not server.started:
        sys.exit(START_FAILED)
