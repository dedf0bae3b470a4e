"""What docker/compose*.yaml start: nothing is open, nothing runs as root, and each name in the files means something."""

import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from prefect.settings.models.root import Settings

ROOT = Path(__file__).parents[2]
FILES = ("compose.yaml", "compose.gpu.yaml", "compose.s3.yaml")
TEXTS = [
    *(ROOT / "docker").glob("*.*"),
    ROOT / "docs/google-cloud.md",
    ROOT / "docs/rented-gpu.md",
    *(ROOT / "deployments/pools").glob("*.json"),
]
YOURS = {"HF_TOKEN", "MDC_API_KEY", "VISKA_WEBHOOK"}  # made empty, for people to fill in
OTHERS = {"PREFECT_AUTH"}  # the secret's file; it is mounted under the names that Prefect knows


def merged(*files: str) -> dict[str, Any]:
    """Return what Compose makes of several files: mappings are merged, lists are joined, a command replaces another."""
    stack: dict[str, Any] = {}
    for file in files:
        stack = merge(stack, yaml.safe_load((ROOT / "docker" / file).read_text()))
    return stack


def merge(one: Any, other: Any, key: str = "") -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {name: merge(one[name], value, name) if name in one else value for name, value in other.items()}
    if isinstance(one, list) and isinstance(other, list) and key != "command":
        return one + other
    return other


@cache
def services() -> dict[str, dict[str, Any]]:
    return merged(*FILES)["services"]


def settings_of(model: type[pydantic.BaseModel]) -> set[str]:
    """Return the names of all variables that Prefect reads."""
    names: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, pydantic.BaseModel):
            names |= settings_of(field.annotation)
        names.add(f"{model.model_config.get('env_prefix', '')}{name}".upper())
        if isinstance(field.validation_alias, pydantic.AliasChoices):
            names |= {choice.upper() for choice in field.validation_alias.choices if isinstance(choice, str)}
    return names


@pytest.fixture(params=sorted(services()))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return services()[request.param]


def test_the_parts_of_the_stack_are_these() -> None:
    assert set(merged("compose.yaml")["services"]) == {"postgres", "server", "register", "cpu", "cuda"}
    assert set(services()) == {"postgres", "server", "register", "cpu", "cuda", "seaweed", "bucket"}


def test_a_port_is_published_to_this_machine_alone() -> None:
    published = [port for each in services().values() for port in each.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_no_service_runs_as_root_or_can_become_it(service: dict[str, Any]) -> None:
    assert int(service["user"].split(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "userns_mode"} & set(service)
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


def test_no_service_writes_but_into_its_volumes_and_memory(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    of_root = [mount for mount in service["tmpfs"] if not mount.startswith(("/tmp", "/var/run/postgresql")) and "mode=1777" not in mount]
    assert not of_root, "memory mounted over a folder takes its mode, and root as its owner"
    named = set(merged(*FILES)["volumes"])
    assert all(volume.split(":")[0] in named for volume in service.get("volumes", []))


def test_each_service_has_limits_and_is_asked_whether_it_is_well(service: dict[str, Any]) -> None:
    assert service["mem_limit"] and service["pids_limit"] and service["logging"]["options"]["max-size"]
    one_shot = service["restart"] == "no"
    own = service["image"].startswith("viska-")  # its image carries a check
    assert service.get("healthcheck", {}).get("disable", False) is one_shot
    assert one_shot or own or service["healthcheck"]["test"]


def test_images_are_pinned_and_ours_are_built_from_the_files_beside_them(service: dict[str, Any]) -> None:
    name, _, tag = service["image"].partition(":")
    assert re.match(r"\d+\.\d+", tag), f"{service['image']}: a tag that does not move"
    if name.startswith("viska-"):
        assert (ROOT / service["build"]["dockerfile"]).name == f"{name.removeprefix('viska-')}.Dockerfile"


def test_secrets_come_from_files_that_the_script_makes_and_nothing_secret_stands_in_a_variable() -> None:
    made = set(re.findall(r"^keep (\S+)", (ROOT / "docker/secrets.sh").read_text(), re.MULTILINE)) | YOURS
    assert {secret["file"] for secret in merged(*FILES)["secrets"].values()} == {f"secrets/{name}" for name in made}
    for service in services().values():
        for name, value in service.get("environment", {}).items():
            assert not re.search(r"TOKEN|PASSWORD|SECRET|AUTH|KEY", name) or str(value).startswith("/run/secrets/")
            assert not re.search(r"://[^/]*@", str(value)), "a password in an address"


def test_each_secret_is_mounted_under_a_name_that_its_reader_knows() -> None:
    known = settings_of(Settings) | YOURS | {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "POSTGRES_PASSWORD", "s3.json"}
    for service in services().values():
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["target"]) in known


@pytest.mark.parametrize("text", TEXTS, ids=lambda each: each.name)
def test_each_variable_of_prefect_that_is_named_exists(text: Path) -> None:
    named = set(re.findall(r"\bPREFECT_[A-Z_]+[A-Z]\b", text.read_text())) - OTHERS
    assert named <= settings_of(Settings) | {"PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"}


@pytest.mark.parametrize("text", TEXTS, ids=lambda each: each.name)
def test_each_variable_of_viska_that_is_named_is_read_somewhere(text: Path) -> None:
    read = "".join(path.read_text() for folder in ("flows", "tasks", "deployments") for path in (ROOT / folder).rglob("*.py"))
    read += (ROOT / "docker/entry.sh").read_text() + "".join((ROOT / "docker" / file).read_text() for file in FILES)
    for name in set(re.findall(r"\bVISKA_[A-Z_]+\b", text.read_text())):
        assert re.search(rf"""["'${{]{name}\b""", read), name


def test_the_database_and_the_objects_are_out_of_reach_of_what_needs_them_not() -> None:
    stack = merged(*FILES)
    assert stack["networks"]["database"]["internal"] and stack["networks"]["s3"]["internal"]
    on = {network: {name for name, each in services().items() if network in each["networks"]} for network in stack["networks"]}
    assert on["database"] == {"postgres", "server"}
    assert on["s3"] == {"seaweed", "bucket", "cpu", "cuda"}


def test_the_server_asks_for_a_password_and_lets_no_other_page_in() -> None:
    server = services()["server"]
    assert {"source": "PREFECT_AUTH", "target": "PREFECT_SERVER_API_AUTH_STRING"} in server["secrets"]
    assert "*" not in server["environment"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]


def test_one_training_at_a_time_and_time_to_store_it() -> None:
    command = services()["cuda"]["command"]
    assert command[command.index("--limit") + 1] == "1" and command[command.index("--pool") + 1] == "cuda"
    assert services()["cuda"]["stop_grace_period"] == "3m"
    assert services()["cpu"]["environment"]["VISKA_GPU"] == "cuda"


def test_the_gpu_is_asked_for_only_by_its_own_file() -> None:
    assert "deploy" not in merged("compose.yaml")["services"]["cuda"]
    (device,) = services()["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    assert services()["cuda"]["image"].startswith("viska-gpu:")


@pytest.mark.parametrize("files", [*product(("compose.yaml",), FILES[1:]), ("compose.yaml",)], ids="+".join)
def test_each_way_to_start_it_is_whole(files: tuple[str, ...]) -> None:
    stack = merged(*files)
    for name, service in stack["services"].items():
        assert set(service.get("depends_on", {})) <= set(stack["services"]), name
        assert set(service["networks"]) <= set(stack["networks"]), name
        for secret in service.get("secrets", []):
            assert (secret if isinstance(secret, str) else secret["source"]) in stack["secrets"], name
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in stack["volumes"], name
