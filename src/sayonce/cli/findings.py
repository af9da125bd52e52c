"""The findings of ``sayonce doctor``."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Grade(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """One line of the report; ``advice`` says what to do."""

    check: str
    grade: Grade
    message: str
    advice: str = ""


def ok(check: str, message: str) -> Finding:
    return Finding(check, Grade.OK, message)


def warn(check: str, message: str, advice: str) -> Finding:
    return Finding(check, Grade.WARN, message, advice)


def fail(check: str, message: str, advice: str = "") -> Finding:
    return Finding(check, Grade.FAIL, message, advice)
