"""What the model is fed is what the reference would feed it: no doubled start, an end that is learnt, padding that is silence."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from tasks.model.batch import IGNORED, Batch, _pad_at_once, _pad_one_by_one, collate
from tasks.model.generate import pad_features
from tasks.model.lessons import lesson_of
from tasks.model.tokens import label_ids
from tasks.model.whisper import Whisper, load_whisper
from tests.support.tiny import new_folder, tones

PAD = 9
LABELS = [[1, 2, 3, 4, 20, 21, 22, PAD], [1, 2, 3, 4, PAD], [1, 2, 3, 4, 20, PAD]]  # prefix, words, end; pad is the end, as in Whisper


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Whisper:
    return load_whisper(new_folder(tmp_path_factory.mktemp("tiny")), "sv", "cpu")


@pytest.fixture
def batch() -> Batch:
    return collate([lesson_of(*each) for each in zip(tones(), LABELS, strict=False)], 100, PAD)


def test_the_decoder_reads_the_start_once_and_says_the_next_token(batch: Batch) -> None:  # pitfall 19
    assert batch.inputs.tolist() == [[1, 2, 3, 4, 20, 21, 22], [1, 2, 3, 4, PAD, PAD, PAD], [1, 2, 3, 4, 20, PAD, PAD]]
    assert (batch.inputs == 1).sum(dim=1).tolist() == [1, 1, 1]
    for row, ids in enumerate(LABELS):
        assert batch.inputs[row, : len(ids) - 1].tolist() == ids[:-1]
        assert batch.labels[row, : len(ids) - 1].tolist() == ids[1:]


def test_the_end_is_learnt_although_padding_is_the_same_token(batch: Batch) -> None:  # pitfall 21
    assert (batch.labels == PAD).sum(dim=1).tolist() == [1, 1, 1]
    assert batch.labels[1].tolist() == [2, 3, 4, PAD, IGNORED, IGNORED, IGNORED]
    assert (batch.labels != IGNORED).sum(dim=1).tolist() == [len(ids) - 1 for ids in LABELS]


def test_the_loss_equals_the_references(whisper: Whisper) -> None:
    examples = tones()
    labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text * (1 + number % 2)) for number, each in enumerate(examples)]
    assert len({len(ids) for ids in labels}) > 1
    batch = collate(
        [lesson_of(*each) for each in zip(examples, labels, strict=True)], whisper.shape.n_frames, whisper.tokenizer.pad_token_id
    )
    model = whisper.model.eval()
    with torch.no_grad():
        reference = model(input_features=batch.features(), labels=batch.labels)
        logits = model(input_features=batch.features(), decoder_input_ids=batch.inputs).logits
    ours = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    assert torch.equal(logits, reference.logits), "transformers shifts the labels to the same inputs"
    assert ours.item() == pytest.approx(reference.loss.item(), abs=1e-6)


def test_each_clip_is_padded_with_its_own_silence(batch: Batch) -> None:  # pitfall 12
    features = batch.features()
    assert features.shape == (3, 80, 100) and batch.lengths.tolist() == [42, 51, 60]
    for row, example in enumerate(tones()[:3]):
        assert (features[row, :, : batch.lengths[row]].numpy() == example.features).all()
        assert (features[row, :, batch.lengths[row] :] == np.float32(example.fill)).all() and example.fill != 0
    assert len({example.fill for example in tones()[:3]}) == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_padded_on_the_device_is_what_is_padded_before_hearing(dtype: type) -> None:
    examples = [replace(each, features=each.features.astype(dtype)) for each in tones()]
    batch = collate([lesson_of(each, LABELS[0]) for each in examples], 100, PAD)
    assert batch.frames.dtype == torch.from_numpy(np.zeros(1, dtype)).dtype and batch.frames.numel() == sum(
        each.features.size for each in examples
    )
    assert torch.equal(batch.features(), pad_features(examples, 100).float())
    ragged = batch.frames, batch.lengths, batch.fills, 80, 100
    assert torch.equal(_pad_at_once(*ragged), _pad_one_by_one(*ragged)), "the way of a GPU and that of a CPU"


def test_halves_are_the_clips_of_the_whole(batch: Batch) -> None:
    one, other = batch.halves()
    assert (len(one), len(other)) == (2, 1)
    assert torch.equal(torch.cat([one.features(), other.features()]), batch.features())
    assert torch.equal(torch.cat([one.labels, other.labels]), batch.labels) and torch.equal(other.inputs, batch.inputs[2:])


def test_labels_are_rounded_up_to_a_bucket_but_not_beyond_the_longest_label() -> None:
    lessons = [lesson_of(*each) for each in zip(tones(), LABELS, strict=False)]
    assert collate(lessons, 100, PAD, 16).labels.shape == (3, 16) and collate(lessons, 100, PAD, 16, most=10).labels.shape == (3, 10)
    assert torch.equal(collate(lessons, 100, PAD, 16).labels[:, :7], collate(lessons, 100, PAD).labels)
    assert (collate(lessons, 100, PAD, 16).labels[:, 7:] == IGNORED).all()


def test_padded_features_equal_the_extractors() -> None:
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    sounds = [(0.3 * np.sin(2 * np.pi * 220 * 1.5**number * np.arange(6_400 + 1_500 * number) / 16_000)) for number in range(6)]
    reference = extractor([sound.astype(np.float32) for sound in sounds], sampling_rate=16_000, return_tensors="np").input_features
    assert (pad_features(tones(), 100).numpy() == reference).all()


def blanked(batch: Batch, *blanks: int) -> torch.Tensor:
    return replace(batch, blanks=torch.tensor([blanks] * len(batch)), is_blanked=True).features()


def test_blanks_never_touch_the_padding(batch: Batch) -> None:  # pitfall 16
    features = blanked(batch, 10, 42, 0, 20, 60, 80)
    for row, length in enumerate(batch.lengths.tolist()):
        assert torch.equal(features[row, :, length:], batch.features()[row, :, length:])


def test_blanks_are_one_stretch_of_time_and_two_bands_of_bins(batch: Batch) -> None:
    features = blanked(batch, 10, 15, 3, 6, 70, 72)
    for row, length in enumerate(batch.lengths.tolist()):
        expected = batch.features()[row]
        expected[:, 10:15] = expected[3:6, :length] = expected[70:72, :length] = 0.0
        assert torch.equal(features[row], expected)
    assert torch.equal(blanked(batch, 0, 0, 0, 0, 0, 0), batch.features())
