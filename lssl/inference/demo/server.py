"""The routes of the page of `lssl demo`, and the server that answers them, on this computer only."""

import asyncio
import io
import json
import secrets
import socket
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lssl.errors import LsslError
from lssl.inference.demo.guard import ThisComputerOnly
from lssl.inference.demo.newest import NewestWins, Superseded
from lssl.inference.demo.photographs import MEGABYTES, MEGAPIXELS, Photograph, Trouble, check_size
from lssl.inference.demo.studio import Studio, Wish

PAGE = Path(__file__).parent / "page"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LARGEST_QUESTION = 65_536  # bytes of JSON
_TOKEN_MARK = "{{token}}"
_EDIT, _OPEN, _THUMBNAIL = 0, 1, 2  # urgency
Answer = Callable[[Request], Awaitable[Response]]


def make_app(studio: Studio, token: str | None = None) -> Starlette:
    """The page and its API, as an ASGI application that answers to this computer's own names only.

    token: what the page sends along to identify itself; random if not given.
    """
    return _Routes(studio, token or secrets.token_urlsafe(24)).app()


class _Routes:
    def __init__(self, studio: Studio, token: str) -> None:
        self.studio, self.token = studio, token
        # Two threads, so that what takes seconds does not hold up a slider.
        self.quick, self.slow = NewestWins("lssl-demo-edits"), NewestWins("lssl-demo-pictures")

    def app(self) -> Starlette:
        files = [Route(f"/{path.name}", _file(path)) for path in sorted(PAGE.iterdir()) if path.suffix in _TYPES]
        return Starlette(
            routes=[
                Route("/", self.page),
                *files,
                Route("/api/models", _answer(self.models)),
                Route("/api/model", _answer(self.model)),
                Route("/api/sample", _answer(self.sample)),
                Route("/api/photographs", _answer(self.upload), methods=["POST"]),
                Route("/api/view", _answer(self.view)),
                Route("/api/edit", _answer(self.edit), methods=["POST"]),
                Route("/api/thumbnail", _answer(self.thumbnail), methods=["POST"]),
                Route("/api/frontal", _answer(self.frontal), methods=["POST"]),
                Route("/api/finished", _answer(self.finished), methods=["POST"]),
            ],
            middleware=[Middleware(ThisComputerOnly, token=self.token)],
            exception_handlers={HTTPException: _plain},
        )

    async def page(self, _request: Request) -> Response:
        text = (PAGE / "index.html").read_text(encoding="utf-8")
        return Response(text.replace(_TOKEN_MARK, self.token), media_type="text/html; charset=utf-8")

    async def models(self, _request: Request) -> Response:
        limits = {"megabytes": MEGABYTES, "megapixels": MEGAPIXELS}
        return JSONResponse({"models": self.studio.models(), "limits": limits})

    async def model(self, request: Request) -> Response:
        name = request.query_params.get("name", "")
        described = self.quick.submit(("model", name), lambda: self.studio.describe(name), urgency=_OPEN)
        return JSONResponse(await _result(described))

    async def sample(self, _request: Request) -> Response:
        """A photograph to try: Eileen Collins, by NASA, in the public domain."""

        def make() -> bytes:
            from skimage.data import astronaut

            buffer = io.BytesIO()
            Image.fromarray(astronaut()).save(buffer, "PNG")
            return buffer.getvalue()

        return Response(await asyncio.to_thread(make), media_type="image/png")

    async def upload(self, request: Request) -> Response:
        data = await _body(request, MEGABYTES * 1_000_000, check_size)
        name = unquote(request.headers.get("x-file-name", ""))[:200] or "photograph"
        page = request.headers.get("x-page", "")[:64]
        photograph: Photograph = await _result(
            self.quick.submit(("open", page), lambda: self.studio.take(name, data), urgency=_OPEN)
        )
        height, width = photograph.pixels.shape[:2]
        faces = [
            {
                "box": [face.box[0] / width, face.box[1] / height, face.box[2] / width, face.box[3] / height],
                "reason": why,
            }
            for face, why in zip(photograph.faces, photograph.reasons, strict=True)
        ]
        about = {"id": photograph.id, "name": photograph.name, "width": width, "height": height, "faces": faces}
        return JSONResponse(about)

    async def view(self, request: Request) -> Response:
        """The photograph, or one of its faces, at screen size."""
        asked = request.query_params
        face = int(asked["face"]) if asked.get("face", "").isdigit() else None
        photograph = self.studio.photograph(asked.get("id", ""), face)

        def make() -> tuple[bytes, str]:
            seen = photograph.view(face)
            buffer = io.BytesIO()
            Image.fromarray(seen.pixels).save(buffer, "JPEG", quality=95, subsampling=0)
            return buffer.getvalue(), f"{seen.pixels.shape[1]},{seen.pixels.shape[0]}"

        jpeg, size = await asyncio.to_thread(make)
        return Response(jpeg, media_type="image/jpeg", headers={"X-Size": size})

    async def edit(self, request: Request) -> Response:
        asked = await _question(request)
        photograph, face = self._face(asked)
        view = asked.get("view")
        if view is not None:
            _check(isinstance(view, int))
            self.studio.photograph(photograph.id, view)
        wish, draft, page = _wish(asked), bool(asked.get("draft")), str(asked.get("page", ""))[:64]
        number = asked.get("number")
        patch = await _result(
            self.quick.submit(
                ("edit", page, face),
                lambda: self.studio.edit(photograph, face, view, wish, draft=draft),
                number=number if isinstance(number, int) else None,
                urgency=_EDIT,
            )
        )
        if patch is None:
            return Response(b"", media_type="image/png", headers={"X-Box": ""})
        box = ",".join(f"{value:.3f}" for value in patch.box)
        return Response(patch.png, media_type="image/png", headers={"X-Box": box})

    async def thumbnail(self, request: Request) -> Response:
        asked = await _question(request)
        photograph, face = self._face(asked)
        wish, page = _wish(asked), str(asked.get("page", ""))[:64]
        key = ("thumbnail", page, face, tuple(sorted(wish.values.items())))
        made = self.quick.submit(key, lambda: self.studio.thumbnail(photograph, face, wish), urgency=_THUMBNAIL)
        return Response(await _result(made), media_type="image/jpeg")

    async def frontal(self, request: Request) -> Response:
        asked = await _question(request)
        photograph, face = self._face(asked)
        key = ("frontal", str(asked.get("page", ""))[:64])
        png, doubt = await _result(self.slow.submit(key, lambda: self.studio.frontal(photograph, face)))
        return Response(png, media_type="image/png", headers={"X-Doubt": quote(doubt)})

    async def finished(self, request: Request) -> Response:
        asked = await _question(request)
        faces = asked.get("faces")
        faces = faces if isinstance(faces, dict) else {"": None}
        _check(all(face.isdigit() for face in faces))
        identity, kind = str(asked.get("id", "")), "jpeg" if asked.get("kind") == "jpeg" else "png"
        photograph = self.studio.photograph(identity)
        wishes = {int(face): _wish(wish) for face, wish in faces.items()}
        for face in wishes:
            self.studio.photograph(identity, face)
        key = ("finished", str(asked.get("page", ""))[:64])
        data, name = await _result(self.slow.submit(key, lambda: self.studio.finished(photograph, wishes, kind)))
        return Response(data, media_type=f"image/{kind}", headers={"X-File-Name": quote(name)})

    def _face(self, asked: dict[str, Any]) -> tuple[Photograph, int]:
        face = asked.get("face")
        _check(isinstance(face, int))
        return self.studio.photograph(str(asked.get("id", "")), face), int(face)  # type: ignore[arg-type]


