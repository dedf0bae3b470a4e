"""What the model is fed is what the reference would feed it: no doubled start, an end that is learnt, padding that is silence."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from tasks.model.batch import IGNORED, Batch, collate, mask_features, pad_features
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
    return collate(tones()[:3], LABELS, 100, PAD)


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
    batch = collate(examples, labels, whisper.shape.n_frames, whisper.tokenizer.pad_token_id)
    model = whisper.model.eval()
    with torch.no_grad():
        reference = model(input_features=batch.features, labels=batch.labels)
        logits = model(input_features=batch.features, decoder_input_ids=batch.inputs).logits
    ours = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    assert torch.equal(logits, reference.logits), "transformers shifts the labels to the same inputs"
    assert ours.item() == pytest.approx(reference.loss.item(), abs=1e-6)


def test_each_clip_is_padded_with_its_own_silence(batch: Batch) -> None:  # pitfall 12
    assert batch.features.shape == (3, 80, 100) and batch.lengths.tolist() == [42, 51, 60]
    for row, example in enumerate(tones()[:3]):
        assert (batch.features[row, :, : batch.lengths[row]].numpy() == example.features).all()
        assert (batch.features[row, :, batch.lengths[row] :] == np.float32(example.fill)).all() and example.fill != 0
    assert len({example.fill for example in tones()[:3]}) == 3


def test_padded_features_equal_the_extractors() -> None:
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    sounds = [(0.3 * np.sin(2 * np.pi * 220 * 1.5**number * np.arange(6_400 + 1_500 * number) / 16_000)) for number in range(6)]
    reference = extractor([sound.astype(np.float32) for sound in sounds], sampling_rate=16_000, return_tensors="np").input_features
    assert (pad_features(tones(), 100).numpy() == reference).all()


def test_half_precision_features_become_float32_on_the_device(batch: Batch) -> None:
    half = Batch(batch.features.half(), batch.lengths, batch.inputs, batch.labels).to("cpu")
    assert half.features.dtype == torch.float32 and half.labels.dtype == half.inputs.dtype == torch.int64


def masked(batch: Batch, seed: int, time: float = 0.5, bins: int = 20) -> torch.Tensor:
    return mask_features(batch, time, bins, torch.Generator().manual_seed(seed))


def test_masks_never_touch_the_padding(batch: Batch) -> None:  # pitfall 16
    for seed in range(50):
        features = masked(batch, seed)
        for row, length in enumerate(batch.lengths.tolist()):
            assert torch.equal(features[row, :, length:], batch.features[row, :, length:])


def test_masks_are_one_stretch_of_time_and_two_bands_of_bins(batch: Batch) -> None:
    widths = []
    for seed in range(50):
        for row, length in enumerate(batch.lengths.tolist()):
            blank = masked(batch, seed)[row, :, :length] == 0
            frames, bins = blank.all(dim=0), blank.all(dim=1)
            assert torch.equal(blank, frames[None, :] | bins[:, None])
            assert frames.sum() <= 0.5 * length and bins.sum() <= 2 * 20
            assert (frames.int().diff() == 1).sum() + frames[0].int() <= 1, "one stretch"
            widths.append(int(frames.sum()))
    assert len(set(widths)) > 10


def test_masks_are_decided_by_their_generator_and_leave_the_batch_alone(batch: Batch) -> None:
    before = batch.features.clone()
    assert torch.equal(masked(batch, 1), masked(batch, 1)) and not torch.equal(masked(batch, 1), masked(batch, 2))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    masked(batch, 3)
    assert torch.equal(torch.rand(1), expected), "the global generator was not asked"
    assert torch.equal(batch.features, before)
    assert torch.equal(masked(batch, 1, time=0.0, bins=0), before)
