"""How GeoReport v2 says things: lists in JSON or XML, errors as a list of code and description.

The one rule: every answer of this facade, problems too, has the form that its readers know.
"""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple
from xml.etree import ElementTree

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from services.chassis.http import Problem, said

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Item = Mapping[str, Any]


class Names(NamedTuple):
    """What a list and its items are called in XML. Of a list inside an item each is called as it is, but for the s."""

    list: str
    item: str = ""


DISCOVERY = Names("discovery")
SERVICES = Names("services", "service")
DEFINITION = Names("service_definition")
REQUESTS = Names("service_requests", "request")
_ERRORS = Names("errors", "error")


def wants_xml(request: Request) -> bool:
    """Whether the path asks for XML."""
    return request.url.path.endswith(".xml")


def listing(request: Request, items: Sequence[Item], names: Names, status: int = HTTPStatus.OK) -> Response:
    """A list of items; absent values are left out."""
    found = [_present(item) for item in items]
    if not wants_xml(request):
        return JSONResponse(found, status)
    root = ElementTree.Element(names.list)
    for item in found:
        _fill(ElementTree.SubElement(root, names.item), item)
    return _xml(root, status)


def single(request: Request, item: Item, names: Names) -> Response:
    """One item that is no list."""
    if not wants_xml(request):
        return JSONResponse(_present(item))
    root = ElementTree.Element(names.list)
    _fill(root, _present(item))
    return _xml(root, HTTPStatus.OK)


def _present(item: Item) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value is not None}


def _fill(element: ElementTree.Element, item: Item) -> None:
    for name, value in item.items():
        child = ElementTree.SubElement(element, name)
        if not isinstance(value, list):
            child.text = _text(value)
            continue
        for inner in value:
            below = ElementTree.SubElement(child, name.removesuffix("s"))
            if isinstance(inner, Mapping):
                _fill(below, _present(inner))
            else:
                below.text = _text(inner)


def _text(value: Any) -> str:
    return _NOT_XML.sub("", ("true" if value else "false") if isinstance(value, bool) else str(value))


def _xml(root: ElementTree.Element, status: int) -> Response:
    body = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(body, status, media_type="application/xml; charset=utf-8")


def _unread(status: int) -> Problem:
    """Of a form that was not read to its end."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Problem(status, "request_entity_too_large", "The request is larger than 4 MiB. Shorten its texts.")
    detail = "The form cannot be read: it has too many parameters, one that is too long, or files, which have no place."
    return Problem(400, "unreadable_form", detail)


class FacadeRoute(APIRoute):
    """A route whose problems have the facade's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with its problems caught."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except Problem as problem:
                found, after = problem, problem.retry_after
            except HTTPException as error:
                found, after = _unread(error.status_code), None
            except RequestValidationError:
                found, after = Problem(400, "invalid", "A parameter is missing or wrong."), None
            status = 400 if found.status == HTTPStatus.UNPROCESSABLE_ENTITY else found.status
            description = f"{found.code}: {said(found.code, found.detail)}"
            response = listing(request, [{"code": status, "description": description}], _ERRORS, status)
            if after is not None:
                response.headers["Retry-After"] = str(after)
            return response

        return answered
