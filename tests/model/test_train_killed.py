"""A training survives kills at any moment, lost disks and a bad network; asked to stop, it keeps what it learnt.

benchmarks/kill_train.py does that at length.
"""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.model import keeper as keepers
from tasks.model import loop
from tasks.model.checkpoint import Progress, save_checkpoint
from tasks.model.keeper import Keeper
from tasks.model.look import look
from tasks.model.signals import Stopped
from tasks.model.whisper import load_whisper
from tasks.store.objects import Store
from tests.support.fake_gcs import FakeGcs
from tests.support.tiny import RUN, TOLD, always_wrong, checkpoints, new_folder, settings, tones, train_tiny
from tests.support.train_killed import ASKED, BROKEN, GRACE, Attempt, Order, Tally, lost_steps, torture, wrongs

KILLS = {"folder": 5, "gcs": 5, "asked": 1}
STEPS = [
    {
        "step": step + 1,
        "loss": (2.0 - step / 8).hex(),
        "clips": [f"{tones()[at].id}-{number}" for at in range(2 * (step % 3), 2 * (step % 3) + 2)],
    }
    for step, number in enumerate([0, 0, 0, 1, 1, 1, 2, 2, 2])
]  # an epoch


@pytest.fixture(scope="module")
def tallies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tally]:
    with FakeGcs() as gcs:
        gcs.buckets["kill"] = {}
        gcs.bad_weather(0.015, seed=0)
        done = torture(Order(str(tmp_path_factory.mktemp("killed")), KILLS, steps=30, url=gcs.url))
        assert gcs.met.total() > 5, "a network that bad"
    return {tally.store: tally for tally in done}


@pytest.mark.parametrize("store", ["folder", "gcs"])
def test_killed_at_random_moments_it_ends_as_if_it_had_been_left_alone(tallies: dict[str, Tally], store: str) -> None:  # promises C1 to C3
    tally = tallies[store]
    assert tally.violations == []
    assert tally.n_kills >= KILLS[store] and tally.n_raised == 0
    assert tally.n_checkpoints >= 2 and min(tally.lost) >= 0


def test_asked_to_stop_it_stores_what_it_learnt_in_time_and_loses_nothing(tallies: dict[str, Tally]) -> None:  # promise C4
    tally = tallies["asked"]
    assert tally.violations == []
    assert len(tally.stopping) == tally.n_kills == 1 and max(tally.stopping) < GRACE, "it ended with the exit code of SIGTERM"
    assert tally.lost == [0]


def test_asked_to_stop_before_the_first_step_it_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: Any, **options: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return look(*arguments, **options)

    monkeypatch.setattr(loop, "look", asked)
    store = Store(str(tmp_path / "store"))
    with pytest.raises(Stopped, match=r"^asked to stop \(SIGTERM\) after step 0 of 8; there is nothing to keep yet; run again to go on$"):
        train_tiny(new_folder(tmp_path / "tiny"), store, settings())
    assert checkpoints(store) == []


def test_asked_to_stop_while_the_last_steps_are_on_their_way_it_waits_until_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(store: Store, run: str, weights: Any, moments: Any, progress: Progress, told: Any, newest: int) -> None:
        if progress.step == 8:
            time.sleep(0.3)  # the loop has nothing more to do by now
            os.kill(os.getpid(), signal.SIGTERM)
        save_checkpoint(store, run, weights, moments, progress, told, newest)

    monkeypatch.setattr(keepers, "save_checkpoint", asked)
    store = Store(str(tmp_path / "store"))
    whisper, keeper = load_whisper(new_folder(tmp_path / "tiny"), "sv", "cpu"), Keeper(store, RUN, TOLD, 2)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(Stopped, match=r"after step 8 of 8; its checkpoint is on the store; run again to go on$"):
            loop.train(whisper, tones(), tones()[:2], settings(), always_wrong, keeper, lambda state: None)
    finally:
        keeper.close()
        signal.signal(signal.SIGTERM, before)
    assert 8 in checkpoints(store)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": [*STEPS[:8], {**STEPS[8], "loss": "0x1.9p+0"}]}, "attempt 1: step 9 has another loss or other clips"),
        ({"began": 3, "steps": STEPS[3:]}, "2 steps were lost, of 1 that no checkpoint held"),
        ({"began": 6, "steps": STEPS[6:]}, "steps are missing, or taken twice"),
        ({"code": BROKEN, "words": "OSError: 503"}, "attempt 1 ended by itself, with 4, after 1 s: ['OSError: 503']"),
        ({"code": -signal.SIGKILL, "was_hit": False}, "attempt 1 ended by itself, with -9"),
        ({"code": ASKED, "was_hit": True, "sealed": [7]}, "attempt 1 was asked to stop, and did not keep what it learnt"),
        ({"code": ASKED, "was_hit": True, "sealed": [9], "stopping": 31.0}, "attempt 1 took 31 s to stop"),
        ({"end": {"last state": "other"}}, "another last state"),
    ],
)
def test_whatever_goes_wrong_is_noticed(wrong: dict[str, Any], told: str) -> None:
    alone = Attempt(0, 0, STEPS, [4, 9], {"last state": "this"}, False, False, 1.0, 0.0, "")
    killed = replace(alone, code=-signal.SIGKILL, steps=STEPS[:5], sealed=[4], end={}, was_hit=True)
    rest = replace(alone, began=4, steps=STEPS[4:], sealed=[9])
    assert wrongs([alone], alone) == wrongs([killed, rest], alone) == [] and lost_steps([killed, rest]) == [(1, 1)]
    assert any(each.startswith(told) for each in wrongs([killed, replace(rest, **wrong)], alone))


def test_a_clip_that_comes_twice_in_an_epoch_is_noticed() -> None:
    alone = Attempt(0, 0, STEPS[:3] + STEPS[:6], [9], {}, False, False, 1.0, 0.0, "")
    assert "epoch 0 has a clip twice, or not at all" in wrongs([alone], alone)
