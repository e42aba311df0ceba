"""HTTP steps: routes, bodies and parameters read into models, and every error told as a problem."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.domain.error import (
    Busy,
    CodebankError,
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from functions.runtime.card import CardBody, proof_message
from functions.runtime.cursor import Cursor, WholeNumber, cursor_of
from functions.runtime.etag import etag_of, not_modified
from functions.runtime.http import ERRORS_MAX, Handler, http_function, read_body, read_query, route
from functions.runtime.problem import problem
from tests.functions.fake_bank import new_card_number

pytestmark = pytest.mark.anyio


class Line(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str = Field(max_length=5)
    count: int = Field(ge=1, le=9)


class Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    lines: Annotated[list[Line], Field(min_length=1, max_length=30)]
    note: str = ""


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid")

    after: Cursor = 0
    limit: Annotated[WholeNumber, Field(ge=1, le=10)] = 5


async def show(request: Request) -> Response:
    return JSONResponse({"name": request.path_params["name"]})


async def take(request: Request) -> Response:
    return JSONResponse((await read_body(request, Body)).model_dump())


async def look(request: Request) -> Response:
    return JSONResponse(read_query(request, Query).model_dump())


async def keep(request: Request) -> Response:
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    etag = etag_of("content")
    return not_modified(request, etag, headers) or Response("content", headers=headers | {"ETag": etag})


def application(function: Handler) -> ASGIApp:
    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        await (await function(Request(scope, receive)))(scope, receive, send)

    return run


def client_of(function: Handler) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(application(function)), base_url="http://codebank.test")


def failing(error: Exception) -> httpx.AsyncClient:
    async def fail(request: Request) -> Response:
        raise error

    return client_of(http_function(route("GET", "/", fail)))


@pytest.fixture
def client() -> httpx.AsyncClient:
    return client_of(
        http_function(
            route("GET", "/things/{name}", show),
            route("DELETE", "/things/{name}", show),
            route("POST", "/lines", take),
            route("GET", "/look", look),
            route("GET", "/keep", keep),
        )
    )


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    content: dict[str, Any] = answer.json()
    assert content["type"] == "about:blank"
    assert content["title"] == HTTPStatus(status).phrase
    assert content["status"] == status
    assert content["detail"]
    return content


async def test_a_route_is_found_by_method_and_path(client: httpx.AsyncClient) -> None:
    assert (await client.get("/things/pen")).json() == {"name": "pen"}
    assert (await client.head("/things/pen")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/things", "/things/", "/things/a/b", "/THINGS/a", "/things/%2F", "/%00"])
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    is_problem(await client.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/things/pen", "DELETE, GET, HEAD"), ("GET", "/lines", "POST"), ("OPTIONS", "/lines", "POST")],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    is_problem(answer, 405)
    assert answer.headers["allow"] == allow


async def test_a_body_is_read_into_its_model(client: httpx.AsyncClient) -> None:
    body = {"lines": [{"name": "pen", "count": 2}], "note": "é"}
    assert (await client.post("/lines", json=body)).json() == body


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
async def test_what_is_not_json_by_its_type_is_refused(client: httpx.AsyncClient, media_type: str) -> None:
    is_problem(await client.post("/lines", content=b"{}", headers={"Content-Type": media_type}), 415)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}}", b"'a'", b'"\xff"', b'"\\ud800"', b"[" * 1000, b"\xef\xbb\xbf{}"]
)
async def test_what_is_not_json_by_its_bytes_is_refused(client: httpx.AsyncClient, content: bytes) -> None:
    is_problem(await client.post("/lines", content=content, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {("#/lines", "required")}),
        ([], {("#", "wrong_type")}),
        ({"lines": []}, {("#/lines", "too_few")}),
        ({"lines": [{"name": "pen", "count": 1}] * 31}, {("#/lines", "too_many")}),
        (
            {"lines": [{"name": "pencil", "count": 0}]},
            {("#/lines/0/name", "too_long"), ("#/lines/0/count", "out_of_range")},
        ),
        ({"lines": [{"name": 1, "count": "1"}]}, {("#/lines/0/name", "wrong_type"), ("#/lines/0/count", "wrong_type")}),
        ({"lines": [{"name": "pen", "count": 1.5}]}, {("#/lines/0/count", "wrong_type")}),
        ({"lines": [{"name": "pen", "count": True}]}, {("#/lines/0/count", "wrong_type")}),
        ({"lines": [{"name": "pen", "count": 1, "a/b~c": 1}]}, {("#/lines/0/a~1b~0c", "unknown_field")}),
        ({"lines": None}, {("#/lines", "wrong_type")}),
    ],
)
async def test_each_mistake_is_pointed_at(client: httpx.AsyncClient, body: Any, faults: set[tuple[str, str]]) -> None:
    content = is_problem(await client.post("/lines", json=body), 422)
    assert {(error["pointer"], error["code"]) for error in content["errors"]} == faults
    assert all(error["detail"] for error in content["errors"])


async def test_what_was_sent_is_not_repeated_and_the_list_of_mistakes_ends(client: httpx.AsyncClient) -> None:
    number = new_card_number()
    answer = await client.post("/lines", json={"lines": [{"name": number, "count": number}] * 30})
    assert len(is_problem(answer, 422)["errors"]) == ERRORS_MAX
    assert number not in answer.text


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"limit": "11"}, ("#/query/limit", "out_of_range")),
        ({"limit": "-1"}, ("#/query/limit", "wrong_type")),
        ({"limit": "1e1"}, ("#/query/limit", "wrong_type")),
        ({"limit": "1_0"}, ("#/query/limit", "wrong_type")),
        ({"after": ""}, ("#/query/after", "invalid_cursor")),
        ({"after": cursor_of(7) + "="}, ("#/query/after", "invalid_cursor")),
        ({"after": "gAAAAAAAAAA"}, ("#/query/after", "invalid_cursor")),
        ({"a/b": "1"}, ("#/query/a~1b", "unknown_field")),
        ({"limit": ["1", "1"]}, ("#/query/limit", "repeated")),
    ],
)
async def test_each_wrong_parameter_is_pointed_at(
    client: httpx.AsyncClient, parameters: dict[str, str | list[str]], fault: tuple[str, str]
) -> None:
    content = is_problem(await client.get("/look", params=parameters), 422)
    assert [(error["pointer"], error["code"]) for error in content["errors"]] == [fault]


@pytest.mark.parametrize("position", [0, 1, 255, 2**31, 2**63 - 1])
async def test_a_cursor_leads_back_to_its_position(client: httpx.AsyncClient, position: int) -> None:
    answer = await client.get("/look", params={"after": cursor_of(position), "limit": "10"})
    assert answer.json() == {"after": position, "limit": 10}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Invalid("wrong", (Fault("#/a", "required", "It is missing."),)), 422),
        (Unauthenticated("who?"), 401),
        (Forbidden("no"), 403),
        (NotFound("gone"), 404),
        (Conflict("both"), 409),
        (Busy("later", 7), 429),
        (Unavailable("away", 3), 503),
    ],
)
async def test_each_error_is_a_problem_of_its_own_status(error: CodebankError, status: int) -> None:
    answer = await failing(error).get("/")
    content = is_problem(answer, status)
    assert content["detail"] == error.detail
    assert answer.headers.get("retry-after") == {429: "7", 503: "3"}.get(status)
    assert answer.headers.get("www-authenticate") == {401: "Bearer"}.get(status)
    expected = [{"pointer": "#/a", "code": "required", "detail": "It is missing."}]
    assert content.get("errors") == (expected if status == 422 else None)


async def test_what_nobody_expected_is_logged_and_tells_a_stranger_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = await failing(RuntimeError("the password is wrong")).get("/")
    is_problem(answer, 500)
    assert "password" not in answer.text
    assert "the password is wrong" in caplog.text


def test_a_problem_can_say_more() -> None:
    answer = problem(HTTPStatus.CONFLICT, "Twice.", headers={"Cache-Control": "max-age=1"}, order={"id": "1"})
    assert json.loads(bytes(answer.body))["order"] == {"id": "1"}
    assert answer.headers.getlist("cache-control") == ["max-age=1"]


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("*", 304),
        ("{etag}", 304),
        ("W/{etag}", 304),
        ('"a", {etag} , "b"', 304),
        ('"a,b"', 200),
        ('"a", "b"', 200),
        ("etag", 200),
        ("", 200),
    ],
)
async def test_who_has_the_content_is_not_sent_it_again(client: httpx.AsyncClient, condition: str, status: int) -> None:
    etag = (await client.get("/keep")).headers["etag"]
    answer = await client.get("/keep", headers={"If-None-Match": condition.format(etag=etag)})
    assert (answer.status_code, answer.headers["etag"]) == (status, etag)
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-cache", "Accept")
    assert answer.content == (b"content" if status == 200 else b"")


def test_a_validator_is_another_one_for_other_parts() -> None:
    parts: list[tuple[str | bytes, ...]] = [(), ("a",), ("b",), ("a", "b"), ("ab",), ("a", ""), ("", "a")]
    assert len({etag_of(*each) for each in parts}) == len(parts)
    assert etag_of("é") == etag_of("é".encode())


def test_a_card_shows_itself_to_the_bank_only() -> None:
    number, cvv = new_card_number(), "987"
    content = {"number": f"{number[:4]}-{number[4:]}", "cvv": cvv, "expiration_month": 1, "expiration_year": 2099}
    card = CardBody.model_validate_json(json.dumps(content))
    proof = card.proof("#", name="Ana")
    for shown in (repr(card), str(card), f"{proof}", card.model_dump_json()):
        assert number[4:] not in shown
        assert cvv not in shown
    message = proof_message(proof)
    assert (message.number, message.cvv, message.name) == (number, cvv, "Ana")
    assert (message.expiration_month, message.expiration_year) == (1, 2099)
