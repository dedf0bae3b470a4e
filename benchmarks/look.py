"""What a look at the dev split takes: as the loop took it before `tasks/model/look.py` (copied here), and as it is taken now.

    python benchmarks/look.py [--rounds N] [--clips N] [--batch N] [--size tiny] [--longest N] [--device cpu]

Random weights of a Whisper's layers and 30 s window, noise of 2 to 8 s, labels of 2.5 words a second. What it takes depends on where the
model ends, which random weights never do; so a hook on the last layer says for each clip when, and there are two cases:

    it ends       each clip with its reference, as the clips of a good model do. Both sides decode the same; before, the encoder ran twice,
                  and the decoder made its keys of what it heard twice.
    one talks on  one clip of all never ends. Before, its batch ran into the longest label: 448 tokens, here half of it.

The WER is left out: it is the same function. Last, decoding alone, with a cache that grows and one that is set aside (`ahead`). Rounds
alternate, after one that does not count; medians, and the median of the rounds' ratios. On a CPU one thread and its own seconds, not those
by the clock, so that other work on the machine counts little. On CUDA by the clock, and in bfloat16 too.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from tasks.model.batch import collate
from tasks.model.cost import OPENAI
from tasks.model.generate import encode, longest_first, pad_features, put_into_words
from tasks.model.lessons import IGNORED, lesson_of
from tasks.model.look import look
from tasks.model.shape import Shape
from tasks.model.tokens import label_ids, prefix_ids, train_tokenizer
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

WORDS = "pojken köper sju röda båtar min syster målar två små hästar bonden säljer tre gröna äpplen hemma".split()
VOCABULARY = 51_865


def main(rounds: int, n_clips: int, batch: int, size: str, longest: int, device: str) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    whisper, dev = _whisper(size, longest, device), _clips(n_clips)
    lengths = [len(label_ids(whisper.tokenizer, whisper.prefix, each.text)) - len(whisper.prefix) for each in dev]
    print(f"whisper-{size} on {device}, {n_clips} clips in batches of {batch}, {rounds} rounds, "
          f"{np.mean(lengths):.0f} tokens a clip, at most {max(lengths)}")  # fmt: skip
    steered = _steer(whisper)
    for case, talkers in (("it ends", 0), ("one talks on", 1)):
        steered[:] = [longest if number < talkers else length for number, length in enumerate(lengths)]
        sides: dict[str, Callable[[], Any]] = {
            "before": lambda: _look_before(whisper, dev, batch),
            "now": lambda: look(whisper, dev, batch, lambda *_: 1.0),
        }
        if device == "cuda":
            sides["now, bfloat16"] = lambda: look(whisper, dev, batch, lambda *_: 1.0, torch.bfloat16)
        _compare(case, sides, rounds, device == "cuda")
    steered[:] = lengths
    encoded = encode(whisper, pad_features([dev[number] for number in longest_first(dev, batch)[0]], whisper.shape.n_frames))
    _compare("decoding of one batch", {
        "grows": lambda: put_into_words(whisper, encoded, ahead=False), "set aside": lambda: put_into_words(whisper, encoded, ahead=True),
    }, 2 * rounds, device == "cuda")  # fmt: skip


def _compare(case: str, sides: dict[str, Callable[[], Any]], rounds: int, on_cuda: bool) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    next(iter(sides.values()))()
    for _ in range(rounds):
        for name, run in sides.items():
            seconds[name].append(_seconds(run, on_cuda))
    first, *others = seconds.values()
    print(case, flush=True)
    print(f"  {next(iter(sides)):14} {statistics.median(first):6.2f} s")
    for name, values in zip(list(sides)[1:], others, strict=True):
        ratios = [one / other for one, other in zip(first, values, strict=True)]
        told = f"{statistics.median(ratios):.2f} to 1 ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {name:14} {statistics.median(values):6.2f} s, {told}")


def _seconds(run: Callable[[], Any], on_cuda: bool) -> float:
    clock = time.perf_counter if on_cuda else time.process_time
    began = clock()
    run()
    if on_cuda:
        torch.cuda.synchronize()
    return clock() - began


def _whisper(size: str, longest: int, device: str) -> Whisper:
    width, encoder_layers, decoder_layers, n_mels = OPENAI[size]
    tokenizer = train_tokenizer(WORDS * 4, 300, "sv")  # about two tokens a word
    end = tokenizer.eos_token_id
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=VOCABULARY, num_mel_bins=n_mels, d_model=width, encoder_layers=encoder_layers, decoder_layers=decoder_layers,
        encoder_attention_heads=width // 64, decoder_attention_heads=width // 64, encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, dropout=0.0,
    ))  # fmt: skip
    model.generation_config.suppress_tokens = list(range(60, 148))  # as many as OpenAI's
    return Whisper(model.to(device).eval(), tokenizer, Shape(width, n_mels, 3000, longest, True), "sv", prefix_ids(tokenizer, "sv", True))


def _clips(n_clips: int) -> list[Example]:
    """Noise, whose first value is the clip's number."""
    random, clips = np.random.default_rng(0), []
    for number in range(n_clips):
        seconds = random.uniform(2, 8)
        features = random.normal(size=(80, int(100 * seconds))).astype(np.float16)
        features[0, 0] = number
        clips.append(Example(str(number), " ".join(random.choice(WORDS, round(2.5 * seconds))), int(16_000 * seconds), features, -1.0))
    return clips


