"""Reading what Prometheus reads."""

import os
import shutil

import pytest
from prometheus_client.parser import text_string_to_metric_families


class Scraped:
    """The samples of one scrape; ``scraped("sayonce_requests_total", outcome="hit")`` adds up those that match."""

    def __init__(self, text):
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def __call__(self, name, **labels):
        found = [each for each in self.samples if each.name == name and labels.items() <= each.labels.items()]
        assert found, f"{name} {labels} is not in\n{self.text}"
        return sum(each.value for each in found)


async def scrape(client, **headers):
    answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)


def program(name, package="prometheus"):
    """Return the path of a program of one of Debian's packages; skips without it, and fails in CI."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed: apt-get install {package}")
        pytest.skip(f"{name} is not installed")
    return path
