"""The Dockerfiles: who runs, what is copied in which order, and which packages the image without a GPU leaves out."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOR_CPU = ROOT / "docker/for_cpu.py"
HASH = "sha256=" + "a" * 64


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return what a Dockerfile says, a line each, as (instruction, words)."""
    lines = re.sub(r"\\\n(#.*\n)*", " ", path.read_text()).splitlines()
    said = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return [(word, re.sub(r"\s+", " ", rest).strip()) for word, _, rest in said]


@pytest.fixture(params=["cpu", "gpu"])
def dockerfile(request: pytest.FixtureRequest) -> list[tuple[str, str]]:
    return instructions(ROOT / f"docker/{request.param}.Dockerfile")


def for_cpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, FOR_CPU, *arguments], capture_output=True, text=True, check=False)


def names(requirements: str) -> set[str]:
    return {line.split("==")[0] for line in requirements.splitlines() if re.match(r"\S+==", line)}


def test_nobody_is_root_when_the_container_runs(dockerfile: list[tuple[str, str]]) -> None:
    users = [words for word, words in dockerfile if word == "USER"]
    assert users == ["10001:10001"]
    after = [word for word, _ in dockerfile[dockerfile.index(("USER", users[0])) :]]
    assert not {"RUN", "COPY"} & set(after), "what follows USER would be that user's to change"


def test_nothing_is_fetched_by_address_and_no_secret_is_built_in(dockerfile: list[tuple[str, str]]) -> None:
    assert not [words for word, words in dockerfile if word == "ADD"]
    for word, words in dockerfile:
        assert word not in ("ARG", "ENV") or not re.search(r"TOKEN|PASSWORD|SECRET|AUTH|API_KEY", words)
        assert word != "RUN" or not re.search(r"\b(curl|wget)\b", words)


def test_the_base_is_pinned_and_can_be_given_with_its_digest(dockerfile: list[tuple[str, str]]) -> None:
    assert dockerfile[0][0] == "ARG" and re.fullmatch(r"BASE=python:3\.\d+\.\d+-slim-\w+", dockerfile[0][1])
    assert {words.split(" ")[0] for word, words in dockerfile if word == "FROM"} == {"${BASE}"}


def test_packages_are_installed_by_hash_and_before_the_code_is_copied(dockerfile: list[tuple[str, str]]) -> None:
    installs = [number for number, (word, words) in enumerate(dockerfile) if word == "RUN" and "pip install" in words]
    code = min(number for number, (word, words) in enumerate(dockerfile) if word == "COPY" and re.match(r"(flows|tasks) ", words))
    assert "--require-hashes" in dockerfile[installs[0]][1] and installs[0] < code
    assert all("--no-index" in dockerfile[number][1] for number in installs[1:]), "after that nothing is fetched"


def test_what_changes_often_is_copied_last(dockerfile: list[tuple[str, str]]) -> None:
    copied = [words.split(" ")[0] for word, words in dockerfile if word == "COPY"]
    assert copied[-3:] == ["deployments", "tasks", "flows"]


def test_all_that_is_copied_exists_and_is_let_into_the_build(dockerfile: list[tuple[str, str]]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, words in dockerfile:
        if word == "COPY" and not words.startswith("--from"):
            for source in words.split(" ")[:-1]:
                assert (ROOT / source).exists() and source in allowed, source


def test_the_build_sees_no_secret_and_no_history() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*" and not [line for line in lines if line.startswith("!") and re.search(r"secret|git|env|store$", line)]
    assert "/secrets/" in (ROOT / "docker/.gitignore").read_text().split()


def test_a_container_starts_with_the_entry_script_which_can_be_run(dockerfile: list[tuple[str, str]]) -> None:
    assert ("ENTRYPOINT", '["/app/docker/entry.sh"]') in dockerfile
    assert os.access(ROOT / "docker/entry.sh", os.X_OK) and os.access(ROOT / "docker/secrets.sh", os.X_OK)
    assert [words for word, words in dockerfile if word == "HEALTHCHECK"]


def test_without_a_gpu_what_torch_never_loads_is_left_out_and_the_rest_keeps_its_hashes() -> None:
    before = (ROOT / "requirements.txt").read_text()
    after = for_cpu(str(ROOT / "requirements.txt")).stdout
    assert names(before) - names(after) == {"triton", "nvidia-cuda-cccl", "nvidia-nvtx", "cuda-toolkit"}
    for entry in re.findall(r"^\S+==.*(?:\n    .*)*", after, re.MULTILINE):
        assert entry in before and "--hash=sha256:" in entry


def test_with_a_cpu_build_of_torch_all_of_cuda_is_left_out() -> None:
    requirements = (ROOT / "requirements.txt").read_text()
    version = re.search(r"^torch==(\S+)", requirements, re.MULTILINE)[1]
    wheel = f"https://wheels.example/cpu/torch-{version}%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl#{HASH}"
    after = for_cpu(str(ROOT / "requirements.txt"), wheel).stdout
    assert f"torch @ {wheel}\n" in after
    gone = names(requirements) - names(after)
    assert {"torch", "triton", "nvidia-cudnn-cu13"} <= gone and all(re.match(r"torch$|triton|nvidia-|cuda-", name) for name in gone)


@pytest.mark.parametrize(
    "wheel", ["https://wheels.example/torch-2.15.0%2Bcpu-cp311.whl", f"https://wheels.example/torch-1.0.0%2Bcpu-cp311.whl#{HASH}"]
)
def test_a_build_of_torch_without_its_hash_or_of_another_version_is_refused(wheel: str) -> None:
    refused = for_cpu(str(ROOT / "requirements.txt"), wheel)
    assert refused.returncode == 1 and "expected the address of a wheel of torch" in refused.stderr
