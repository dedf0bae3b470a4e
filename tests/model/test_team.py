"""Two processes learn what one learns from the same recipe: the step is as large, its clips are shared out."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tasks.contracts.errors import TrainingError
from tasks.model.feed import Feed
from tasks.model.whisper import load_whisper
from tasks.store.objects import Store
from tests.support.tiny import checkpoints, new_folder, settings, tones, train_tiny, weights

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("tiny"))


def two(folder: Path, place: Path, changes: dict[str, Any], *stop: str) -> tuple[int, list[list[float]], list[dict[str, torch.Tensor]]]:
    """Train with two processes over gloo; return exit code, losses and weights of each."""
    (place / "out").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tests.support.train_team"]
    done = subprocess.run(
        [*command, str(folder), str(place / "store"), str(place / "out"), json.dumps(changes), *stop],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    files = [sorted((place / "out").glob(pattern)) for pattern in ("losses-*.json", "weights-*.safetensors")]
    assert len(files[0]) == 2, done.stderr[-3_000:]
    return done.returncode, [json.loads(path.read_text()) for path in files[0]], [load_file(path) for path in files[1]]


def test_two_processes_learn_as_one_does(folder: Path, tmp_path: Path) -> None:
    changes = {"batch": 3, "accumulate": 2, "augment": {"mask_time": 0.3, "mask_bins": 10}}
    whole: list[float] = []
    one, progress = train_tiny(folder, Store(str(tmp_path / "one")), settings(**changes), dev=tones(),
                        watch=lambda moment: None if moment.look else whole.append(moment.loss))  # fmt: skip
    code, losses, models = two(folder, tmp_path / "two", changes)
    assert code == 0 and losses[0] == losses[1] == pytest.approx(whole, rel=1e-5)
    assert all(torch.equal(weight, models[1][name]) for name, weight in models[0].items()), "they stay equal to the bit"
    for name, weight in models[0].items():
        assert torch.allclose(weight, weights(one)[name], atol=1e-4, rtol=0), name
    looks = [json.loads((tmp_path / "two" / "out" / f"looks-{rank}.json").read_text()) for rank in range(2)]
    for here, there, ours in zip(*looks, progress.history, strict=True):
        assert {**here, "seconds": 0} == {**there, "seconds": 0} and here["dev_loss"] == pytest.approx(ours["dev_loss"], rel=1e-4)
    assert {**looks[0][0], "seconds": 0} == {**progress.history[0], "seconds": 0}, "before the first step to the bit"
    assert len(list((tmp_path / "two" / "store" / "training" / "tiny").iterdir())) >= 3, "one of them kept the state"


@pytest.mark.slow
def test_asked_to_stop_one_by_one_they_stop_after_the_same_step_and_go_on_alone(folder: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    code, losses, _ = two(folder, tmp_path, {"batch": 4, "steps": 40, "evaluate_every": 20}, "5")
    step = max(checkpoints(store))
    assert code != 0 and len(losses[0]) == len(losses[1]) == step and 5 <= step <= 7
    whole: list[float] = []
    section = settings(batch=4, steps=40, evaluate_every=20)
    train_tiny(folder, Store(f"{store.url}-one"), section, dev=tones(), watch=lambda each: None if each.look else whole.append(each.loss))
    rest: list[float] = []
    _, progress = train_tiny(folder, store, section, dev=tones(), watch=lambda each: None if each.look else rest.append(each.loss))
    assert progress.step == 40 and losses[0] + rest == pytest.approx(whole, rel=1e-3)


def test_more_processes_than_clips_in_a_step_are_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"^3 processes share out the 2 clips of a step; raise training\.batch"):
        Feed(load_whisper(folder, "sv", "cpu"), tones(), settings(batch=2), world=3)


def test_shared_out_every_clip_is_learnt_by_one_of_them(folder: Path) -> None:
    whisper = load_whisper(folder, "sv", "cpu")
    section = settings(batch=2, accumulate=2)
    alone = Feed(whisper, tones(), section)
    team = [Feed(whisper, tones(), section, rank=rank, world=3) for rank in range(3)]
    for number in range(9):
        parts = [feed.step(number) for feed in team]
        assert sorted(clip for part in parts for clip in part.clips) == sorted(alone.step(number).clips)
        assert sum(part.n_tokens for part in parts) == alone.step(number).n_tokens
