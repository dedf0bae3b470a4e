"""A look at the dev split inside a training: loss, share of right next tokens, WER, and whether the three agree.

Cheap: each batch is encoded once, for the loss and for the words; its clips are of like length; and what is said is cut off where it is
wrong however it goes on, longer by half than the longest reference of its batch. What is lost so are insertions, nearly always: a runaway
has a lower WER here than in the scores, which have no such cap (tasks/score.py).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from transformers import DynamicCache

from tasks.contracts.errors import TrainingError
from tasks.model.batch import collate
from tasks.model.generate import Heard, encode, in_precision, longest_first, put_into_words, score_next
from tasks.model.lessons import IGNORED, lesson_of
from tasks.model.team import rank, world
from tasks.model.tokens import for_generate, label_ids, prefix_ids, token_of
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

WIDER = 8  # times the clips of a training's pass: nothing is kept for a backward pass, and a token costs a batch little more than a clip
LONGER, MORE = 1.5, 8  # times the tokens of a batch's longest reference, and tokens on top: what may be said
DECODING_CHECK = 16  # dev clips below which next tokens and WER are not compared
MANY = 0.1  # share of the clips from which on a cause can be the one

# A wrong next token spoils at most one word. So while the decoder reads the reference, no more words are wrong than tokens: with k tokens
# to a word at most k * (1 - dev_right) of them. `dev_explained` counts just that, so that a script without spaces, where a sentence is a
# word, needs no rule of its own. When it reads what it said itself, a mistake may bring others with it: threefold is allowed. With 1.5 to 2
# tokens a word that is a WER of 45 to 60 % where 90 % of the tokens are right, and of 90 to 120 % where 80 % are. Below either threshold a
# split may be hard, or spelt in another way.
KNOWN, SAID, FOLLOWING = 0.8, 0.6, 3


def look(
    whisper: Whisper, dev: Sequence[Example], batch: int, wer: Callable[[list[str], list[str]], float],
    autocast: torch.dtype | None = None, show: int = 5,
) -> dict[str, Any]:  # fmt: skip
    """Return what the model makes of the dev clips; the model is left as it was, and nothing random is drawn.

    Several processes share out the batches, and each returns the same.

    Args:
        whisper: the model.
        dev: the clips, at least one.
        batch: clips in a forward pass of the training; here there are WIDER times as many.
        wer: word error rate of (references, hypotheses).
        autocast: a type for the arithmetic; None: float32.
        show: clips of which the words are returned, the first ones.

    Returns:
        `dev_loss`, the mean over all tokens of the labels; `dev_right`, the share of right next tokens behind the prefix; `dev_wer`;
        `dev_explained`, wrong next tokens over words; `n_capped`, outputs that were cut off; `samples`, of `id`, `reference`, `hypothesis`;
        and `causes`, only if the model knows the words and does not say them.
    """
    batches = longest_first(dev, WIDER * batch)
    with _evaluating(whisper.model), in_precision(whisper, autocast):
        mine = list(enumerate(batches))[rank() :: world()]
        parts = _of_all({place: _look_at(whisper, [dev[number] for number in numbers], autocast) for place, numbers in mine})
    heard = dict(pair for numbers, part in zip(batches, parts, strict=True) for pair in zip(numbers, part.heard, strict=True))
    references = [each.text for each in dev]
    shown = [{"id": dev[number].id, "reference": text, "hypothesis": heard[number].text} for number, text in enumerate(references[:show])]
    n_tokens, n_right = sum(each.n_tokens for each in parts), sum(each.n_right for each in parts)
    seen: dict[str, Any] = {
        "dev_loss": sum(each.loss for each in parts) / sum(each.n_labels for each in parts),
        "dev_right": n_right / n_tokens,
        "dev_wer": wer(references, [heard[number].text for number in range(len(dev))]),
        "dev_explained": (n_tokens - n_right) / max(1, sum(len(each.split()) for each in references)),
        "n_capped": sum(each.capped for each in heard.values()),
        "samples": shown,
    }
    if _disagree(seen, len(dev)):
        seen["causes"] = likely_causes(whisper, seen, [label_ids(whisper.tokenizer, whisper.prefix, text) for text in references])
    return seen


def refuse_disagreement(first: dict[str, Any] | None, look: dict[str, Any], n_clips: int) -> None:
    """Stop a training whose model knows the words but does not say them: its decoding is broken, and no step will mend that.

    Args:
        first: the first look of the training, if there was one.
        look: the newest one, which may be the same; with its `step`.
        n_clips: of the dev split.

    Raises:
        TrainingError: if next tokens and WER disagree.
    """
    if not _disagree(look, n_clips):
        return
    causes = "; ".join(look.get("causes", ())) or "none of the known causes applies, see the samples"
    before = f". At step {first['step']} the WER was {first['dev_wer']:.0%}" if first and first["step"] < look["step"] else ""
    heard = "".join(f". {each['id']}: {each['reference']!r} was heard as {each['hypothesis']!r}" for each in look["samples"][:1])
    raise TrainingError(
        f"step {look['step']}: {look['dev_right']:.0%} of the next tokens are right, but the dev WER is {look['dev_wer']:.0%}, "
        f"expected below {100 * _expected(look):.0f} %. The model knows the words and does not say them: {causes}{before}{heard}"
    )


def likely_causes(whisper: Whisper, look: dict[str, Any], labels: Sequence[list[int]]) -> list[str]:
    """Name, of the known reasons why a model does not say what it knows, those that apply.

    Args:
        whisper: the model.
        look: what was seen.
        labels: of each dev clip the whole label: prefix, words, end.
    """
    config, few, of_all = whisper.model.generation_config, MANY * len(labels), f"of {len(labels)}"
    causes = list(_foreign(whisper, labels)) if whisper.shape.multilingual else []
    if any(getattr(each, "forced_decoder_ids", None) for each in (config, whisper.model.config)):
        causes.append("forced_decoder_ids is set, an older way of saying the prefix, which overrules the language")
    if (n_doubled := sum(label.count(label[0]) > 1 for label in labels)) > few:
        causes.append(f"{n_doubled} {of_all} labels hold the start token twice")
    never, at_first = set(config.suppress_tokens or []), set(config.begin_suppress_tokens or [])
    words = [label[len(whisper.prefix) :] for label in labels]
    if sum(not never.isdisjoint(each) for each in words) > few:
        counts = Counter(id for each in words for id in each if id in never)
        often = ", ".join(repr(whisper.tokenizer.decode([id])) for id, _ in counts.most_common(3))
        causes.append(f"suppress_tokens forbids {counts.total() / sum(map(len, words)):.0%} of the references' tokens, most often {often}")
    if (n_forbidden := sum(each[0] in at_first for each in words)) > few:
        causes.append(f"begin_suppress_tokens forbids the first token of {n_forbidden} {of_all} references")
    if look["n_capped"] > few:
        causes.append(f"{look['n_capped']} {of_all} outputs were cut off: the model does not say the end")
    return causes


def _foreign(whisper: Whisper, labels: Sequence[list[int]]) -> Iterator[str]:
    """Yield what is not in the language, or not the task, that it should be."""
    config, token = whisper.model.generation_config, token_of(whisper.language)
    language, task = getattr(config, "language", None), getattr(config, "task", None)
    # Decoding here follows the prefix; but a config that says another was not made by `load_whisper`, and more of it may be wrong.
    if language not in (for_generate(whisper.language), token) or task != "transcribe":
        yield f"the generation config says language {language!r} and task {task!r}, where the labels say {token} and transcribe"
    id = prefix_ids(whisper.tokenizer, whisper.language, multilingual=True)[1]
    others = [label for label in labels if id not in label[: len(whisper.prefix)]]
    if len(others) > MANY * len(labels):
        said = whisper.tokenizer.convert_ids_to_tokens(others[0][1])
        yield f"{len(others)} of {len(labels)} labels, and with them the decoding, say {said} and not {token}"


@dataclass(frozen=True)
class _Part:
    """What was seen of one batch."""

    loss: float  # summed over all its labels
    n_labels: int
    n_right: int
    n_tokens: int  # behind the prefix
    heard: list[Heard]


@torch.inference_mode()
def _look_at(whisper: Whisper, examples: list[Example], autocast: torch.dtype | None) -> _Part:
    """Encode one batch, and let the decoder read the references, and then say what it hears."""
    labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text) for each in examples]
    lessons = [lesson_of(example, label) for example, label in zip(examples, labels, strict=True)]
    batch = collate(lessons, whisper.shape.n_frames, whisper.tokenizer.pad_token_id).to(whisper.model.device)
    encoded, start = encode(whisper, batch.features(), autocast), len(whisper.prefix) - 1
    with in_precision(whisper, autocast):
        scores = score_next(whisper, encoded, batch.inputs, DynamicCache()).float()  # [n_clips, n_tokens, n_vocabulary]
    loss = cross_entropy(scores.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")
    words = batch.labels[:, start:]
    n_right = (scores[:, start:].argmax(-1) == words).sum()  # IGNORED is no id
    del scores  # the largest tensor of all
    heard = put_into_words(whisper, encoded, int(LONGER * (max(map(len, labels)) - len(whisper.prefix))) + MORE, autocast)
    return _Part(float(loss), int((batch.labels != IGNORED).sum()), int(n_right), int((words != IGNORED).sum()), heard)


def _of_all(mine: dict[int, _Part]) -> list[_Part]:
    """Return the parts of all processes, in the order of the batches: sums are the same to the bit, however many processes there are."""
    everyones: list[Any] = [mine] * world()
    if world() > 1:
        dist.all_gather_object(everyones, mine)
    parts = {place: part for each in everyones for place, part in each.items()}
    return [parts[place] for place in sorted(parts)]


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Turn dropout off, and leave each module in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _expected(look: dict[str, Any]) -> float:
    """Return the WER below which a look is healthy."""
    return max(SAID, FOLLOWING * float(look["dev_explained"]))


def _disagree(look: dict[str, Any], n_clips: int) -> bool:
    return n_clips >= DECODING_CHECK and look["dev_right"] > KNOWN and look["dev_wer"] > _expected(look)