def _file(path: Path) -> Answer:
    async def answer(_request: Request) -> Response:
        return Response(path.read_bytes(), media_type=f"{_TYPES[path.suffix]}; charset=utf-8")

    return answer


def _answer(answer: Answer) -> Answer:
    """Turns errors into what the page shows: JSON with `what` is wrong and `advice`."""

    async def told(request: Request) -> Response:
        try:
            return await answer(request)
        except Superseded:
            return Response(status_code=204)
        except ClientDisconnect:
            return Response(status_code=400)
        except Trouble as error:
            return JSONResponse({"what": error.what, "advice": error.advice}, error.status)
        except LsslError as error:
            return JSONResponse({"what": "This cannot be done.", "advice": f"{error}."}, 422)
        except HTTPException:
            raise
        except Exception as error:
            traceback.print_exc()
            what = f"Something went wrong in LSSL ({type(error).__name__})."
            return JSONResponse({"what": what, "advice": "The terminal that started the page shows details."}, 500)

    return told


async def _plain(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse(
        {"what": "There is nothing here." if status == 404 else "This request is not understood."}, status
    )


async def _result(future: "Future[Any]") -> Any:
    return await asyncio.wrap_future(future)


async def _body(request: Request, largest: int, check: Callable[[int], None]) -> bytes:
    """A request's body. `check` is called with its size, and raises if that is too large, before more of it is read."""
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > largest:
        check(int(said))
    parts, count = [], 0
    async for part in request.stream():
        parts.append(part)
        count += len(part)
        if count > largest:
            check(count)
    check(count)
    return b"".join(parts)


async def _question(request: Request) -> dict[str, Any]:
    def check(count: int) -> None:
        _check(count <= _LARGEST_QUESTION)

    try:
        asked = json.loads(await _body(request, _LARGEST_QUESTION, check))
    except (ValueError, RecursionError):
        asked = None
    _check(isinstance(asked, dict))
    return asked


def _wish(asked: Any) -> Wish:
    _check(isinstance(asked, dict))
    values, source = asked.get("values"), asked.get("source", [])
    _check(isinstance(values, dict) and len(values) <= 200)
    _check(all(isinstance(share, int | float) and 0 <= share <= 1.5 for share in values.values()))
    _check(isinstance(source, list) and all(isinstance(word, str) for word in source))
    shares = {str(word): float(share) for word, share in values.items() if share > 0}
    return Wish(str(asked.get("model", "")), shares, tuple(word for word in source if word))


def _check(understood: bool) -> None:
    if not understood:
        raise Trouble("This request is not understood.", "Reload the page.", status=400)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket to serve on. Without a port it is 7860 or, if that is taken, any free one.

    Raises LsslError for a port that is taken or not permitted.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (7860, 0) if port is None else (port,):
        try:
            return socket.create_server((host, number), family=family)
        except OSError as error:
            if port is not None:
                raise LsslError(f"--port {port}: {error.strerror or error}; choose another, or omit it") from None
    raise LsslError(f"no port of {host} is available")


def address(listening: socket.socket) -> str:
    """The page's address when it is served on this socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(app: Starlette, listening: socket.socket) -> None:
    """Answers until Ctrl-C."""
    import uvicorn

    config = uvicorn.Config(
        app, log_level="critical", access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[listening])