def _steer(whisper: Whisper) -> list[int]:
    """Let each clip end after as many tokens as the returned list says, which may be changed.

    Its number is the first value of its features, and then of its states, so it is known however a batch is cut down.
    """
    lengths: list[int] = []
    state: dict[str, Any] = {}

    def number(_encoder: Any, inputs: tuple[torch.Tensor], output: Any) -> None:
        output[0][:, 0, 0] = inputs[0][:, 0, 0].to(output[0].dtype)

    def count(_decoder: Any, _inputs: Any, named: dict[str, Any]) -> None:
        n_known, n_inputs = int(named["past_key_values"].get_seq_length()), named["input_ids"].shape[1]
        state["numbers"] = named["encoder_hidden_states"][:, 0, 0].round().long().tolist()
        state["n_said"] = n_known + n_inputs - len(whisper.prefix) + 1 if n_inputs in (1, len(whisper.prefix)) else 0  # 0: for the loss

    def end(_layer: Any, _inputs: Any, scores: torch.Tensor) -> None:
        if state["n_said"]:
            is_over = [state["n_said"] >= lengths[number] for number in state["numbers"]]
            scores[:, -1, whisper.tokenizer.eos_token_id] = (
                torch.tensor(is_over).to(scores.device, scores.dtype, non_blocking=True) * 2e4 - 1e4
            )

    whisper.model.model.encoder.register_forward_hook(number)
    whisper.model.model.decoder.register_forward_pre_hook(count, with_kwargs=True)
    whisper.model.proj_out.register_forward_hook(end)
    return lengths


@torch.inference_mode()
def _look_before(whisper: Whisper, dev: list[Example], size: int) -> dict[str, float]:
    """The look as it was, but for the names of what it calls."""
    loss, n_right, n_tokens = 0.0, 0, 0
    for start in range(0, len(dev), size):
        examples = dev[start : start + size]
        labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text) for each in examples]
        lessons = [lesson_of(example, label) for example, label in zip(examples, labels, strict=True)]
        batch = collate(lessons, whisper.shape.n_frames, whisper.tokenizer.pad_token_id).to(whisper.model.device)
        logits = whisper.model(input_features=batch.features(), decoder_input_ids=batch.inputs, use_cache=False).logits.float()
        loss += float(cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"))
        words = batch.labels[:, len(whisper.prefix) - 1 :]
        n_right += int((logits[:, len(whisper.prefix) - 1 :].argmax(-1) == words).sum())
        n_tokens += int((words != IGNORED).sum())
    order = sorted(range(len(dev)), key=lambda number: -dev[number].n_samples)
    for start in range(0, len(order), size):
        _hear_before(whisper, pad_features([dev[number] for number in order[start : start + size]], whisper.shape.n_frames))
    return {"dev_loss": loss / (n_tokens + (len(whisper.prefix) - 1) * len(dev)), "dev_right": n_right / n_tokens}


def _hear_before(whisper: Whisper, features: torch.Tensor) -> list[str]:
    model, end = whisper.model.eval(), whisper.tokenizer.eos_token_id
    config = model.generation_config
    encoded = BaseModelOutput(model.model.encoder(features.to(model.device, torch.float32)).last_hidden_state)
    inputs = torch.tensor(whisper.prefix, device=model.device).repeat(len(features), 1)
    done = torch.zeros(len(features), dtype=torch.bool, device=model.device)
    said: list[torch.Tensor] = []
    cache = None
    for n_said in range(whisper.shape.max_tokens - len(whisper.prefix)):
        step = model(encoder_outputs=encoded, decoder_input_ids=inputs, past_key_values=cache, use_cache=True)
        cache, scores = step.past_key_values, step.logits[:, -1].float()
        scores[:, [*(config.suppress_tokens or []), *((config.begin_suppress_tokens or []) if n_said == 0 else [])]] = -torch.inf
        said.append(scores.argmax(-1).where(~done, end))
        done |= said[-1] == end
        if done.all():
            break
        inputs = said[-1][:, None]
    texts: list[str] = whisper.tokenizer.batch_decode(torch.stack(said, dim=1), skip_special_tokens=True)
    return texts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", default="tiny", choices=OPENAI)
    parser.add_argument("--longest", type=int, default=224)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args()
    main(asked.rounds, asked.clips, asked.batch, asked.size, asked.longest, asked.device)
