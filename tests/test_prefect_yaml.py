"""The deployments that `prefect deploy --all` would make: each entry point is a flow, each parameter set fits it."""

import importlib
from pathlib import Path

import pytest
import yaml
from prefect.settings import Settings

FILE = yaml.safe_load((Path(__file__).parents[1] / "prefect.yaml").read_text())
DEPLOYMENTS = FILE["deployments"]


def told(deployment: dict) -> str:
    return f"{deployment['entrypoint'].rpartition('.')[2]}/{deployment['name']}"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=told)
def test_entry_point_and_parameters_fit(deployment: dict) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    told = {"search": {}, "study": "0" * 24, "number": 1, "start": "0" * 24, "dataset": "0" * 24}
    needed: dict = {"score": {"checkpoint": "0" * 24}, "trial": told}.get(name, {})  # whoever starts it says of what
    assert flow.validate_parameters(deployment["parameters"] | needed)["recipe"].name == "viska"
    assert deployment["work_pool"]["name"] == ("cuda" if "gpu" in deployment["tags"] else "cpu")


def test_gpu_work_has_deployments_on_the_cuda_pool_and_everybody_else_sends_it_there() -> None:
    assert [told(each) for each in DEPLOYMENTS] == [
        "retrain/cpu", "prepare/cpu", "sweep/cpu", "trial/cuda", "train/cuda", "score/cuda", "release/cpu",
    ]  # fmt: skip
    sends = {told(each): each["work_pool"]["job_variables"]["env"]["VISKA_GPU"] for each in DEPLOYMENTS}
    assert sends == {told(each): "" if each["name"] == "cuda" else "cuda" for each in DEPLOYMENTS}


def test_nothing_that_publishes_or_needs_a_gpu_runs_twice_at_once() -> None:
    limits = {told(each): each.get("concurrency_limit", {}).get("limit") for each in DEPLOYMENTS}
    assert limits == {told(each): None if told(each) == "prepare/cpu" else 1 for each in DEPLOYMENTS}


def test_runs_tell_that_they_are_alive() -> None:
    beats = {each["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] for each in DEPLOYMENTS}
    assert beats == {"30"} and "heartbeat_frequency" in Settings.model_fields["flows"].annotation.model_fields  # type: ignore[union-attr]


def test_a_wrong_parameter_is_refused_with_its_path() -> None:
    from flows.train import train

    with pytest.raises(Exception, match=r"recipe\.training\.steps|training.*steps"):
        train.validate_parameters({"recipe": {"training": {"steps": -1}}})
