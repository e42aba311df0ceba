"""Files as they are served: read once, compressed once, each representation with a validator of its own."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import brotli
from starlette.requests import Request
from starlette.responses import Response

from frontends.negotiation import chosen_coding
from functions.runtime.etag import etag_of, not_modified

MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""What is served, by suffix. Anything else that lies in a folder, such as a font's licence, is not."""

_COMPRESSED_ALREADY: Final = frozenset({".woff2"})
_COMPRESSED_BYTES_MIN: Final = 256


class Asset:
    """One file in memory, in each content coding that makes it smaller."""

    def __init__(self, content: bytes, suffix: str, cache_control: str) -> None:
        self._bodies = {"identity": content}
        if suffix not in _COMPRESSED_ALREADY and len(content) >= _COMPRESSED_BYTES_MIN:
            self._bodies["br"] = brotli.compress(content, mode=brotli.MODE_TEXT)
            self._bodies["gzip"] = gzip.compress(content, mtime=0)
        # A range of a compressed representation helps nobody; a Range header is ignored, which RFC 9110 §14.2 allows.
        common = {
            "Content-Type": MEDIA_TYPES[suffix],
            "Cache-Control": cache_control,
            "Accept-Ranges": "none",
            "Vary": "Accept-Encoding",
        }
        self._etags = {coding: etag_of(coding, body) for coding, body in self._bodies.items()}
        self._headers = {
            coding: common
            | {"ETag": self._etags[coding], "Content-Length": str(len(body))}
            | ({} if coding == "identity" else {"Content-Encoding": coding})
            for coding, body in self._bodies.items()
        }
        self._headers_not_modified = {name: common[name] for name in ("Cache-Control", "Vary")}

    def answer(self, request: Request, status: HTTPStatus = HTTPStatus.OK) -> Response:
        """The file in the coding that the caller wants most; 304 where the caller has it already."""
        coding = chosen_coding(", ".join(request.headers.getlist("accept-encoding")), self._bodies)
        if status is HTTPStatus.OK:
            unchanged = not_modified(request, self._etags[coding], self._headers_not_modified)
            if unchanged is not None:
                return unchanged
        body = b"" if request.method == "HEAD" else self._bodies[coding]
        return Response(body, status, self._headers[coding])


def files(folder: Path) -> dict[str, Path]:
    """The files under the folder that may be served, by their path in it, sorted."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix in MEDIA_TYPES and path.is_file()
    }


def content_hash(contents: Iterable[tuple[str, bytes]]) -> str:
    """One short hash over names and contents: another one as soon as any of them is."""
    digest = hashlib.sha256()
    for name, content in contents:
        for octets in (name.encode(), content):
            digest.update(len(octets).to_bytes(8) + octets)
    return digest.hexdigest()[:16]
