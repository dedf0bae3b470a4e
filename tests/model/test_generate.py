"""A trained model is understood, in the order it was asked, and one that does not come to an end is counted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.audio.decode import decode
from tasks.audio.log_mel import log_mel
from tasks.audio.resample import resample
from tasks.model.generate import hear, hear_all, pad_features
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example
from tests.support.tiny import new_folder, tones


@pytest.fixture
def digits(real_data: Path) -> Whisper:
    return load_whisper(real_data / "whisper-digits-from-scratch", "en", "cpu")


@pytest.fixture
def spoken(real_data: Path) -> list[tuple[str, np.ndarray]]:
    """Twenty words and their sound: test recordings, every digit twice, several speakers."""
    folder = real_data / "fsdd-english-digits"
    with (folder / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][::15]
    return [(row["text"], resample(*decode((folder / row["path"]).read_bytes(), 30))) for row in rows]


def example(text: str, samples: np.ndarray) -> Example:
    return Example(text, text, samples.size, *log_mel(samples, 80, 48_000))


def test_spoken_digits_are_transcribed(digits: Whisper, spoken: list[tuple[str, np.ndarray]]) -> None:  # pitfall 35
    heard = dict(hear_all(digits, [example(*each) for each in spoken], batch=8))
    assert len(heard) == 20 and len({text for text, _ in spoken}) == 10
    assert sum(heard[number].text == text for number, (text, _) in enumerate(spoken)) >= 18
    assert not any(each.capped for each in heard.values())


def test_each_clip_is_heard_under_its_own_number_in_whatever_company(digits: Whisper, spoken: list[tuple[str, np.ndarray]]) -> None:
    groups = [spoken[0:1], spoken[3:6], spoken[8:10], spoken[12:13], spoken[16:20]]
    examples = [example(" ".join(text for text, _ in group), np.concatenate([sound for _, sound in group])) for group in groups]
    numbers = [number for number, _ in hear_all(digits, examples, batch=3)]
    lengths = [examples[number].n_samples for number in numbers]
    assert sorted(numbers) == list(range(5)) and lengths == sorted(lengths, reverse=True), "the longest first: what does not fit fails soon"
    together = dict(hear_all(digits, examples, batch=3))
    assert together == {number: hear(digits, pad_features([each], 300))[0] for number, each in enumerate(examples)}
    assert len({len(each.text.split()) for each in together.values()}) > 2
    assert not any(each.capped for each in together.values()), "a short one in a batch of long ones has come to its end"


def test_what_is_heard_is_what_the_reference_decodes(digits: Whisper, spoken: list[tuple[str, np.ndarray]], tmp_path: Path) -> None:
    features = pad_features([example(*each) for each in spoken[:12]], 300)
    untrained = load_whisper(new_folder(tmp_path, seed=3), "sv", "cpu")
    for whisper, batch in ((digits, features), (untrained, pad_features(tones(), 100))):
        said = whisper.model.generate(batch, language=whisper.language, do_sample=False, num_beams=1, return_dict_in_generate=True)
        texts = whisper.tokenizer.batch_decode(said.sequences, skip_special_tokens=True)
        assert [each.text for each in hear(whisper, batch)] == [text.strip() for text in texts] and any(texts)


def test_its_confidence_is_that_of_the_reference(digits: Whisper, spoken: list[tuple[str, np.ndarray]], tmp_path: Path) -> None:
    features = pad_features([example(*each) for each in spoken[:12]], 300)
    untrained = load_whisper(new_folder(tmp_path, seed=3), "sv", "cpu")
    for whisper, batch in ((digits, features), (untrained, pad_features(tones(), 100))):
        heard = hear(whisper, batch)
        said = whisper.model.generate(batch, language=whisper.language, do_sample=False, num_beams=1, output_scores=True,
                                      return_dict_in_generate=True)  # fmt: skip
        logprobs = whisper.model.compute_transition_scores(said.sequences, said.scores, normalize_logits=True)
        for each, row in zip(heard, logprobs, strict=True):
            assert each.logprob == pytest.approx(float(row[: each.n_tokens].mean()), abs=2e-4) and each.logprob < 0
            assert each.capped or not row[each.n_tokens :].any(), "the end is the last that counts"
    assert len({each.n_tokens for each in heard}) >= 1 and all(0 <= each.no_speech <= 1 for each in heard)


def test_a_clip_in_which_nothing_is_heard_is_not_dropped(tmp_path: Path) -> None:
    whisper = load_whisper(new_folder(tmp_path), "sv", "cpu")
    decoder = whisper.model.model.decoder
    with torch.no_grad():  # it can only say the end
        decoder.layer_norm.weight.zero_()
        decoder.layer_norm.bias.fill_(1)
        decoder.embed_tokens.weight[whisper.tokenizer.eos_token_id] = 1
    heard = dict(hear_all(whisper, tones(), batch=4))
    assert [(each.text, each.capped, each.n_tokens) for each in heard.values()] == [("", False, 1)] * 6 and len(heard) == 6


def test_a_model_that_comes_to_no_end_is_capped(tmp_path: Path) -> None:  # pitfall 34
    untrained = load_whisper(new_folder(tmp_path, seed=3), "sv", "cpu")
    heard = [each for _, each in hear_all(untrained, tones(), batch=4)]
    assert len(heard) == 6 and all(each.capped for each in heard)
    assert not any("<|sv|>" in each.text or "<|transcribe|>" in each.text for each in heard), "the prefix is no word"


def test_an_english_only_model_listens_without_language_and_task(tmp_path: Path) -> None:  # pitfall 23
    new_folder(tmp_path, language="en")
    path = tmp_path / "generation_config.json"
    said = json.loads(path.read_text()) | {"is_multilingual": False}
    path.write_text(json.dumps({key: said[key] for key in said.keys() - {"language", "task", "lang_to_id", "task_to_id"}}))
    english = load_whisper(tmp_path, "en", "cpu")
    assert len(english.prefix) == 2 and not hasattr(english.model.generation_config, "language")
    assert len(list(hear_all(english, tones(), batch=6))) == 6
