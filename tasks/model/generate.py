"""Features to words: greedy, language forced, no timestamps. The same for the baseline, the dev split, the test split and `transcribe`.

transformers' own `generate` gives the same ids, but it drops a clip in which it hears nothing, and with it the order of the batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.cache_utils import StaticLayer

from tasks.audio.log_mel import restore
from tasks.model.tokens import has_no_speech, no_speech_id
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

NAME = "greedy, language forced, no timestamps"
FEWER = 0.75  # when no more than this share of a batch goes on, the others are left behind: one that talks on costs itself alone
AHEAD = 8  # tokens between two looks for the end, on a GPU: each look waits until it has done all that it was told


@dataclass(frozen=True)
class Heard:
    """What the model made of one clip."""

    text: str
    capped: bool  # it said as much as it was allowed without coming to an end: usually a repetition
    logprob: float = 0.0  # mean log-probability of the tokens that it said, the end among them
    n_tokens: int = 0  # that it said, the end among them
    no_speech: float = 0.0  # probability that nobody speaks: of its token in the place of the language


@dataclass(frozen=True)
class Encoded:
    """A batch as the encoder understands it, for any number of passes of the decoder."""

    states: torch.Tensor  # [n_clips, n_positions, width]
    keys: Cache  # what each layer of the decoder makes of them: filled by its first pass, read by those after it

    def only(self, clips: torch.Tensor) -> "Encoded":
        """Return some of the clips, [n] int64; the keys must be filled."""
        return Encoded(self.states[clips], DynamicCache([(each.keys[clips], each.values[clips]) for each in self.keys.layers]))


def hear(whisper: Whisper, features: torch.Tensor, autocast: torch.dtype | None = None) -> list[Heard]:
    """Transcribe one batch, up to the longest label.

    Args:
        whisper: the model.
        features: [n_clips, n_mels, n_frames] padded to the window.
        autocast: a type for the arithmetic; None: float32, as scores are measured.
    """
    return put_into_words(whisper, encode(whisper, features, autocast), autocast=autocast)


@torch.inference_mode()
def encode(whisper: Whisper, features: torch.Tensor, autocast: torch.dtype | None = None) -> Encoded:
    """Run the encoder on one batch; arguments as for `hear`."""
    model = whisper.model.eval()
    with in_precision(whisper, autocast):
        return Encoded(model.model.encoder(features.to(model.device, torch.float32)).last_hidden_state, DynamicCache())


def put_into_words(
    whisper: Whisper, encoded: Encoded, most: int | None = None, autocast: torch.dtype | None = None, ahead: bool | None = None
) -> list[Heard]:
    """Return what `say` says, without its tokens; arguments as for it."""
    return say(whisper, encoded, most, autocast, ahead)[0]


@torch.inference_mode()
def say(
    whisper: Whisper, encoded: Encoded, most: int | None = None, autocast: torch.dtype | None = None, ahead: bool | None = None
) -> tuple[list[Heard], torch.Tensor, torch.Tensor]:
    """Say the likeliest token, one at a time, behind the language's prefix, without those that the generation config suppresses.

    Args:
        whisper: the model.
        encoded: the batch.
        most: tokens behind the prefix, the end among them; None: as many as the longest label has, which is also the most that it can be.
        autocast: as for `hear`, and as it was for `encode`.
        ahead: do not wait for each token: set the memory aside beforehand, and look for the end only now and then; the words are the same.
            None: on a GPU. A CPU, which computes what it is told before it is told more, is slower so.

    Returns:
        The words of each clip; its tokens, [n_clips, n_tokens] int64 with the end behind them; and their log-probabilities, with 0 behind.
    """
    model, end = whisper.model.eval(), whisper.tokenizer.eos_token_id
    longest = whisper.shape.max_tokens - len(whisper.prefix)
    n_most = longest if most is None else min(most, longest)
    n_clips, device = len(encoded.states), model.device
    ahead = device.type == "cuda" if ahead is None else ahead
    cache = _set_aside(model.config.decoder_layers, len(whisper.prefix) + n_most) if ahead else DynamicCache()
    never, at_first = _suppressed(whisper)
    inputs = torch.tensor(whisper.prefix, device=device).repeat(n_clips, 1)
    places = torch.arange(n_clips, device=device)  # of the clips that are listened to
    done = torch.zeros(n_clips, dtype=torch.bool, device=device)
    said = torch.full((n_clips, n_most), end, device=device)
    logprobs, quiet = torch.zeros(n_clips, n_most, device=device), torch.zeros(n_clips, device=device)
    lengths = torch.zeros(n_clips, dtype=torch.int64, device=device)
    with in_precision(whisper, autocast):
        for n_said in range(n_most):
            hidden = _read(whisper, encoded, inputs, cache)
            if not n_said and has_no_speech(whisper.tokenizer):
                quiet = model.proj_out(hidden[:, :1])[:, 0].float().softmax(-1)[:, no_speech_id(whisper.tokenizer)]
            scores = model.proj_out(hidden[:, -1:])[:, 0].float()  # of the prefix two places are asked for, and a vocabulary is wide
            scores.index_fill_(1, never if n_said else at_first, -torch.inf)
            best, ids = scores.max(-1)
            going = ~done[places]
            said[places, n_said] = ids.where(going, end)
            logprobs[places, n_said] = (best - scores.logsumexp(-1)).where(going, 0)
            lengths[places] += going
            done[places] |= ids == end
            inputs = ids[:, None]
            if ahead:
                if (n_said + 1) % AHEAD == 0 and done.all():
                    break
                continue
            kept = (~done[places]).nonzero()[:, 0]
            if not len(kept):
                break
            if len(kept) <= FEWER * len(places):
                places, inputs, encoded = places[kept], inputs[kept], encoded.only(kept)
                cache.batch_select_indices(kept)
    said, logprobs = said[:, : int(lengths.max())].cpu(), logprobs[:, : int(lengths.max())].cpu()
    sums = torch.zeros(n_clips)
    for each in logprobs.unbind(1):
        sums += each  # one after the other: `sum` adds them in another order, and the last digits are others
    texts = whisper.tokenizer.batch_decode(said, skip_special_tokens=True)
    figures = zip(texts, (~done).tolist(), (sums / lengths.cpu()).tolist(), lengths.tolist(), quiet.tolist(), strict=True)
    heard = [Heard(text.strip(), capped, round(logprob, 4), n, round(nobody, 4)) for text, capped, logprob, n, nobody in figures]
    return heard, said, logprobs


def score_next(whisper: Whisper, encoded: Encoded, inputs: torch.Tensor, cache: Cache) -> torch.Tensor:
    """Return the logits of the token after each of `inputs`, [n_clips, n_tokens, n_vocabulary].

    Args:
        whisper: the model.
        encoded: the batch; its keys are filled, if they are not yet.
        inputs: [n_clips, n_tokens], ids behind those that the cache holds.
        cache: of the decoder's attention to its own tokens; it holds them afterwards.
    """
    scores: torch.Tensor = whisper.model.proj_out(_read(whisper, encoded, inputs, cache))
    return scores


def _read(whisper: Whisper, encoded: Encoded, inputs: torch.Tensor, cache: Cache) -> torch.Tensor:
    """Return what the decoder makes of the inputs, [n_clips, n_tokens, width]; arguments as for `score_next`."""
    caches = EncoderDecoderCache(cache, encoded.keys)
    hidden: torch.Tensor = whisper.model.model.decoder(
        input_ids=inputs, encoder_hidden_states=encoded.states, past_key_values=caches, use_cache=True
    ).last_hidden_state  # fmt: skip
    return hidden


def in_precision(whisper: Whisper, autocast: torch.dtype | None) -> torch.autocast:
    """Return a context of this arithmetic, float32 if it is None. While one is open, each weight that is trained is cast only once."""
    return torch.autocast(whisper.model.device.type, autocast, enabled=autocast is not None)


def pad_features(examples: Sequence[Example], n_frames: int) -> torch.Tensor:
    """Return [n_clips, n_mels, n_frames]: each clip's frames, and its own fill value behind them (0 would be a loud sound)."""
    return torch.from_numpy(np.stack([restore(each.features, each.fill, n_frames) for each in examples]))


