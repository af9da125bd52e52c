"""An OpenAPI document as one readable HTML page, without scripts and without anything from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: light-dark(#ddd, #444); --soft: light-dark(#f5f5f5, #222); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid var(--line); }
code, pre { font: 0.9em ui-monospace, monospace; background: var(--soft); border-radius: 4px; }
code { padding: 0.1em 0.3em; } pre { padding: 0.8em; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } td { border-top: 1px solid var(--line); padding: 0.3em 0.6em 0.3em 0; vertical-align: top; }
td:first-child { white-space: nowrap; } summary { cursor: pointer; }
"""


def render(api: dict[str, Any], everywhere: Mapping[str, dict[str, Any]] = {}) -> str:
    """Return a page for an OpenAPI document, with everything that it quotes escaped.

    The answers that are the same ``everywhere``, by status, are shown once.
    """
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sayonce API</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE}</style></head><body><h1>Sayonce {escape(api['info']['version'])}</h1>",
            f'<p>{_text(api["info"]["description"])} The same for programs: <a href="openapi.json">openapi.json</a>.</p>',
            f"<p>{_text('Send `Authorization: Bearer KEY`, or `api-key: KEY`, where the server has API keys.')}</p>",
            *_sections(api, everywhere),
            *_details("Schemas", api["components"]["schemas"]),
            "</body></html>",
        )
    )


def _sections(api: dict[str, Any], everywhere: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2><p>{_text(operation['summary'])}. "
            yield f"{_text(operation.get('description', ''))}</p>"
            yield from _request(operation, api["components"])
            own = [each for each in operation["responses"].items() if each not in everywhere.items()]
            yield from _table(own, api["components"])
            yield "</section>"
    yield "<section><h2>Every path</h2>"
    yield from _table(everywhere.items(), api["components"])
    yield "</section>"


def _request(operation: dict[str, Any], components: dict[str, Any]) -> Iterator[str]:
    for reference in operation.get("parameters", ()):
        parameter = _resolved(reference, components)
        yield f"<p><code>{escape(parameter['name'])}</code>: {_text(parameter['description'])}</p>"
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p><code>{escape(media_type)}</code></p>"
        if "example" in body:
            yield f"<pre>{escape(json.dumps(body['example'], ensure_ascii=False))}</pre>"
        yield from _details("The body's schema", _resolved(body["schema"], components))


def _resolved(value: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Return what a ``#/components/KIND/NAME`` reference stands for."""
    if "$ref" not in value:
        return value
    kind, name = value["$ref"].split("/")[2:]
    resolved: dict[str, Any] = components[kind][name]
    return resolved


def _table(answers: Iterable[tuple[str, dict[str, Any]]], components: dict[str, Any]) -> Iterator[str]:
    yield "<table>"
    for status, reference in answers:
        answer = _resolved(reference, components)
        yield f"<tr><td>{escape(status)}</td><td>{_text(answer['description'])}</td></tr>"
        for name, header in answer.get("headers", {}).items():
            yield f"<tr><td><code>{escape(name)}</code></td><td>{_text(header['description'])}</td></tr>"
    yield "</table>"


def _details(title: str, value: Any) -> Iterator[str]:
    yield f"<details><summary>{escape(title)}</summary><pre>"
    yield f"{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre></details>"


def _text(text: str) -> str:
    """Escape a text, and set what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
