"""KafkaSink: an HTTP endpoint that answers 202 once the log has acknowledged the event."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from functions.domain.error import Busy
from functions.runtime.limit import Oversize, TooSlow, read_whole_body
from functions.runtime.problem import problem
from local.cloudevent import Headers, NotACloudEvent, record_of_request
from local.log.port import Log, LogUnavailable, UnknownTopic

EVENT_BYTES_MAX: Final = 1024 * 1024


class KafkaSinks:
    """All sinks, each at /namespace/name, as the platform's ingress has them."""

    def __init__(self, log: Log, topics: Mapping[str, str], structured: Collection[str] = ()) -> None:
        """topics gives the topic of each path; structured are the paths whose events are written in one piece."""
        self._log = log
        self._topics = topics
        self._structured = structured

    async def append(self, path: str, headers: Headers, body: bytes) -> Response:
        """Appends one event to the sink at this path, and answers as the endpoint does."""
        topic = self._topics.get(path)
        if topic is None:
            return problem(HTTPStatus.NOT_FOUND, "There is no sink at this address.")
        try:
            await self._log.append(topic, record_of_request(headers, body, structured=path in self._structured))
        except (NotACloudEvent, UnicodeDecodeError) as error:
            return problem(HTTPStatus.BAD_REQUEST, f"Not a CloudEvent: {error}.")
        except UnknownTopic as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except (LogUnavailable, Busy):
            detail = "The log does not answer; it is not known whether it has the event."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "1"})
        return Response(status_code=HTTPStatus.ACCEPTED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        response: Response
        if scope["method"] != "POST":
            response = problem(HTTPStatus.METHOD_NOT_ALLOWED, "A sink takes POST.", headers={"Allow": "POST"})
        else:
            try:
                body = await read_whole_body(scope, receive, bytes_max=EVENT_BYTES_MAX)
            except Oversize:
                response = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The event is larger than 1 MiB.")
            except TooSlow:
                response = problem(HTTPStatus.REQUEST_TIMEOUT, "The event did not arrive in time.")
            else:
                if body is None:
                    return
                response = await self.append(scope["path"], scope["headers"], body)
        await response(scope, receive, send)