def hear_all(whisper: Whisper, examples: Sequence[Example], batch: int) -> Iterator[tuple[int, Heard]]:
    """Transcribe many clips, the longest first, and yield each one's number with what was heard."""
    for numbers in longest_first(examples, batch):
        features = pad_features([examples[number] for number in numbers], whisper.shape.n_frames)
        yield from zip(numbers, hear(whisper, features), strict=True)


def longest_first(examples: Sequence[Example], batch: int) -> list[list[int]]:
    """Return the numbers of the clips of each batch, by duration.

    Clips of like length end their words at like times, so that a batch wastes few decoding steps; and what does not fit fails at once.
    """
    order = sorted(range(len(examples)), key=lambda number: -examples[number].n_samples)
    return [order[start : start + batch] for start in range(0, len(order), batch)]


def _set_aside(n_layers: int, n_tokens: int) -> Cache:
    """Return a cache that does not grow. `StaticCache(config)` would have as many layers as the encoder."""
    return Cache(layers=[StaticLayer(n_tokens) for _ in range(n_layers)])


def _suppressed(whisper: Whisper) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ids that the model never says, and those that it does not say at first: on its device, once and not for each token."""
    config, device = whisper.model.generation_config, whisper.model.device
    never = config.suppress_tokens or []
    ids = (never, [*never, *(config.begin_suppress_tokens or [])])
    never_ids, first_ids = (torch.tensor(each, dtype=torch.int64, device=device) for each in ids)
    return never_ids, first_ids
