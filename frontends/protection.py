"""What a browser is told not to do with an answer: no inline code or style, no framing, no guessing, no leaking."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

_REFUSED_FEATURES: Final = (
    "accelerometer",
    "autoplay",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "screen-wake-lock",
    "usb",
    "xr-spatial-tracking",
)


def content_security_policy(image_sources: str) -> str:
    """The policy (CSP Level 3) of pages whose pictures come from these sources besides their own origin."""
    policy = _POLICY | {"img-src": f"{_POLICY['img-src']} {image_sources}".strip()}
    return "; ".join(f"{name} {value}" for name, value in policy.items())


class Protection:
    """ASGI middleware that puts the headers on every answer."""

    def __init__(self, app: ASGIApp, image_sources: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": content_security_policy(image_sources),
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _REFUSED_FEATURES),
            "Referrer-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one ASGI connection."""
        if scope["type"] != "http":
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, protected)
