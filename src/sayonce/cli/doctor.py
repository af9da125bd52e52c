"""``sayonce doctor``: run all checks and print their findings."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

import typer

from sayonce.cli import checks
from sayonce.cli.check_bodies import check_bodies, without_bodies
from sayonce.cli.findings import Finding, Grade, fail, ok
from sayonce.cli.language import phrase
from sayonce.cli.output import data, data_json
from sayonce.cli.settings import Overrides
from sayonce.cli.which_store import Choice, choose
from sayonce.errors import ConfigError


def run(config: str | None, overrides: Overrides, *, as_json: bool) -> None:
    """Print the findings, and exit with 1 when something is wrong."""
    findings = asyncio.run(_examine(config, overrides))
    if as_json:
        data_json(findings)
    else:
        for finding in findings:
            data(_line(finding))
    if any(finding.grade is Grade.FAIL for finding in findings):
        raise typer.Exit(1)


async def _examine(config: str | None, overrides: Overrides) -> list[Finding]:
    found = [*checks.versions(), *checks.environment(os.environ)]
    try:
        choice = choose(config, overrides, needed=False)
        found.append(ok("configuration", _read_from(choice)))
    except ConfigError as error:
        return [*found, fail("configuration", error.message)]
    with suppress(ConfigError):  # of a wrong URL, which the check of the store tells
        found.append(ok("configuration", str(choice)))
    settings = choice.settings
    found += [*checks.secrets(settings), *checks.access(settings)]
    try:
        found += [finding async for finding in checks.store(without_bodies(settings))]
    except ConfigError as error:
        found.append(fail("store", error.message))
    found += [finding async for finding in check_bodies(settings)]
    return [*found, *[finding async for finding in checks.engines(settings)]]


def _read_from(choice: Choice) -> str:
    if choice.file is None:
        return phrase("no file; defaults and environment")
    return phrase("read from {file}", file=choice.file[0])


def _line(finding: Finding) -> str:
    advice = f"\n{'':6}→ {finding.advice}" if finding.advice else ""
    return f"{finding.grade:4}  {phrase(finding.check)}: {finding.message}{advice}"
