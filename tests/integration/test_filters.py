"""Filters the whole way: a loose plugin, and the bundled one with a real model, in front of folder steps."""

import json
from pathlib import Path

import pytest
from workplace import Workplace

from enrich.drawings.samples import draw_samples

GUARD = """
import enrich

@enrich.hookimpl
@enrich.each
def enrich_tag(rendition):
    return [enrich.Tag("seen")]

@enrich.hookimpl
def enrich_moderate(renditions, prompt):
    assert prompt is None
    return ["dark" if one.pixels.mean() < 50 else None for one in renditions]
"""


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path, f"sqlite:///{tmp_path / 'catalog.db'}")


def test_what_a_loose_plugin_blocks_is_skipped_with_its_reason(workplace: Workplace) -> None:
    workplace.plugin("guard", GUARD)
    workplace.draw("dark.png", (1, 1, 1))
    workplace.draw("light.png", (250, 250, 250))
    workplace.run()
    assert workplace.states("jobs") == {"done": 1, "skipped": 1}
    assert workplace.column("SELECT reason FROM jobs WHERE state = 'skipped'") == ["dark"]
    assert workplace.column("SELECT tag FROM asset_tags") == ["bright"]


def test_a_classifier_of_the_users_blocks_what_it_labels(workplace: Workplace) -> None:
    draw_samples(workplace.inbox)
    ages = ["0-12", "13-20", "21-44", "45-64", "65+"]
    workplace.config["filters"] = {"adults": {"plugin": "moderate", "model": "drawings-age", "labels": ages}}
    workplace.run()
    skipped = workplace.column("SELECT reason FROM jobs WHERE state = 'skipped'")
    assert skipped
    assert set(skipped) <= set(ages)
    assert workplace.states("jobs")["done"] >= 1


def test_a_wrong_filter_is_wrong_use(workplace: Workplace) -> None:
    workplace.config["filters"] = {
        "adults": {"plugin": "moderate", "model": "drawings-age", "labels": ["nobody"]}
    }
    done = workplace.enrich("run")
    assert done.returncode == 2
    assert 'filters.adults: labels: the model drawings-age knows no "nobody"' in done.stderr
    workplace.config["filters"] = {"adults": {"plugin": "light"}}
    done = workplace.enrich("--log-format", "json", "run")
    assert done.returncode == 2
    assert "light is no filter" in json.loads(done.stderr.splitlines()[-1])["message"]
