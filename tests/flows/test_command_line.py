"""`viska` as people call it: in a process of its own, with Prefect's temporary server; interrupted, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tasks.contracts.recipe import read_recipe
from tasks.contracts.search import check, read_search

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
SLOW = {
    "name": "slow",
    "corpus": {"kind": "espeak", "n_train": 24, "n_dev": 4, "n_test": 4},
    "gates": {"max_rejected": 1.0},
    "model": {"kind": "scratch", "width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "window": 4, "vocabulary": 300},
    "training": {"steps": 400, "batch": 4, "warmup": 1, "learning_rate": 1e-3, "evaluate_every": 10, "dev_clips": 2},
    "scoring": {"resamples": 100},
}


def _start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m flows` in a session of its own, so that everything it starts can be counted."""
    environment = os.environ | {"VISKA_STORE": str(tmp_path / "store"), "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    return subprocess.Popen([sys.executable, "-m", "flows", *arguments], env=environment, cwd=tmp_path, text=True, start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def _of_session(leader: int) -> list[int]:
    """Return the processes of a session that are still alive."""
    alive = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == leader and fields[0] != "Z":
                alive.append(int(entry.name))
    return alive


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="counts processes through /proc")
def test_ctrl_c_leaves_no_process_and_the_same_command_goes_on(tmp_path: Path) -> None:
    recipe = tmp_path / "slow.yaml"
    recipe.write_text(yaml.safe_dump(SLOW))
    run = _start(tmp_path, "train", "--recipe", str(recipe))
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "store" / "training").glob("*/*/seal.json"))) < 2:
        assert run.poll() is None and time.monotonic() < deadline, run.communicate()[0]
        time.sleep(0.05)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to everything in the foreground
    words, _ = run.communicate(timeout=60)
    assert run.returncode == 130 and "run the same command again to go on" in words
    assert _of_session(run.pid) == []
    assert not list((tmp_path / "store").rglob(".tmp-*"))  # nothing half-written

    again = _start(tmp_path, "train", "--recipe", str(recipe), "--training.steps", "400")
    words, _ = again.communicate(timeout=200)
    assert again.returncode == 0, words
    assert "goes on after step" in words and "WER" in words
    assert "found in the store" in words.splitlines()[-1]
    assert _of_session(again.pid) == []


def test_a_refused_recipe_costs_no_start_and_names_the_field(tmp_path: Path) -> None:
    run = _start(tmp_path, "retrain", "--training.batch", "0", "--model.width", "100", "--corpus.n_test", "x")
    words, _ = run.communicate(timeout=30)
    assert run.returncode == 2
    assert "training.batch: got 0; input should be greater than or equal to 1" in words
    assert "corpus.n_test: got 'x'" in words and "model.width: got 100" in words
    assert not (tmp_path / "prefect").exists()  # no server was started


@pytest.mark.slow
def test_a_corpus_that_cannot_be_read_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    run = _start(tmp_path, "prepare", "--corpus.kind", "folder", "--corpus.path", str(tmp_path / "nowhere"))
    words, _ = run.communicate(timeout=120)
    assert run.returncode == 2 and "Traceback" not in words
    assert words.splitlines()[-1].startswith(f"viska: {tmp_path}/nowhere: no table; expected one of manifest.csv")


def test_an_unknown_flag_and_an_unknown_key_are_refused(tmp_path: Path) -> None:
    flag = _start(tmp_path, "prepare", "--training.stepz", "3")
    assert "unrecognized arguments: --training.stepz" in flag.communicate(timeout=30)[0] and flag.returncode == 2
    (tmp_path / "bad.yaml").write_text("trainning: {steps: 3}\n")
    key = _start(tmp_path, "prepare", "--recipe", "bad.yaml")
    assert "trainning: there is no such setting" in key.communicate(timeout=30)[0] and key.returncode == 2


@pytest.mark.slow
def test_a_host_that_does_not_answer_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_API_URL", "http://127.0.0.1:9")
    run = _start(tmp_path, "plan", "--corpus.kind", "data_collective", "--corpus.dataset", "cv-sv")
    words = run.communicate(timeout=60)[0]
    assert run.returncode == 1 and "Traceback" not in words
    assert words.splitlines()[-1].startswith("viska: http://127.0.0.1:9/datasets/cv-sv: ") and "run again later" in words


def test_a_flag_may_be_a_list_or_a_dash(tmp_path: Path) -> None:
    flags = ("--corpus.kind", "common_voice", "--corpus.path", "x", "--corpus.train", "[train, invalid]")
    run = _start(tmp_path, "plan", *flags)
    assert "corpus.train.1: got 'invalid'; input should be 'train', 'dev'" in run.communicate(timeout=30)[0] and run.returncode == 2
    run = _start(tmp_path, "plan", "--corpus.kind", "folder", "--corpus.path", "nowhere", "--corpus.split_column", "-")
    assert "viska: nowhere: no table" in run.communicate(timeout=30)[0] and run.returncode == 2


@pytest.mark.parametrize("recipe", sorted((ROOT / "deployments" / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_that_comes_with_viska_is_valid(recipe: Path) -> None:
    told = yaml.safe_load(recipe.read_text())
    if recipe.name.startswith("sweep-"):
        check(read_recipe(told["recipe"]), read_search(told["search"]))
    else:
        read_recipe(told)
