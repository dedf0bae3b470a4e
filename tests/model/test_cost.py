"""The arithmetic of `viska plan` against torch's own counters, on the real model and the real loop."""

import json
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tasks.contracts.errors import ModelError, RecipeError
from tasks.contracts.recipe import Checkpoints, Keep, Lora, Pretrained, Scoring, Scratch, Training
from tasks.model import cost, look, loop
from tasks.model.checkpoint import State
from tasks.model.cost import (
    DEVICES,
    Config,
    Counts,
    Estimate,
    activation_bytes,
    again_flops,
    config_of,
    estimate,
    hear_flops,
    look_flops,
    n_parameters,
    n_trained,
    train_flops,
)
from tasks.model.cost_table import lines
from tasks.model.generate import hear
from tasks.model.lora import add_lora
from tasks.model.optimise import freeze, trained
from tasks.model.tokens import label_ids
from tasks.model.whisper import load_whisper
from tests.support.tiny import always_wrong, new_folder, settings, tones

TINY = Config("tiny", 64, 2, 2, 256, 256, 500, 80, 100, 32)
WHISPER_TINY = Config("layers of whisper-tiny", 384, 2, 3, 1536, 1536, 51_865, 80, 1_500, 448)
WAYS: dict[str, dict[str, Any]] = {
    "whole": {}, "encoder frozen": {"freeze_encoder": True}, "layer frozen": {"freeze_layers": 1}, "layers frozen": {"freeze_layers": 2},
    "lora": {"lora": Lora(rank=8)}, "lora all": {"lora": Lora(rank=8, layers="all")},
}  # fmt: skip
ROOT = Path(__file__).parents[2]
# openai/whisper, README.md rounds them to 39, 74, 244, 769, 1550 and 809 million
WEIGHTS = {"tiny": 37_760_640, "base": 72_593_920, "small": 241_734_912, "medium": 763_857_920, "large-v2": 1_543_304_960,
           "large-v3": 1_543_490_560, "large-v3-turbo": 808_878_080}  # fmt: skip


def named(size: str) -> Config:
    config = config_of(Pretrained(name=f"openai/whisper-{size}"))
    assert config is not None
    return config


def built(config: Config, training: Training) -> Any:
    heads = config.width // 32
    says = WhisperConfig(
        vocab_size=config.vocabulary, num_mel_bins=config.n_mels, d_model=config.width, encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=config.encoder_ffn, decoder_ffn_dim=config.decoder_ffn, max_source_positions=config.positions,
        max_target_positions=config.max_tokens, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1, dropout=0.0,
    )  # fmt: skip
    model: Any = WhisperForConditionalGeneration(says)
    freeze(model, training)
    if training.lora.rank:
        add_lora(model, training.lora, 0)
    if training.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    return model.train()


