"""What every answer has around it, beside Starlette's middleware."""

from __future__ import annotations

from typing import Any

from starlette.middleware.cors import CORSMiddleware

from bench.own_parts.common import cases, costs, run
from sayonce.gateway.common_headers import begin, completed
from sayonce.gateway.cors import ACCEPTED, EXPOSED, Cors


def compare() -> dict[str, Any]:
    page = "https://app.example.com"
    headers = [(b"host", b"tts.example.com"), (b"origin", page.encode()), (b"content-type", b"application/json")]
    answered = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"audio/mpeg")]}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(answered)

    async def nothing(_message: Any = None) -> None:
        pass

    ours = Cors([page])
    middleware = CORSMiddleware(app, [page], ["GET", "POST"], ACCEPTED, expose_headers=EXPOSED)

    async def with_ours() -> None:
        scope = {"type": "http", "method": "POST", "headers": headers}
        begin(scope, ours)
        await app(scope, nothing, completed(scope, nothing))

    async def with_middleware() -> None:
        scope = {"type": "http", "method": "POST", "headers": headers}
        begin(scope, None)
        await middleware(scope, nothing, completed(scope, nothing))

    sides = {"ours": with_ours, "Starlette": with_middleware}
    taken = costs({side: (lambda work=work: run(work)) for side, work in sides.items()}, 5_000)
    rows: dict[str, dict[str, object]] = {"a request with an Origin, µs, request id included": dict(taken)}
    cases("CORS", rows)
    return rows
