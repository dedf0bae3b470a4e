"""Features to words: greedy, language forced, no timestamps. The same for the baseline, the dev split, the test split and `transcribe`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers.modeling_outputs import BaseModelOutput

from tasks.model.batch import pad_features
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

NAME = "greedy, language forced, no timestamps"


@dataclass(frozen=True)
class Heard:
    """What the model made of one clip."""

    text: str
    capped: bool  # it ran into the longest label without coming to an end: usually a repetition


@torch.inference_mode()
def hear(whisper: Whisper, features: torch.Tensor) -> list[Heard]:
    """Transcribe one batch.

    The likeliest token, one at a time, from the language's prefix on, without those that the model's generation config suppresses, up to
    the longest label. transformers' own `generate` gives the same ids, but it drops a clip in which it hears nothing, and with it the
    order of the batch.

    Args:
        whisper: the model.
        features: [n_clips, n_mels, n_frames] padded to the window.
    """
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
    texts = whisper.tokenizer.batch_decode(torch.stack(said, dim=1), skip_special_tokens=True)
    return [Heard(text.strip(), not ended) for text, ended in zip(texts, done.tolist(), strict=True)]


def hear_all(whisper: Whisper, examples: Sequence[Example], batch: int) -> Iterator[tuple[int, Heard]]:
    """Transcribe many clips, the longest first, and yield each one's number with what was heard.

    Clips of like length end their words at like times, so that a batch wastes few decoding steps; and what does not fit fails at once.
    """
    order = sorted(range(len(examples)), key=lambda number: -examples[number].n_samples)
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        features = pad_features([examples[number] for number in numbers], whisper.shape.n_frames)
        yield from zip(numbers, hear(whisper, features), strict=True)
