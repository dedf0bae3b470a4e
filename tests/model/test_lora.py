"""Few numbers are trained and the rest stays; merged, nobody can tell how the model was trained."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperForConditionalGeneration

from tasks.contracts.errors import ModelError
from tasks.contracts.recipe import Lora
from tasks.model.generate import hear, pad_features
from tasks.model.lora import add_lora, merge_lora
from tasks.model.tokens import label_ids
from tasks.model.whisper import Whisper, load_whisper, save_whisper
from tests.support.tiny import new_folder, same_weights, tones, weights

Load = Callable[..., Whisper]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_folder(tmp_path_factory.mktemp("lora") / "tiny")


@pytest.fixture
def load(folder: Path) -> Load:
    """Load the tiny model, with LoRA if it is given settings."""

    def load(seed: int = 0, **settings: Any) -> Whisper:
        whisper = load_whisper(folder, "sv", "cpu")
        if settings:
            add_lora(whisper.model, Lora(**settings), seed)
        return whisper

    return load


def say(whisper: Whisper, *, train: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logits on all tones, [6, n_tokens, n_words], and the loss."""
    labels = [torch.tensor(label_ids(whisper.tokenizer, whisper.prefix, each.text)) for each in tones()]
    inputs = pad_sequence([each[:-1] for each in labels], batch_first=True, padding_value=whisper.tokenizer.pad_token_id)
    targets = pad_sequence([each[1:] for each in labels], batch_first=True, padding_value=-100)
    features = pad_features(tones(), whisper.shape.n_frames)
    logits = whisper.model.train(train)(input_features=features, decoder_input_ids=inputs, use_cache=False).logits
    return logits, cross_entropy(logits.flatten(0, 1), targets.flatten())


def learn(whisper: Whisper, n_steps: int = 20) -> list[float]:
    """Take real steps on the six tones, and return the loss before each."""
    optimizer = torch.optim.AdamW([each for each in whisper.model.parameters() if each.requires_grad], lr=1e-2)
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        _, loss = say(whisper, train=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def learnt(whisper: Whisper) -> dict[str, torch.Tensor]:
    """Return a copy of what is trained."""
    return {name: each.detach().clone() for name, each in whisper.model.named_parameters() if each.requires_grad}


@pytest.mark.parametrize(("layers", "n_pairs"), [("attention", 3 * 2), ("all", 3 * 4 + 2 * 2)])  # three attentions, two layers
def test_before_training_the_model_says_to_the_bit_what_it_said(load: Load, layers: str, n_pairs: int) -> None:
    plain, whisper = load(), load(rank=4, layers=layers)
    for train in (False, True):
        assert all(torch.equal(one, other) for one, other in zip(say(plain, train=train), say(whisper, train=train), strict=True))
    kept = {name.replace(".base_layer", ""): each for name, each in weights(whisper).items() if ".lora_" not in name}
    assert same_weights(dict(sorted(weights(plain).items())), dict(sorted(kept.items())))
    assert whisper.model.generation_config.to_dict() == plain.model.generation_config.to_dict()
    assert len(learnt(whisper)) == 2 * n_pairs and all(".lora_" in name for name in learnt(whisper))
    assert sum(each.numel() for each in learnt(whisper).values()) == 4 * sum(
        sum(each.base_layer.weight.shape) for each in whisper.model.modules() if hasattr(each, "base_layer")
    )


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_training_lowers_the_loss_and_changes_nothing_but_the_pairs(load: Load, layers: str) -> None:
    whisper = load(rank=4, layers=layers)
    before = weights(whisper)
    losses = learn(whisper)
    assert losses[-1] < 0.8 * losses[0]
    after = weights(whisper)
    assert {name for name, each in after.items() if not torch.equal(each, before[name])} == set(learnt(whisper))


@pytest.mark.parametrize(("alpha", "scale"), [(0.0, 2.0), (2.0, 0.5)])  # of rank 4
def test_what_is_merged_is_the_scaled_product_of_each_pair(load: Load, alpha: float, scale: float) -> None:
    plain, whisper = weights(load()), load(rank=4, alpha=alpha, layers="all")
    learn(whisper, 3)
    pairs, said = learnt(whisper), say(whisper)[0]
    merge_lora(whisper.model)
    merged = weights(whisper)
    assert [(name, each.shape, each.dtype) for name, each in merged.items()] == [(n, each.shape, each.dtype) for n, each in plain.items()]
    for name, weight in merged.items():
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A.default.weight" in pairs:
            product = pairs[f"{stem}.lora_B.default.weight"] @ pairs[f"{stem}.lora_A.default.weight"]
            assert torch.allclose(weight, plain[name] + scale * product, atol=1e-6) and not torch.equal(weight, plain[name])
        else:
            assert torch.equal(weight, plain[name])
    assert torch.allclose(say(whisper)[0], said, atol=1e-5) and not torch.allclose(say(load())[0], said, atol=0.1)
    assert not [each for each in whisper.model.modules() if type(each).__module__.startswith("peft")]
    assert vars(whisper.model).keys() == vars(load().model).keys()


def test_a_merged_model_is_saved_and_loaded_like_any_other(load: Load, folder: Path, tmp_path: Path) -> None:
    whisper = load(rank=16, layers="all")
    learn(whisper, 40)
    features = pad_features(tones(), whisper.shape.n_frames)
    heard = hear(whisper, features)
    assert len({each.text for each in heard}) > 1
    merge_lora(whisper.model)
    save_whisper(whisper, folder, tmp_path)
    again = load_whisper(tmp_path, "sv", "cpu")
    assert same_weights(weights(whisper), weights(again))
    assert same_weights(weights(whisper), WhisperForConditionalGeneration.from_pretrained(tmp_path).state_dict())
    assert hear(again, features) == hear(whisper, features) == heard
    assert {each.name for each in tmp_path.iterdir()} == {each.name for each in folder.iterdir()}, "no adapter beside the weights"


def test_first_values_follow_from_the_seed_alone(load: Load) -> None:
    torch.manual_seed(1)
    one = learnt(load(seed=7, rank=4, layers="all"))
    torch.manual_seed(2)
    drawn = torch.rand(3)
    torch.manual_seed(2)
    other, next_seed = learnt(load(seed=7, rank=4, layers="all")), learnt(load(seed=8, rank=4, layers="all"))
    assert torch.equal(torch.rand(3), drawn), "nothing is drawn from the generator of others"
    assert same_weights(one, other) and list(one) == list(other)
    for name, each in next_seed.items():
        assert torch.equal(each, one[name]) == (".lora_B." in name) and bool(each.any()) == (".lora_A." in name)


def test_what_is_learnt_goes_into_the_model_of_another_process(load: Load) -> None:
    whisper, other = load(seed=1, rank=4), load(seed=2, rank=4)
    learn(whisper, 3)
    missing, unknown = other.model.load_state_dict(learnt(whisper), strict=False)
    assert not unknown and not set(missing) & set(learnt(whisper))
    assert all(torch.equal(one, another) for one, another in zip(say(whisper), say(other), strict=True))


def test_dropout_is_of_the_pairs_and_of_training_only(load: Load) -> None:
    whisper = load(rank=4, dropout=0.5)
    assert torch.equal(say(whisper)[0], say(whisper, train=True)[0]), "pairs that add nothing"
    learn(whisper, 3)
    assert torch.equal(say(whisper)[0], say(whisper)[0])
    assert not torch.allclose(say(whisper, train=True)[0], say(whisper, train=True)[0], atol=1e-3)


def test_without_peft_the_message_says_what_to_install(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"^training\.lora needs the package peft, .*: pip install peft$"):
        load(rank=4)
