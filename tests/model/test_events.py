"""What TensorBoard reads of a training is what was seen at its looks, once each, whatever happened in between."""

import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tasks.model import aside as module
from tasks.model.aside import Aside
from tasks.model.events import FILE, FOLDER, SCALARS, Events, earlier_looks, escaped, write_events
from tasks.model.loop import Moment
from tasks.model.optimise import learning_rate
from tasks.store.objects import Store
from tests.support.tiny import RUN, new_folder, settings, train_tiny

SETTINGS = settings(steps=8)


def file_of(store: Store) -> Path:
    (path,) = (Path(store.root) / FOLDER / RUN).iterdir()
    assert path.name == FILE
    return path


def read(path: Path) -> EventAccumulator:
    events = EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def look(step: int, **changes: Any) -> dict[str, Any]:
    samples = [{"id": "a|b", "reference": "*två* <b>ord</b>", "hypothesis": "ett\nord"}]
    seen = {"step": step, "dev_loss": 2.0 / (step + 1), "dev_wer": 1.5, "dev_right": 0.25, "samples": samples, "seconds": 0.5 * step}
    return seen | ({"loss": 1.0 / step} if step else {}) | changes


def wrongs(events: EventAccumulator, looks: list[dict[str, Any]]) -> list[str]:
    """Return the names under which other values are read than were seen."""
    found = []
    for name, title in SCALARS.items():
        expected = [(each["step"], each["seconds"], each[name]) for each in looks if name in each]
        got = [(each.step, each.wall_time, each.value) for each in events.Scalars(title)]
        found += [title] * (got != [pytest.approx(row, rel=1e-6) for row in expected])
    rates = [(each.step, each.value) for each in events.Scalars("learning_rate")]
    expected_rates = [(each["step"], pytest.approx(learning_rate(each["step"] - 1, SETTINGS))) for each in looks if each["step"]]
    return found + ["learning_rate"] * (rates != expected_rates)


def test_every_value_is_read_back_and_words_are_shown_as_they_are(tmp_path: Path) -> None:
    store, looks = Store(str(tmp_path)), [look(step) for step in (0, 4, 8)]
    write_events(store, RUN, SETTINGS, looks)
    events = read(file_of(store))
    assert wrongs(events, looks) == []
    text = events.Tensors("samples")
    assert [each.step for each in text] == [0, 4, 8]
    assert text[0].tensor_proto.string_val[0].decode().endswith("| a\\|b | \\*två\\* \\<b\\>ord\\</b\\> | ett ord |")


def test_a_reader_that_has_the_file_open_goes_on_where_it_was(tmp_path: Path) -> None:
    store, looks = Store(str(tmp_path)), [look(step) for step in range(8)]
    write_events(store, RUN, SETTINGS, looks[:3])
    events = read(file_of(store))
    for number in range(4, 8):
        before = file_of(store).read_bytes()
        write_events(store, RUN, SETTINGS, looks[: number + 1])
        assert file_of(store).read_bytes().startswith(before)
        events.Reload()
        assert wrongs(events, looks[: number + 1]) == []


def test_a_training_that_goes_on_has_one_file_with_every_look_once(tmp_path: Path) -> None:
    folder, store = new_folder(tmp_path / "tiny"), Store(str(tmp_path / "store"))
    with pytest.raises(KeyboardInterrupt), Events(store, RUN, SETTINGS) as events:
        train_tiny(folder, store, SETTINGS, stop_after=4, watch=events)
    assert [each.step for each in read(file_of(store)).Scalars("dev/loss")] == [0, 2, 4]
    assert earlier_looks(store, RUN, 4) == events.looks
    with Events(store, RUN, SETTINGS) as events:
        _, progress = train_tiny(folder, store, SETTINGS, watch=events)
    assert events.looks == progress.history and [each["step"] for each in progress.history] == [0, 2, 4, 6, 8]
    assert wrongs(read(file_of(store)), progress.history) == []
    assert [len(list(path.iterdir())) for path in (Path(store.root) / FOLDER).iterdir()] == [1]


def test_looks_that_cannot_be_read_are_not_shown_and_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Store):
        def read(self, path: str) -> bytes:
            raise OSError("the network is down")

    assert earlier_looks(Broken(str(tmp_path)), RUN, 0) == [] and not caplog.text
    assert earlier_looks(Broken(str(tmp_path)), RUN, 4) == []
    assert "training tiny: its looks up to step 4 cannot be shown: the network is down" in caplog.text


def test_without_tensorboard_there_is_one_line_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("tensorboard.compat.proto.event_pb2", "tensorboard.summary.writer.record_writer"):
        monkeypatch.setitem(sys.modules, name, None)
    with Events(Store(str(tmp_path)), RUN, SETTINGS) as events:
        for step in (1, 2, 3):
            events(Moment(step, 8, 1.0, 0.1, (), 1.0, 0.0, 1.0, 4, step, look(step)))
            time.sleep(0.1)
    lines = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert lines == ["TensorBoard: ImportError: not installed here: pip install tensorboard; the training goes on without it"]
    assert not (tmp_path / FOLDER).exists()


def test_events_are_written_without_tensorflow_and_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise AssertionError('imported')")
    code = f"""
import json, sys
sys.path.insert(0, {str(tmp_path)!r})
from tasks.model.events import write_events
from tasks.store.objects import Store
from tests.support.tiny import settings
write_events(Store("memory://"), "tiny", settings(steps=8), [json.loads({json.dumps(json.dumps(look(4)))})])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], text=True, capture_output=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_work_that_takes_long_is_done_for_the_newest_only_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    may_go, done = threading.Event(), []

    def work(number: int) -> None:
        may_go.wait(10)
        done.append(number)

    monkeypatch.setattr(module, "LAST", 0.2)
    aside = Aside("numbers", work)
    began = time.monotonic()
    for number in range(1000):
        aside.leave(number)
    assert time.monotonic() - began < 1.0
    aside.close()
    assert time.monotonic() - began < 2.0 and done == [], "closed, though the work hangs"
    may_go.set()
    assert aside.thread is not None
    aside.thread.join(10)
    assert done[-1] == 999 and len(done) <= 2


def test_plain_words_stay_plain() -> None:
    assert escaped("åker, till sjön: 5 %") == "åker, till sjön: 5 %"
