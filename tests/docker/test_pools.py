"""The base job templates: Prefect takes them, each variable is used and each placeholder defined, and the jobs they make are closed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prefect.server.schemas.actions import validate_base_job_template
from prefect.utilities.schema_tools.validation import validate
from prefect.utilities.templating import apply_values, find_placeholders

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "deployments/pools").glob("*.json"))


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / f"deployments/pools/{name}.json").read_text())


def job(template_name: str, /, **values: Any) -> dict[str, Any]:
    """Return the configuration that a worker makes of a template, its defaults and these values."""
    template = read(template_name)
    defaults = {key: field["default"] for key, field in template["variables"]["properties"].items() if field.get("default") is not None}
    values = defaults | values
    validate(values, template["variables"], raise_on_error=True, preprocess=False)
    return apply_values(template["job_configuration"], values)


def pod(name: str, **values: Any) -> dict[str, Any]:
    return job(name, **values)["job_manifest"]["spec"]["template"]["spec"]


def test_there_is_one_for_each_pool_and_kind() -> None:
    assert [path.stem for path in TEMPLATES] == ["docker-cpu", "docker-cuda", "kubernetes-cpu", "kubernetes-cuda"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda each: each.stem)
def test_prefect_takes_it_and_each_variable_has_its_place(path: Path) -> None:
    template = json.loads(path.read_text())
    validate_base_job_template(template)  # what the server does when a pool is made
    placeholders = {each.name for each in find_placeholders(template["job_configuration"])}
    assert placeholders == set(template["variables"]["properties"])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda each: each.stem)
def test_its_defaults_make_a_job_without_holes_or_secrets(path: Path) -> None:
    made = json.dumps(job(path.stem, name="train-swedish", command="prefect flow-run execute"))
    assert "{{" not in made and not re.search(r"hf_|AKIA|-----BEGIN", made)
    assert re.search(r'"viska-(cpu|gpu):\d', made) and "your-bucket" in made


@pytest.mark.parametrize("name", ["kubernetes-cpu", "kubernetes-cuda"])
def test_a_pod_is_not_root_and_writes_into_its_folders_alone(name: str) -> None:
    made = pod(name)
    (container,) = made["containers"]
    assert made["securityContext"]["runAsNonRoot"] and made["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/cache", "/dev/shm"}
    assert made["automountServiceAccountToken"] is False
    assert container["envFrom"] == [{"secretRef": {"name": "viska", "optional": True}}]


def test_a_training_gets_a_gpu_a_node_that_has_one_and_memory_to_share() -> None:
    made = pod("kubernetes-cuda", gpu_count=2, shared_memory="16Gi", node_selector={"gpu": "a100"})
    assert made["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert made["nodeSelector"] == {"gpu": "a100"}
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}} in made["volumes"]
    assert {each["key"] for each in made["tolerations"]} == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
    assert made["terminationGracePeriodSeconds"] == 180


def test_no_gpu_is_asked_for_by_the_cpu_pool_which_sends_trainings_on() -> None:
    made = pod("kubernetes-cpu")
    assert "nvidia" not in json.dumps(made)
    assert read("kubernetes-cpu")["variables"]["properties"]["env"]["default"]["VISKA_GPU"] == "cuda"


def test_a_node_that_is_taken_away_is_not_retried_behind_prefects_back() -> None:
    spec = job("kubernetes-cuda")["job_manifest"]["spec"]
    assert spec["backoffLimit"] == 0 and spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["completions"] == spec["parallelism"] == 1 and spec["ttlSecondsAfterFinished"] == 3600


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(Exception, match="two"):
        job("kubernetes-cuda", gpu_count="two")


def test_a_container_of_the_docker_pool_is_closed_and_has_the_gpu() -> None:
    made = job("docker-cuda")
    wanted = made["container_create_kwargs"]
    assert wanted["read_only"] and wanted["init"] and wanted["cap_drop"] == ["ALL"] and made["privileged"] is False
    assert wanted["device_requests"] == [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu"]]}]
    assert "/etc/viska/secrets:/run/secrets:ro" in made["volumes"]
    assert "device_requests" not in job("docker-cpu")["container_create_kwargs"]
