"""What is learnt at each place of each step: every clip as often as it should be, its label exact, all known from seed and step."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.audio.log_mel import log_mel
from tasks.contracts.errors import TrainingError
from tasks.model.augment import no_speech
from tasks.model.feed import Feed
from tasks.model.generate import hear, pad_features
from tasks.model.lessons import IGNORED, Lesson, Lessons
from tasks.model.tokens import label_ids, no_speech_id, timestamp_id
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example
from tasks.store.objects import Store
from tests.support.tiny import new_folder, settings, tones, train_tiny

SECOND = 16_000


class Sounding(list[Example]):
    """Clips that have their sound; ten short ones of two speakers."""

    def __init__(self) -> None:
        time = np.arange(SECOND) / SECOND
        self.sounds = [(0.3 * np.sin(2 * np.pi * (200 + 50 * n) * time[: 1_600 + 320 * n + 7])).astype(np.float32) for n in range(10)]
        self.texts = [f"{word} {number}" for number, word in enumerate(["röd", "blå"] * 5)]
        self.ids, self.speakers = [f"clip-{n}" for n in range(10)], ["anna", "bo"] * 5
        super().__init__(
            Example(self.ids[n], self.texts[n], len(sound), *log_mel(sound, 80, SECOND)) for n, sound in enumerate(self.sounds)
        )

    def samples(self, number: int) -> np.ndarray:
        return self.sounds[number]


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return load_whisper(new_folder(tmp_path_factory.mktemp("tiny"), max_tokens=60), "sv", "cpu")


def lessons_of(whisper: Whisper, clips: Sequence[Example], **changes: Any) -> Lessons:
    return Lessons(whisper, clips, settings(**changes))


def same(one: Lesson, other: Lesson) -> bool:
    return (one.inputs, one.targets, one.blanks, one.fill) == (other.inputs, other.targets, other.blanks, other.fill) and np.array_equal(
        one.features, other.features
    )


EVERYTHING: dict[str, Any] = {
    "augment": {"mask_time": 0.3, "mask_bins": 10, "speed": 0.1, "gain": 6, "noise": 0.5, "bpe_dropout": 0.2},
    "keep": {"timestamps": 0.5, "no_speech": 0.2, "stitched": 0.5},
}


def test_without_changes_a_lesson_is_the_stored_clip_and_its_label(whisper: Whisper) -> None:
    lessons = lessons_of(whisper, tones())
    for number, clip in enumerate(tones()):
        lesson, label = lessons.lesson(number, 0, 0), label_ids(whisper.tokenizer, whisper.prefix, clip.text)
        assert lesson.features is not None and np.array_equal(lesson.features, clip.features) and lesson.fill == clip.fill
        assert (lesson.clips, lesson.inputs, lesson.targets) == ((clip.id,), label[:-1], label[1:]) and not any(lesson.blanks)


def test_features_of_the_sound_equal_the_stored_ones_when_nothing_is_changed(whisper: Whisper) -> None:
    clips = Sounding()
    lessons = lessons_of(whisper, clips, augment={"noise": 1e-12})  # goes through the sound, and never draws noise
    for number, clip in enumerate(clips):
        lesson = lessons.lesson(number, 3, 1)
        assert np.array_equal(lesson.features, clip.features) and lesson.fill == clip.fill


def test_all_of_it_follows_from_seed_step_and_place(whisper: Whisper) -> None:
    one, other = lessons_of(whisper, Sounding(), **EVERYTHING), lessons_of(whisper, Sounding(), **EVERYTHING)
    np.random.seed(3)
    assert one.units == other.units
    for number in range(len(one)):
        assert same(one.lesson(number, 5, 2), other.lesson(number, 5, 2))
    assert any(not same(one.lesson(number, 5, 2), one.lesson(number, 6, 2)) for number in range(len(one)))
    assert any(not same(one.lesson(number, 5, 2), one.lesson(number, 5, 3)) for number in range(len(one)))


def test_turning_one_change_on_leaves_the_others_as_they_were(whisper: Whisper) -> None:
    with_masks = lessons_of(whisper, Sounding(), augment={"mask_bins": 10})
    with_more = lessons_of(whisper, Sounding(), augment={"mask_bins": 10, "bpe_dropout": 0.3}, keep={"timestamps": 0.5})
    assert all(with_masks.lesson(number, 1, 0).blanks == with_more.lesson(number, 1, 0).blanks for number in range(10))


def test_blanks_stay_within_the_sound_and_the_widths_of_the_recipe(whisper: Whisper) -> None:  # pitfall 16
    lessons = lessons_of(whisper, tones(), augment={"mask_time": 0.5, "mask_bins": 20})
    widths = Counter[int]()
    for step in range(100):
        lesson = lessons.lesson(step % 6, step, 0)
        begin, end, low, high, low_too, high_too = lesson.blanks
        assert 0 <= begin <= end <= lesson.features.shape[1] and end - begin <= 0.5 * lesson.features.shape[1]
        assert 0 <= low <= high <= 80 and 0 <= low_too <= high_too <= 80 and max(high - low, high_too - low_too) <= 20
        widths[end - begin] += 1
    assert len(widths) > 10


def test_words_stand_between_timestamps_as_often_as_told(whisper: Whisper) -> None:
    lessons, n_stamped = lessons_of(whisper, Sounding(), keep={"timestamps": 0.3}), 0
    for step in range(200):
        number = step % 10
        lesson, clip = lessons.lesson(number, step, 0), lessons.clips[number]
        words = whisper.tokenizer.encode(clip.text, add_special_tokens=False)
        if lesson.inputs[: len(whisper.prefix)] != whisper.prefix:
            n_stamped += 1
            end = -(-clip.n_samples // 320) * 0.02  # the next 20 ms
            expected = [timestamp_id(whisper.tokenizer, 0), *words, timestamp_id(whisper.tokenizer, end), whisper.tokenizer.eos_token_id]
            assert lesson.inputs[:3] == whisper.prefix[:-1] and lesson.targets[2:] == expected
    assert 40 <= n_stamped <= 80


def test_timestamps_are_found_by_name_or_behind_no_timestamps(whisper: Whisper, real_data: Path) -> None:  # pitfall 20
    assert whisper.tokenizer.convert_ids_to_tokens(timestamp_id(whisper.tokenizer, 0.5)) == "<|0.50|>"
    old = load_whisper(real_data / "whisper-digits-from-scratch", "en", "cpu").tokenizer
    assert timestamp_id(old, 0.0) == 50_364 and timestamp_id(old, 30.0) == 51_864 and no_speech_id(old) == 50_362


def test_clips_of_one_speaker_are_joined_each_clip_once_with_exact_timestamps(whisper: Whisper) -> None:
    clips = Sounding()
    lessons = lessons_of(whisper, clips, keep={"stitched": 1.0, "timestamps": 1.0})
    assert sorted(number for unit in lessons.units for number in unit) == list(range(10))
    joined = [number for number, unit in enumerate(lessons.units) if len(unit) > 1]
    assert joined and all(len({clips.speakers[each] for each in unit}) == 1 for unit in lessons.units)
    for number in joined:
        unit, lesson = lessons.units[number], lessons.lesson(number, 0, 0)
        assert lesson.clips == tuple(clips.ids[each] for each in unit)
        tokens = whisper.tokenizer.convert_ids_to_tokens(lesson.targets[2:-1])
        stamps = [float(token[2:-2]) for token in tokens if token.startswith("<|")]
        assert len(stamps) == 2 * len(unit) and stamps == sorted(stamps) and stamps[-1] <= 1.0
        for each, begin, end in zip(unit, stamps[::2], stamps[1::2], strict=True):
            assert 0 <= end - begin - len(clips.sounds[each]) / SECOND < 0.02
            frames = log_mel(np.concatenate([np.zeros(round(begin * SECOND), np.float32), clips.sounds[each]]), 80, SECOND)[0]
            start = round(begin * 100) + 3
            ours = lesson.features[:, start : start + 5]
            assert np.argmax(ours, axis=0).tolist() == np.argmax(frames[:, start : start + 5], axis=0).tolist(), (
                "its own pitch is heard there"
            )
        text = whisper.tokenizer.decode(lesson.targets, skip_special_tokens=True)
        assert text.strip() == " ".join(clips.texts[each] for each in unit)


def test_joined_clips_without_timestamps_have_their_words_in_a_row(whisper: Whisper) -> None:
    clips = Sounding()
    lessons = lessons_of(whisper, clips, keep={"stitched": 1.0})
    number = next(number for number, unit in enumerate(lessons.units) if len(unit) > 1)
    label = label_ids(whisper.tokenizer, whisper.prefix, " ".join(clips.texts[each] for each in lessons.units[number]))
    assert lessons.lesson(number, 0, 0).targets == label[1:]


def test_clips_whose_words_do_not_fit_one_label_are_not_joined(tmp_path: Path) -> None:
    short = load_whisper(new_folder(tmp_path, max_tokens=16), "sv", "cpu")
    clips = Sounding()
    clips.texts = [f"{text} och {text}" for text in clips.texts]
    lessons = lessons_of(short, clips, keep={"stitched": 1.0, "timestamps": 1.0})
    assert lessons.units == [(number,) for number in range(10)]
    assert all(len(lessons.lesson(number, step, 0).inputs) < 16 for number in range(10) for step in range(5)), "nor are stamps squeezed in"


def test_a_sound_without_speech_is_answered_with_nothing(whisper: Whisper) -> None:
    lessons = lessons_of(whisper, tones(), keep={"no_speech": 0.4})
    assert len(lessons) == 10 and lessons.units[6:] == [()] * 4
    lesson = lessons.lesson(7, 2, 0)
    assert lesson.clips == () and lesson.inputs == whisper.prefix
    assert lesson.targets == [no_speech_id(whisper.tokenizer), IGNORED, IGNORED, whisper.tokenizer.eos_token_id]
    assert np.isfinite(lesson.features).all() and lesson.features.shape[1] <= whisper.shape.n_frames
    assert not same(lesson, lessons.lesson(7, 3, 0)) and not same(lesson, lessons.lesson(8, 2, 1)), "each time another sound"


def test_a_model_learns_to_keep_silent(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "tiny")
    section = settings(steps=150, batch=6, learning_rate=1e-2, evaluate_every=150, keep={"no_speech": 0.4})
    whisper, _ = train_tiny(folder, Store(str(tmp_path / "store")), section, dev=tones())
    random = np.random.default_rng(9)
    quiet = [Example("", "", 0, *log_mel(no_speech(random, SECOND), 80, SECOND)) for _ in range(8)]
    assert sum(each.text == "" for each in hear(whisper, pad_features(quiet, 100))) >= 7
    assert [each.text for each in hear(whisper, pad_features(tones(), 100))] == [each.text for each in tones()]


def test_smaller_pieces_spell_the_same_words(whisper: Whisper) -> None:
    lessons = lessons_of(whisper, tones(), augment={"bpe_dropout": 0.5})
    labels = {tuple(lessons.lesson(0, step, 0).targets) for step in range(20)}
    assert len(labels) > 1
    assert {whisper.tokenizer.decode(list(label), skip_special_tokens=True) for label in labels} == {tones()[0].text}


def test_every_clip_is_learnt_once_an_epoch_whatever_is_done_to_it(whisper: Whisper) -> None:
    feed = Feed(whisper, Sounding(), settings(batch=1, **EVERYTHING))
    n_epoch = len(feed.lessons)
    for epoch in range(3):
        clips = [clip for step in range(epoch * n_epoch, (epoch + 1) * n_epoch) for clip in feed.step(step).clips]
        assert sorted(clips) == sorted(Sounding().ids)


def test_clips_without_sound_cannot_be_changed_in_it(whisper: Whisper) -> None:
    with pytest.raises(TrainingError, match=r"^training\.augment\.speed, gain, noise and training\.keep\.stitched need the clips' sound"):
        lessons_of(whisper, tones(), augment={"speed": 0.1})
