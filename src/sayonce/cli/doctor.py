"""``sayonce doctor``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import typer

from sayonce.cli import checks
from sayonce.cli.check_bodies import check_bodies, without_bodies
from sayonce.cli.checks import Finding, Grade
from sayonce.cli.options import load
from sayonce.cli.output import data, data_json
from sayonce.config import settings_file
from sayonce.errors import ConfigError


def run(config: str | None, overrides: dict[str, Any], *, as_json: bool) -> None:
    """Print what was found, and exit with 1 when something is wrong."""
    findings = asyncio.run(_examine(config, overrides))
    if as_json:
        data_json(findings)
    else:
        for finding in findings:
            data(_line(finding))
    if any(finding.grade is Grade.FAIL for finding in findings):
        raise typer.Exit(1)


async def _examine(config: str | None, overrides: dict[str, Any]) -> list[Finding]:
    found = [*checks.versions(), *checks.environment(os.environ)]
    try:
        settings = load(config, **overrides)
    except ConfigError as error:
        return [*found, checks.fail("configuration", error.message)]
    file = settings_file(config, os.environ)
    found.append(checks.ok("configuration", f"read from {file[0]}" if file else "no file; defaults and environment"))
    found += [*checks.secrets(settings), *checks.access(settings)]
    try:
        found += [finding async for finding in checks.store(without_bodies(settings))]
    except ConfigError as error:
        found.append(checks.fail("store", error.message))
    found += [finding async for finding in check_bodies(settings)]
    return [*found, *[finding async for finding in checks.engines(settings)]]


def _line(finding: Finding) -> str:
    advice = f"\n{'':6}→ {finding.advice}" if finding.advice else ""
    return f"{finding.grade:4}  {finding.check}: {finding.message}{advice}"