def loss(model: Any, config: Config, n_tokens: int, autocast: bool = False, n_clips: int = 2) -> torch.Tensor:
    """The loss as the loop makes it."""
    batch = torch.zeros(n_clips, config.n_mels, 2 * config.positions), torch.ones(n_clips, n_tokens, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = model(input_features=batch[0], decoder_input_ids=batch[1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[1].flatten(), reduction="sum")


def lab(**changes: Any) -> Estimate:
    """Whisper-small with the seed lab's settings: every hundredth step a look at the whole of 5,069 clips of 4 s."""
    counts = {split: Counts(n, n * 4 / 3600, 40 * n) for split, n in (("train", 18_059), ("dev", 5_069), ("test", 5_069))}
    training = Training(batch=16, accumulate=2, steps=2000, warmup=100, evaluate_every=100, dev_clips=5_069)
    given: dict[str, Any] = {"config": named("small"), "counts": counts, "training": training, "scoring": Scoring(), "device": "T4"}
    given |= {"training": training.model_copy(update=changes.pop("training", {}))}
    return estimate(**(given | changes))


@pytest.mark.parametrize("size", WEIGHTS)
def test_openais_models_have_as_many_weights_as_theirs(size: str) -> None:
    assert sum(n_parameters(named(size))) == WEIGHTS[size]


@pytest.mark.parametrize("way", WAYS)
def test_as_many_weights_are_trained_as_said(way: str) -> None:
    for config in (TINY, WHISPER_TINY):
        training = Training(**WAYS[way])
        assert n_trained(config, training) == sum(each.numel() for each in trained(built(config, training)).values())


@pytest.mark.parametrize(("config", "way"), [
    *[(TINY, way) for way in WAYS], *[(WHISPER_TINY, way) for way in ("whole", "encoder frozen", "lora")],
])  # fmt: skip
def test_flops_of_training_are_those_that_torch_counts(config: Config, way: str) -> None:
    training = Training(**WAYS[way])
    model = built(config, training)
    with FlopCounterMode(display=False) as counter:
        loss(model, config, 12, n_clips=1).backward()  # type: ignore[no-untyped-call]
    assert train_flops(config, 12, training) == pytest.approx(counter.get_total_flops(), rel=0.001)


@pytest.mark.parametrize("way", WAYS)
def test_what_gradient_checkpointing_does_again_is_what_torch_counts(way: str) -> None:
    training = Training(gradient_checkpointing=True, **WAYS[way])
    model = built(TINY, training)
    with FlopCounterMode(display=False) as counter:
        loss(model, TINY, 12, n_clips=1).backward()  # type: ignore[no-untyped-call]
    again = counter.get_total_flops() - train_flops(TINY, 12, training)
    assert again_flops(TINY, 12, training) == pytest.approx(again, rel=0.01)


@pytest.fixture
def talker(tmp_path: Path) -> tuple[Any, Config]:
    """A tiny model that never ends of itself, and its sizes."""
    whisper = load_whisper(new_folder(tmp_path, decoder_layers=2), "sv", "cpu")
    whisper.model.generation_config.suppress_tokens = [whisper.tokenizer.eos_token_id]
    config = config_of(Pretrained(name=str(tmp_path)))
    assert config is not None
    return whisper, config


def test_flops_of_hearing_are_those_that_torch_counts(talker: tuple[Any, Config]) -> None:
    whisper, config = talker
    with FlopCounterMode(display=False) as counter:
        hear(whisper, torch.zeros(3, 80, 100))
    assert 3 * hear_flops(config, config.max_tokens - 1) == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("max_tokens", [16, 60], ids=["to the longest label", "to the cap"])
def test_a_look_costs_reading_and_saying_and_hears_each_clip_once(tmp_path: Path, max_tokens: int) -> None:
    whisper = load_whisper(new_folder(tmp_path, decoder_layers=2, max_tokens=max_tokens), "sv", "cpu")
    whisper.model.generation_config.suppress_tokens = [whisper.tokenizer.eos_token_id]  # it never ends
    config = config_of(Pretrained(name=str(tmp_path)))
    assert config is not None and (cost.LONGER, cost.MORE, cost.WIDER) == (look.LONGER, look.MORE, look.WIDER)
    clips = [tones()[0]] * 4
    n_tokens = len(label_ids(whisper.tokenizer, whisper.prefix, clips[0].text)) - 1
    with FlopCounterMode(display=False) as counter:
        look.look(whisper, clips, 2, always_wrong)
    assert (cost.capped(config, n_tokens) < max_tokens - 1) == (max_tokens == 60)
    assert 4 * look_flops(config, n_tokens) == pytest.approx(counter.get_total_flops(), rel=0.02)


@pytest.mark.parametrize("way", WAYS)
def test_weights_gradients_and_moments_are_those_of_a_real_training(tmp_path: Path, way: str) -> None:
    told = WAYS[way]
    kept: list[int] = []
    stored: list[int] = []

    def keep(state: State, wait: bool) -> bool:
        weights = list(state.model.parameters())
        moments = [each for moments in state.optimizer.state.values() for each in moments.values() if each.ndim]
        kept.append(sum(each.nbytes for each in [*weights, *(each.grad for each in weights if each.grad is not None), *moments]))
        stored.append(sum(each.nbytes for tensors in state.tensors() for each in tensors.values() if each.ndim))
        return True

    whisper = load_whisper(new_folder(tmp_path, encoder_layers=2), "sv", "cpu")
    loop.train(whisper, tones(), tones()[:2], settings(steps=2, warmup=1, **told), always_wrong, keep, lambda _: None)
    said = lab(config=config_of(Pretrained(name=str(tmp_path))), training=told, device="cpu")
    weights = list(whisper.model.parameters())
    assert (said.static_bytes, said.checkpoint_bytes) == (kept[-1], stored[-1])
    assert said.n_trained == sum(each.numel() for each in weights if each.requires_grad)
    assert said.n_parameters + said.n_trained * ("lora" in way) == sum(each.numel() for each in weights)


class Held:
    """What autograd holds of a tensor; gone when it lets go of it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def held(config: Config, training: Training, autocast: bool) -> int:
    """The bytes that torch saves in the forward pass for another clip: weights cast to bfloat16 are saved once, whatever the batch."""
    model = built(config, training)

    def saved(n_clips: int) -> int:
        alive: weakref.WeakSet[Held] = weakref.WeakSet()

        def pack(tensor: torch.Tensor) -> Held:
            alive.add(it := Held(tensor))
            return it

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda it: it.tensor):
            kept = loss(model, config, 12, autocast, n_clips)
        assert kept.requires_grad
        found = {each.tensor.untyped_storage().data_ptr(): each.tensor.untyped_storage().nbytes() for each in alive}
        return sum(found[each] for each in found.keys() - {weight.untyped_storage().data_ptr() for weight in model.parameters()})

    return saved(3) - saved(2)


def said_of_activations(config: Config, training: Training, autocast: bool) -> float:
    return activation_bytes(
        config, 12, training.freeze_encoder, autocast, freeze_layers=training.freeze_layers, rank=training.lora.rank,
        layers=training.lora.layers, gradient_checkpointing=training.gradient_checkpointing,
    )  # fmt: skip


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("config", [TINY, replace(TINY, width=96, encoder_layers=3, decoder_layers=1, positions=300)], ids=["one", "other"])
def test_activations_are_those_that_torch_saves(config: Config, way: str, autocast: bool) -> None:
    training = Training(**WAYS[way])
    assert said_of_activations(config, training, autocast) == pytest.approx(held(config, training, autocast), rel=0.02)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
def test_gradient_checkpointing_keeps_the_inputs_of_layers_and_the_activations_of_one(way: str, autocast: bool) -> None:
    training = Training(gradient_checkpointing=True, **WAYS[way])
    more = [replace(TINY, decoder_layers=3), replace(TINY, encoder_layers=3)][: 1 if way == "layers frozen" else 2]  # a third is not frozen
    two, *three = (held(config, Training(**WAYS[way]), autocast) for config in (TINY, *more))
    one = max(three) - two
    assert said_of_activations(TINY, training, autocast) == pytest.approx(held(TINY, training, autocast) + one, rel=0.03)


def test_the_seed_labs_settings_spend_most_of_the_time_on_evaluation() -> None:
    told = lab()
    assert (told.n_seen, told.n_looks, told.n_dev) == (64_000, 21, 5_069)
    assert 0.5 < told.evaluation_share < 0.75
    assert told.warnings[-1].startswith(f"evaluation takes {told.evaluation_share:.0%} of the time; with training.dev_clips ")
    enough = int(told.warnings[-1].split("dev_clips ")[1].split()[0])
    better = lab(training={"dev_clips": enough})
    assert better.looks_seconds / (better.looks_seconds + better.train_seconds) == pytest.approx(0.1, abs=0.01)
    assert not any("evaluation" in each for each in better.warnings)


@pytest.mark.parametrize("device", ["T4", "L4", "A100-80", "H100"])
@pytest.mark.parametrize("size", ["small", "medium", "large-v3-turbo"])
def test_by_default_looks_take_at_most_a_tenth_of_the_training(size: str, device: str) -> None:
    told = lab(config=named(size), device=device, training=vars(Training()))
    assert told.looks_seconds / (told.looks_seconds + told.train_seconds) < 0.1


def test_a_batch_that_does_not_fit_names_the_largest_that_does() -> None:
    told = lab()
    assert told.largest_batch is not None and told.memory_bytes > DEVICES["T4"].memory
    assert (
        f"training.batch 16 does not fit T4: the largest that does is {told.largest_batch}; training.accumulate 3 makes" in told.warnings[0]
    )
    assert lab(training={"batch": told.largest_batch}).memory_bytes <= DEVICES["T4"].memory
    assert lab(training={"batch": told.largest_batch + 1}).memory_bytes > DEVICES["T4"].memory
    assert lab(config=named("large-v3")).warnings[0].endswith("does not fit T4: not even one clip does")
    assert not any("fit" in each for each in lab(device="A100-80").warnings)


@pytest.mark.parametrize(("training", "warning"), [
    ({"steps": 20_000}, "each clip is seen 35 times: the model will memorise them"),
    ({"steps": 200}, "only 35% of the training clips will be seen"),
    ({"warmup": 1500}, "the warm-up takes 75% of the steps; lower training.warmup"),
])  # fmt: skip
def test_what_a_person_should_know_is_said(training: dict[str, Any], warning: str) -> None:
    assert any(each.startswith(warning) for each in lab(training=training).warnings)
    assert not any(each.startswith(warning) for each in lab().warnings)


def test_a_corpus_without_dev_clips_is_warned_of() -> None:
    told = lab(counts={**lab().counts, "dev": Counts(0, 0.0, 0)})
    assert told.looks_seconds == 0 and "there are no dev clips to choose the checkpoint on" in told.warnings


def test_bytes_are_those_that_were_measured() -> None:
    """docs/results.md: 6,000 clips, 8.2 h, 79.6 kB of features and 86 kB of FLAC a clip, 79 CPU-seconds."""
    told = lab(counts={"train": Counts(6_000, 8.2, 1), "dev": Counts(0, 0, 0), "test": Counts(0, 0, 0)})
    assert told.feature_bytes is not None and told.feature_bytes / 6_000 == pytest.approx(79_600, rel=0.02)
    assert told.flac_bytes / 6_000 == pytest.approx(86_000, rel=0.02)
    assert told.prepare_seconds == pytest.approx(79, rel=0.02)
    assert lab(dtype="float32").feature_bytes == 2 * (lab().feature_bytes or 0)


def test_looks_run_in_the_precision_of_the_training_and_scores_in_float32() -> None:
    fast, exact = (lab(device="A100-80", training={"precision": precision}) for precision in ("auto", "fp32"))
    assert fast.looks_seconds < exact.looks_seconds and fast.train_seconds < exact.train_seconds
    assert fast.test_seconds == exact.test_seconds


@pytest.mark.parametrize(("device", "precision", "kind", "is_quick"), [
    ("T4", "auto", "float16", True), ("T4", "fp32", "float32", False), ("T4", "bf16", "bfloat16", False),
    ("L4", "auto", "bfloat16", True), ("L4", "fp16", "float16", True), ("cpu", "auto", "float32", False), ("cpu", "fp16", "float16", False),
])  # fmt: skip
def test_a_training_is_as_quick_as_its_device_is_in_that_precision(device: str, precision: str, kind: str, is_quick: bool) -> None:
    told, exact = (lab(device=device, training={"precision": each}) for each in (precision, "fp32"))
    assert told.kind == kind and (told.train_seconds < exact.train_seconds) == is_quick
    warning = f"training.precision {precision}: {device} is not made for it; use auto"
    assert (warning in told.warnings) == (kind != "float32" and not is_quick)


def test_examples_without_speech_make_an_epoch_longer() -> None:
    assert lab(training={"keep": Keep(no_speech=0.2)}).epochs == pytest.approx(0.8 * lab().epochs)


def test_gradient_checkpointing_takes_time_and_no_more_is_needed() -> None:
    usual, again = lab(), lab(training={"gradient_checkpointing": True})
    assert again.clip_flops == usual.clip_flops and again.looks_seconds == usual.looks_seconds
    assert 1.2 < again.train_seconds / usual.train_seconds < 4 / 3
    assert again.clip_bytes < usual.clip_bytes / 5


def test_a_frozen_encoder_costs_less_of_everything() -> None:
    whole, frozen = lab(), lab(training={"freeze_encoder": True})
    for what in ("n_trained", "clip_flops", "static_bytes", "clip_bytes", "train_seconds", "checkpoint_bytes"):
        assert getattr(frozen, what) < getattr(whole, what), what
    assert frozen.looks_seconds == whole.looks_seconds


def test_a_new_model_is_expected_to_talk_on_before_it_is_trained() -> None:
    config = config_of(Scratch())
    assert config is not None
    old = lab(config=replace(config, is_new=False), device="cpu")
    assert lab(config=config, device="cpu").test_seconds > old.test_seconds


def test_a_new_model_is_as_large_as_said(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, vocabulary=257)
    made, said = config_of(Pretrained(name=str(folder))), config_of(
        Scratch(width=32, encoder_layers=1, decoder_layers=1, heads=2, window=1, vocabulary=257, max_tokens=16)
    )  # fmt: skip
    assert made and said and replace(made, source="") == replace(said, source="", is_new=False)


def test_whisper_tiny_is_known_without_the_hub_as_its_config_says_it(real_data: Path) -> None:
    read = config_of(Pretrained(name=str(real_data / "whisper-tiny-no-weights")))
    assert read and replace(read, source="") == replace(named("tiny"), source="")
    assert named("tiny.en").vocabulary == 51_864 and named("large-v3").vocabulary == 51_866


def test_a_model_that_is_out_of_reach_leaves_its_part_out() -> None:  # no test may reach the Hub
    assert config_of(Pretrained(name="team/somebodys-whisper")) is None
    told = lab(config=None)
    assert told.feature_bytes is None and told.warnings[0].startswith("the model's sizes are not known here: the Hub cannot be reached")
    assert not any(line.startswith(("memory", "time", "model")) for line in lines(told))


def test_a_folder_that_is_no_whisper_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json; a checkpoint needs one$"):
        config_of(Pretrained(name=str(tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(ModelError, match=r"model_type 'wav2vec2', expected 'whisper'$"):
        config_of(Pretrained(name=str(tmp_path)))


def test_an_id_that_the_hub_would_refuse_is_refused() -> None:
    with pytest.raises(ModelError, match=r"^model 'no such/folder/here' at 'main': neither a folder here nor readable on the Hub: "):
        config_of(Pretrained(name="no such/folder/here"))


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"^device 'TPU': nothing is known of it; expected one of T4, L4, .*, cpu$"):
        lab(device="TPU")
    with pytest.raises(RecipeError, match=r"^the train split has no clips"):
        lab(counts={**lab().counts, "train": Counts(0, 0.0, 0)})
    with pytest.raises(RecipeError, match=r"^training\.freeze_layers 13: the encoder has 12 layers$"):
        lab(training={"freeze_layers": 13})


def test_the_table_fits_a_terminal_and_marks_what_is_assumed() -> None:
    told = lab(hourly_price=0.35, recording_bytes=1.28e9)
    table = lines(told)
    assert len(table) <= 25 and max(map(len, table)) <= 120
    assert table[0] == "model        openai/whisper-small: 240 million weights, 240 million of them trained"
    assert "store        recordings 1.3 GB, FLAC 2.0 GB, features 1.8 GB" in table
    assert "             64,000 clips, 3.5 epochs" in table
    assert "time on T4   2.5 h, of which evaluation 56%" in table
    assert "price        0.89 for that time" in table and told.price == pytest.approx(0.35 * told.seconds / 3600)
    assert "assumed      training and looks at 30% of 65 TFLOP/s (float16)" in table
    assert "             test scores at 50% of 8.1 TFLOP/s (float32)" in table
    assert "checkpoints  2.9 GB each, at most 3 on the store" in table
    assert [line.startswith("warning") for line in table[-3:]] == [False, True, True]
    on_h100 = lines(lab(device="H100", training={"gradient_checkpointing": True, "checkpoints": Checkpoints(newest=4)}))
    assert "training and looks at 30% of 990 TFLOP/s (bfloat16), and 24% of it again for gradient checkpointing" in on_h100[13]
    assert on_h100[6].endswith("at most 5 on the store") and max(map(len, on_h100)) <= 120
    assert any(line.startswith("rough") and "(float32)" in line for line in lines(lab(device="cpu")))


def test_a_plan_loads_no_torch_and_no_prefect() -> None:
    code = "import sys, tasks.model.cost; print({'torch', 'prefect', 'transformers', 'huggingface_hub'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "set()\n"
