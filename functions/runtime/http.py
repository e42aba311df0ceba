"""HTTP steps: a step's routes, and request bodies read into models."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from functions.domain.error import CodebankError, Fault, Invalid
from functions.runtime.problem import problem, problem_of

Handler = Callable[[Request], Awaitable[Response]]
Model = TypeVar("Model", bound=BaseModel)

ERRORS_MAX: Final = 20
"""The most faults that one answer lists."""

# The code of a fault, where pydantic's own word for it is not the one that a page would look up.
_CODES: Final = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "too_long": "too_many",
    "too_short": "too_few",
    "string_too_long": "too_long",
    "string_too_short": "too_short",
    "string_pattern_mismatch": "invalid",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
}

_log = logging.getLogger(__name__)


class UnsupportedMediaType(CodebankError):
    """The body is not JSON by its Content-Type."""


class Malformed(CodebankError):
    """The body is not JSON by its bytes."""


def route(method: str, path: str, handler: Handler) -> Route:
    """One method of one path, in Starlette's path syntax."""
    return Route(path, handler, methods=[method])


def http_function(*routes: Route) -> Handler:
    """The functions-framework HTTP function that answers these routes and turns every error into a problem."""

    async def function(request: Request) -> Response:
        try:
            return await _dispatch(request, routes)
        except UnsupportedMediaType as error:
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, error.detail)
        except Malformed as error:
            return problem(HTTPStatus.BAD_REQUEST, error.detail)
        except CodebankError as error:
            return problem_of(error)
        except Exception:
            _log.exception("%s %s failed", request.method, request.url.path)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something is wrong on our side. It has been logged.")

    return function


async def _dispatch(request: Request, routes: tuple[Route, ...]) -> Response:
    allowed: set[str] = set()
    for candidate in routes:
        match, scope = candidate.matches(request.scope)
        if match is Match.FULL:
            request.scope.update(scope)
            response: Response = await candidate.endpoint(request)
            return response
        if match is Match.PARTIAL:
            allowed |= candidate.methods or set()
    if allowed:
        allow = ", ".join(sorted(allowed))
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, f"Here only {allow} are answered.", headers={"Allow": allow})
    return problem(HTTPStatus.NOT_FOUND, "There is nothing at this address.")


async def read_body(request: Request, model: type[Model]) -> Model:
    """The JSON body as the model. Raises Invalid with a pointer for each fault; never repeats what was sent."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("The body must be application/json.")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        faults = faults_of(error)
    if faults[0].code == "json_invalid":
        raise Malformed("The body is not well-formed JSON.")
    raise Invalid("The request has mistakes.", faults)


def read_query(request: Request, model: type[Model]) -> Model:
    """The query parameters as the model. Raises Invalid; the pointer of a parameter is "#/query/" and its name."""
    repeated = [name for name in request.query_params if len(request.query_params.getlist(name)) > 1]
    faults = tuple(Fault(f"#/query/{_escaped(name)}", "repeated", "It may be given once.") for name in repeated)
    if faults:
        raise Invalid("The address has mistakes.", faults[:ERRORS_MAX])
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise Invalid("The address has mistakes.", faults_of(error, "#/query")) from None


def faults_of(error: ValidationError, pointer: str = "#") -> tuple[Fault, ...]:
    """The faults that pydantic found, each at its JSON Pointer, without the values that were sent."""
    faults = []
    for entry in error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_MAX]:
        path = "".join("/" + _escaped(str(part)) for part in entry["loc"])
        kind = entry["type"]
        code = _CODES.get(kind, "wrong_type" if kind.endswith(("_type", "_from_float", "_parsing")) else kind)
        faults.append(Fault(pointer + path, code, entry["msg"]))
    return tuple(faults)


def _escaped(name: str) -> str:
    """The name as a part of a JSON Pointer (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")
