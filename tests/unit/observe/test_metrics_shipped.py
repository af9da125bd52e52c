"""The rules, the dashboard and the documents that come with the metrics name the metrics that there are."""

import json
import re
import subprocess

import pytest

from sayonce.errors import EngineError
from sayonce.features.remember import Remembered, make_task
from sayonce.observe.metrics import METRICS
from sayonce.speech.engines import build_engine
from sayonce.testing import StubEngine
from tests.helpers.metering import program, scrape
from tests.helpers.paths import ROOT
from tests.helpers.serving import serving, speak
from tests.helpers.upstream import Upstream

PROMETHEUS = ROOT / "deploy/prometheus"


@pytest.fixture
async def engine():
    return StubEngine()


@pytest.fixture
async def client(engine, tmp_path):
    engine.cost_per_hour = 36.0
    async with serving(engine, store=f"sqlite:///{tmp_path}/clips.db") as client:
        yield client


# -- what comes with it -----------------------------------------------------------------------------------------------------


async def test_promtool_finds_nothing_to_say_about_the_metrics(client, engine):
    await speak(client)
    await speak(client)
    engine.failure = EngineError("no")
    await speak(client, "Another.")
    text = (await scrape(client)).text
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], check=False, input=text, text=True, capture_output=True
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "check", [("check", "rules", "sayonce-alerts.yml"), ("test", "rules", "sayonce-alerts.test.yml"),
              ("check", "config", "prometheus.yml")]
)  # fmt: skip
def test_promtool_accepts_the_rules_and_their_tests_pass(check):
    checked = subprocess.run([program("promtool"), *check], check=False, cwd=PROMETHEUS, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


SAMPLES = {metric.name + ("_total" if metric.kind == "counter" else "") for metric in METRICS}
LABELS = {label for metric in METRICS for label in metric.labels} | {"le", "job", "instance"}


def test_grafanas_dashboard_shows_every_metric_and_none_that_does_not_exist():
    dashboard = json.loads((ROOT / "deploy/grafana/sayonce.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    shown = {re.sub("_bucket$", "", name) for each in expressions for name in re.findall(r"sayonce_\w+", each)}
    assert shown <= SAMPLES
    assert SAMPLES - shown <= {"sayonce_cost_total", "sayonce_engine_ready"}
    by = {
        label for each in expressions for labels in re.findall(r"by \(([^)]*)\)", each) for label in labels.split(", ")
    }
    assert by <= LABELS


def test_the_alerts_look_only_at_metrics_that_exist():
    text = (PROMETHEUS / "sayonce-alerts.yml").read_text()
    assert set(re.findall(r"sayonce_\w+", text)) <= SAMPLES


async def test_every_metric_is_fed(engine, tmp_path):
    """Each appears at a server that has answered, failed, found no sound, swept, and computed a feature."""
    engine.cost_per_hour, engine.sound = 36.0, lambda *_: bytes(4800)
    options = {"bodies__url": f"file://{tmp_path}/bodies", "bodies__inline_max_bytes": 0}
    with Upstream() as upstream:
        far = build_engine("far", {"kind": "openai", "base_url": upstream.url, "model": "m", "default_voice": "a"})
        async with serving(engine, far, store=f"sqlite:///{tmp_path}/clips.db", **options) as client:
            await speak(client)
            await speak(client, speed=77)
            await client.service._sweeper.turn()
            await Remembered(client.service.cache, make_task(double, "double", "1", {}))(2)
            found = await scrape(client)
    names = {re.sub("_(bucket|sum|count|created)$", "", sample.name) for sample in found.samples}
    skipped = {"sayonce_store_skipped_total"}  # needs trouble, which another test of this file makes
    assert SAMPLES - names == skipped


async def double(number: int) -> int:
    return 2 * number


def test_every_metric_is_in_the_documents():
    text = (ROOT / "docs/observe.md").read_text()
    assert [name for name in sorted(SAMPLES) if f"`{name}`" not in text] == []
