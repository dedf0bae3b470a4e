"""The deployments that `prefect deploy --all` would make: each entry point is a flow, each parameter set fits it."""

import importlib
from pathlib import Path

import pytest
import yaml

DEPLOYMENTS = yaml.safe_load((Path(__file__).parents[1] / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda each: each["entrypoint"])
def test_entry_point_and_parameters_fit(deployment: dict) -> None:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert flow.validate_parameters(deployment["parameters"])["recipe"].name == "viska"
    assert deployment["work_pool"]["name"] == ("cuda" if "gpu" in deployment["tags"] else "cpu")


def test_no_gpu_deployment_runs_twice_at_once() -> None:
    assert all(each["concurrency_limit"]["limit"] == 1 for each in DEPLOYMENTS if "gpu" in each["tags"])


def test_a_wrong_parameter_is_refused_with_its_path() -> None:
    from flows.train import train

    with pytest.raises(Exception, match=r"recipe\.training\.steps|training.*steps"):
        train.validate_parameters({"recipe": {"training": {"steps": -1}}})
