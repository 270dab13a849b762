"""Who may talk to the page's server: this computer's browser, from the page itself. Everyone else is refused.

A page of another site can make a browser send requests to 127.0.0.1, under the site's own name (DNS rebinding, which the
Host header reveals) or from its own origin (which the Origin and Sec-Fetch-Site headers reveal). Besides, requests must
carry a token that only the page knows.
"""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?")  # any port: ssh -L may forward another
TOKEN_HEADER = "x-lssl-token"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class ThisComputerOnly:
    """Middleware that passes on the page's own requests only, and adds headers that isolate the page from other sites."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        reason = "this server speaks only HTTP" if scope["type"] != "http" else self._refusal(scope)
        if not reason:
            await self._app(scope, receive, send_with_headers)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            status = 421 if reason.startswith("the Host") else 403
            await JSONResponse({"what": f"Refused: {reason}."}, status)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0].lower()):
            return "the Host header does not name this computer; open the address that lssl demo printed"
        origins = headers.getlist("origin")
        if origins and origins != [f"http://{hosts[0]}"]:
            return "the request comes from another site (Origin)"
        asks = scope["method"] not in ("GET", "HEAD") or scope["path"].startswith("/api/")
        if asks and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "the request comes from another site (Sec-Fetch-Site)"
        if asks and not secrets.compare_digest(headers.get(TOKEN_HEADER, "").encode(), self._token.encode()):
            return "the page's token is missing; reload the page"
        return ""
