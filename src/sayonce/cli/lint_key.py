"""``sayonce lint-key``: try whether everything that is heard changes the key."""

from __future__ import annotations

import typer

from sayonce.cli.language import phrase
from sayonce.cli.output import data_json, shown, table
from sayonce.config import Settings
from sayonce.service import Service
from sayonce.speech.lint import Finding, lint_engine


def lint_key(settings: Settings, *, as_json: bool) -> None:
    """Print the effect of each flip on the key, and exit with 1 when something that is heard did not change it."""
    synthesizer = Service(settings).synthesizer
    findings = [finding for engine in synthesizer.catalogue.engines for finding in lint_engine(synthesizer, engine)]
    if as_json:
        data_json(findings)
    else:
        table((f"{each.engine}.{each.field}", _verdict(each)) for each in findings)
    if any(finding.heard and not finding.keyed for finding in findings):
        raise typer.Exit(1)


def _verdict(finding: Finding) -> str:
    flip = f"{shown(finding.before)} → {shown(finding.after)}"
    if finding.keyed and finding.heard:
        return phrase("ok: {flip} changes the key", flip=flip)
    if finding.heard:
        return phrase("WRONG: {flip} is heard and does not change the key", flip=flip)
    if finding.keyed:
        return phrase("waste: {flip} is not heard", flip=flip)
    return phrase("ok: {flip} is not heard and does not change the key", flip=flip)
