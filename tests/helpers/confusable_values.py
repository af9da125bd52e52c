"""Values that are easily taken for the same, and where they may stand in a document."""

from __future__ import annotations

import itertools
from typing import Any


def typed(value: Any) -> Any:
    """Return something that is equal for two values exactly when they are equal with their types."""
    if isinstance(value, dict):
        return "mapping", frozenset((name, typed(item)) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return "list", tuple(typed(item) for item in value)
    if isinstance(value, float):
        return "float", value.hex()  # tells -0.0 from 0.0
    return type(value).__name__, value


CONFUSABLE: list[list[Any]] = [
    [0, 0.0, -0.0, False, None, "", b"", "0", "null", [], {}],
    [1, 1.0, True, "1", b"1", "1.0", "true", [1]],
    ["\u00e9", "e\u0301"],
    ["\u212b", "\u00c5", "A\u030a"],
    ["\ufb01", "fi"],
    ["a", "A", " a", b"a"],
    [2**53, 2**53 + 1, 2.0**53],
    [2**63, 2.0**63],
    [{}, {"c": None}, [], [None], [[]], None],
    [{"a": 1}, {"a": 1, "c": None}, {"a": [1]}, [{"a": 1}]],
]
PAIRS = [pair for group in CONFUSABLE for pair in itertools.combinations_with_replacement(group, 2)]


def everywhere(pair: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """Return two values as they are, and deep within documents that are equal otherwise."""
    one, other = pair
    return [
        (one, other),
        ([one], [other]),
        ({"a": one}, {"a": other}),
        ({"a": [None, {"b": one}]}, {"a": [None, {"b": other}]}),
    ]
