"""What a person does in Prefect's pages: fill in the form, start a run, see it end, and press Retry on one that failed."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.exceptions import PrefectHTTPStatusError

from tests.support.browser import Tab, browser, chromium
from tests.support.recipe import RECIPE
from tests.support.stack import PASSWORD, Stack

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium")
OURS = RECIPE | {"name": "ours", "store": "gs://viska/ours", "release": {"anyway": True}}


class Pages:
    """Prefect's pages, for somebody who knows the password."""

    def __init__(self, tab: Tab, root: str) -> None:
        self.tab, self.root = tab, root
        self.tab.call("Page.navigate", url=f"{root}/")
        self.tab.wait("document.querySelector('input[type=password]')")
        self.tab.type("input[type=password]", PASSWORD)
        self.click("Login")
        self.tab.wait("!location.href.includes('login')")

    def open(self, path: str, words: str) -> None:
        """Go to a page, and wait until it says this."""
        self.tab.call("Page.navigate", url=f"{self.root}/v2/{path}")
        self.tab.wait(f"document.body?.innerText.includes({json.dumps(words)})")

    def click(self, words: str, role: str = "button") -> None:
        """Click what says exactly this, once it is there."""
        found = f"[...document.querySelectorAll({role!r})].filter(e => e.innerText.trim() == {json.dumps(words)} && !e.disabled).pop()"
        self.tab.wait(found)
        self.tab.run(f"(e => {{ e.dispatchEvent(new MouseEvent('mousedown', {{bubbles: true, button: 0}})); e.click(); }})({found})")

    def menu(self, words: str) -> None:
        """Choose from the menu behind the three dots of a run."""
        dots = "[...document.querySelectorAll('button[aria-haspopup=menu]')].pop()"
        self.tab.wait(dots)
        self.tab.run(f"{dots}.dispatchEvent(new PointerEvent('pointerdown', {{bubbles: true, button: 0, pointerType: 'mouse'}}))")
        self.click(words, "[role=menuitem]")

    def field(self, label: str) -> str:
        """Return a selector of the first field below a label, and mark it so."""
        marked = f"""(() => {{
            const label = [...document.querySelectorAll('label')].find(e => e.innerText.trim().startsWith({json.dumps(label)}));
            const field = label && (document.getElementById(label.htmlFor) || label.parentElement.querySelector('input, textarea'));
            if (field) field.setAttribute('data-field', {json.dumps(label)});
            return Boolean(field);
        }})()"""
        self.tab.wait(marked)
        return f"[data-field={json.dumps(label)}]"

    def picture(self, name: str) -> None:
        """Keep a picture, if VISKA_PICTURES says where: those in the documentation are made so."""
        if folder := os.environ.get("VISKA_PICTURES"):
            time.sleep(2)  # what moves comes to rest
            self.tab.picture(Path(folder) / f"{name}.png")


@pytest.fixture(scope="module")
def pages(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("browser")
    drawn = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # the timeline of a run is WebGL
    with browser(folder / "profile", folder / "none.wav", *drawn) as started:
        yield Pages(started.visitor(width=1280, height=860), stack.url.removesuffix("/api"))


@pytest.fixture(scope="module")
def deployment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> UUID:
    """A team's recipe as a deployment."""
    file = tmp_path_factory.mktemp("recipe") / "ours.yaml"
    file.write_text(yaml.safe_dump(OURS))
    stack.viska("deploy", "--recipe", str(file))
    return stack.client.read_deployment_by_name("retrain/ours").id


def newest(stack: Stack, deployment: UUID) -> Any:
    """Return the newest run of a deployment; None if there is none."""
    runs = [run for run in stack.client.read_flow_runs(limit=200) if run.deployment_id == deployment]
    return max(runs, key=lambda run: run.created, default=None)


def test_the_form_shows_the_recipe_refuses_what_is_wrong_and_starts_a_run_that_ends_well(
    stack: Stack, pages: Pages, deployment: UUID
) -> None:
    pages.open(f"deployments/deployment/{deployment}/run", "What people call this run, and its report")
    shown = pages.tab.text()
    assert "Everything this run can be told." in shown and "Number of train" in shown
    places = [shown.index(words) for words in ("What people call this run", "Mozilla Data Collective", "From nothing", "Optimiser steps")]
    assert places == sorted(places), "in the order of the recipe"
    pages.picture("form")
    steps = pages.field("Steps")
    pages.tab.type(steps, "-1")
    pages.click("Submit")
    pages.tab.wait(f"document.querySelector({steps!r}).validity.rangeUnderflow")  # the browser shows why
    time.sleep(3)
    assert newest(stack, deployment) is None, "nothing was started"
    pages.tab.type(steps, "6")
    pages.click("Submit")
    stack.until(lambda: newest(stack, deployment) is not None, "the run was started")
    run = newest(stack, deployment)
    assert run.parameters["recipe"]["training"]["steps"] == 6 and run.parameters["recipe"]["name"] == "ours"
    assert stack.until_ended(run.id) == "Released", stack.words(run.id)
    pages.open(f"runs/flow-run/{run.id}", "Released")
    pages.picture("run")
    pages.click("Artifacts")
    pages.tab.wait("document.body.innerText.toLowerCase().includes('report')")
    pages.picture("artifacts")


def test_what_no_form_has_seen_is_refused_at_once_with_its_place(stack: Stack, deployment: UUID) -> None:
    with pytest.raises(PrefectHTTPStatusError, match=r"stepz"):
        stack.start("retrain/ours", OURS | {"training": {"stepz": 1}})
    with pytest.raises(PrefectHTTPStatusError, match=r"recipe\.training\.steps|recipe.*training.*steps"):
        stack.start("retrain/ours", OURS | {"training": {"steps": -1}})
    assert all(
        run.parameters["recipe"]["training"]["steps"] > 0
        for run in stack.client.read_flow_runs(limit=200)
        if run.deployment_id == deployment
    )


def test_retry_of_a_failed_run_goes_on_where_it_failed(stack: Stack, pages: Pages, deployment: UUID) -> None:
    outage = stack.gcs.fail(r"GET .*failing/verdict/", "403", 10**9)
    run = stack.start("retrain/ours", OURS | {"name": "failing", "store": "gs://viska/failing"})
    assert stack.until_ended(run, 400) == "Failed"
    stack.gcs.faults.remove(outage)
    pages.open(f"runs/flow-run/{run}", "Failed")
    pages.picture("failed")
    pages.menu("Retry")
    pages.click("Retry")  # the dialogue asks again
    stack.until_begun(run, 2)
    assert stack.until_ended(run) == "Released", stack.words(run)
    states = {name: each.state_name for name, each in stack.tasks(run).items()}
    assert {states[name] for name in ("transcribe-test-before", "train-4-steps", "write-report")} == {"Cached"}
    assert states["judge"] == "Completed" and len(stack.children(run, "train")) == 1
    pages.open(f"runs/flow-run/{run}", "Released")
    pages.click("Task Runs")
    pages.tab.wait("document.body.innerText.includes('Cached')")
    pages.picture("retried")
