"""The training loop. Killed anywhere and started again anywhere, it ends with the same weights.

Why not `Seq2SeqTrainer`: it writes checkpoints in place (five of 24 kills left one that could not be resumed), resumes silently without an
optimiser, swallows failed pushes, and pads and collates in worker processes that the GPU waits for. What remains is this page.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from tasks.contracts.errors import TrainingError
from tasks.model.batch import IGNORED, Batch, collate, mask_features
from tasks.model.checkpoint import Progress
from tasks.model.generate import hear_all
from tasks.model.tokens import label_ids, prefix_ids
from tasks.model.whisper import Whisper
from tasks.shards.format import Example
from tasks.shards.plan import draw

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

log = logging.getLogger(__name__)
DECODING_CHECK = 16  # dev clips below which loss and WER are not compared


class Examples(Protocol):
    """Clips by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int, /) -> Example: ...


class Keep(Protocol):
    """Saves the state of a training."""

    def __call__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None: ...


def train(
    whisper: Whisper,
    clips: Examples,
    dev: Sequence[Example],
    settings: "Training",
    wer: Callable[[list[str], list[str]], float],
    keep: Keep,
    resume: Callable[[torch.nn.Module, torch.optim.Optimizer], Progress],
) -> Progress:
    """Train until the last step, or until the dev WER has not fallen for `patience` looks.

    Args:
        whisper: the model; its weights are changed.
        clips: what to learn from.
        dev: what the best checkpoint is chosen on.
        settings: the recipe's section.
        wer: word error rate of (references, hypotheses).
        keep: called after each look at the dev split, and when the training is interrupted.
        resume: puts an earlier state into model and optimiser and returns its progress, or a new one.

    Returns:
        The progress, whose `best_step` names the checkpoint to use.

    Raises:
        TrainingError: if a loss or gradient is not finite, or loss and WER disagree.
    """
    model = whisper.model
    if settings.freeze_encoder:
        model.model.encoder.requires_grad_(False)
    optimizer = _optimizer(model, settings)
    progress = resume(model, optimizer)
    if progress.step:
        log.info("training: continues after step %d of %d", progress.step, settings.steps)
    labels, weights = _labels(whisper, clips), getattr(clips, "weights", None)
    began, kept, is_whole = time.monotonic(), progress.step, True

    bar = tqdm(total=settings.steps, initial=progress.step, desc="train", unit="step", disable=None, leave=False)
    with torch.random.fork_rng():  # each step seeds the generators for itself
        try:
            while True:
                if _is_look_due(progress, settings):
                    _enter(progress, _look(whisper, dev, settings, wer), began)
                    _refuse_disagreement(progress.history[-1], len(dev))
                    keep(model, optimizer, progress)
                    kept, began = progress.step, time.monotonic()
                    _say(progress, settings, bar)
                if progress.step >= settings.steps or _is_patience_over(progress, settings):
                    return progress
                numbers = list(batch_numbers(progress.step, len(clips), settings, weights))
                loss = _gradients(whisper, optimizer, clips, labels, numbers, progress.step, settings)
                is_whole = False
                optimizer.step()
                progress.step += 1
                progress.losses.append(loss)
                is_whole = True
                bar.update()
        except BaseException as error:  # a person, a preempted machine: what was learnt since the last look is kept, if it is whole
            if is_whole and progress.step > kept and not isinstance(error, Exception):
                keep(model, optimizer, progress)
            raise
        finally:
            bar.close()


def usual_rate(width: int, is_new: bool) -> float:
    """Return the highest learning rate that suits a model of this width (d_model).

    For a trained one a fortieth of what OpenAI trained that size with (Radford et al. 2022, table 17); new small ones want a hundred times
    as much.
    """
    if is_new:
        return 1.2e-3 * math.sqrt(128 / width)
    rates = {384: 3.75e-5, 512: 2.5e-5, 768: 1.25e-5, 1024: 6.25e-6, 1280: 4.4e-6}
    return next((rate for size, rate in rates.items() if width <= size), 4.4e-6)


def learning_rate(step: int, settings: "Training") -> float:
    """Return the rate of optimiser step number `step`, from 0."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    share = (step - settings.warmup) / max(1, settings.steps - settings.warmup)  # of the way down
    falls = {"linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2, "constant": 1.0}
    return settings.learning_rate * falls[settings.schedule]


def batch_numbers(step: int, n_clips: int, settings: "Training", weights: np.ndarray | None = None) -> Iterator[int]:
    """Yield the numbers of the clips of one optimiser step.

    Each epoch is a permutation drawn from the seed and its number, and a step takes the next `batch * accumulate` of the endless row of
    epochs: every clip exactly once an epoch, and any step's clips known without the steps before it. With `weights`, [n_clips] float, an
    epoch has a clip of weight 2 twice, and one of weight 0.5 every other time on average.
    """
    size = settings.batch * settings.accumulate
    n_epoch = epoch_length(n_clips, weights)
    for place in range(step * size, (step + 1) * size):
        epoch, within = divmod(place, n_epoch)
        yield _epoch(settings.seed, epoch, n_clips, n_epoch, weights)[within]


def epoch_length(n_clips: int, weights: np.ndarray | None) -> int:
    """Return how many clips an epoch goes through, as often as `weights` say."""
    return n_clips if weights is None else max(1, round(float(weights.sum(dtype=np.float64))))


_last_epoch: tuple[Any, np.ndarray | None, list[int]] = (None, None, [])


def _epoch(seed: int, number: int, n_clips: int, n_epoch: int, weights: np.ndarray | None) -> list[int]:
    """Return the clips of one epoch in their order."""
    global _last_epoch  # one epoch's order is asked for clip by clip
    if _last_epoch[0] != (seed, number, n_clips, n_epoch) or _last_epoch[1] is not weights:
        order = torch.randperm(n_clips, generator=_generator(seed, "epoch", number))
        if weights is not None and not (weights == 1).all():
            # Systematic sampling: equal steps along the weights, laid end to end in random order, from a random place on.
            ends = np.cumsum(weights[order.numpy()], dtype=np.float64)
            steps = (np.arange(n_epoch) + draw(seed, "place", number)) * ends[-1] / n_epoch
            picked = order[torch.from_numpy(np.searchsorted(ends, steps, side="right").clip(max=n_clips - 1))]
            order = picked[torch.randperm(n_epoch, generator=_generator(seed, "order", number))]
        _last_epoch = ((seed, number, n_clips, n_epoch), weights, order.tolist())  # kept: the place of one that went may be another's
    return _last_epoch[2]


def _generator(*words: Any) -> torch.Generator:
    seed, *rest = words
    return torch.Generator().manual_seed(int(draw(seed, *rest) * 2**53))


def _labels(whisper: Whisper, clips: Examples) -> list[list[int]]:
    """Return each clip's whole label, with the prefix of its own language."""
    texts = clips.texts if hasattr(clips, "texts") else [clips[number].text for number in range(len(clips))]
    languages = getattr(clips, "languages", None) or [""] * len(texts)
    prefixes = {
        language: prefix_ids(whisper.tokenizer, language, whisper.shape.multilingual) if language else whisper.prefix
        for language in set(languages)
    }
    return [label_ids(whisper.tokenizer, prefixes[language], text) for language, text in zip(languages, texts, strict=True)]


def _optimizer(model: torch.nn.Module, settings: "Training") -> torch.optim.AdamW:
    """AdamW as Whisper was trained with, without decay on biases and norms."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def _batches(
    numbers: list[int], clips: Examples, labels: list[list[int]], whisper: Whisper, step: int, settings: "Training"
) -> Iterator[Batch]:
    """Yield the forward passes of one step, on the model's device, augmented by what the seed and the step say."""
    for start in range(0, len(numbers), settings.batch):
        chosen = numbers[start : start + settings.batch]
        examples = [clips[number] for number in chosen]
        batch = collate(examples, [labels[number] for number in chosen], whisper.shape.n_frames, whisper.tokenizer.pad_token_id)
        if settings.mask_time or settings.mask_bins:
            random = _generator(settings.seed, "mask", step, start)
            batch = Batch(mask_features(batch, settings.mask_time, settings.mask_bins, random), batch.lengths, batch.inputs, batch.labels)
        yield batch.to(str(whisper.model.device))


def _gradients(
    whisper: Whisper,
    optimizer: torch.optim.Optimizer,
    clips: Examples,
    labels: list[list[int]],
    numbers: list[int],
    step: int,
    settings: "Training",
) -> float:
    """Leave the gradients of one optimiser step on the model, set its rate, and return its loss, the mean over all its tokens."""
    model = whisper.model.train()
    torch.manual_seed(int(draw(settings.seed, "dropout", step) * 2**53))  # dropout too follows from seed and step
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, settings)
    optimizer.zero_grad(set_to_none=True)
    passes = list(_batches(numbers, clips, labels, whisper, step, settings))
    n_tokens = sum(int((batch.labels != IGNORED).sum()) for batch in passes)
    total = torch.zeros((), device=model.device)
    for batch in passes:
        loss = _loss(model, batch) / n_tokens
        loss.backward()  # type: ignore[no-untyped-call]  # torch
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    if not (torch.isfinite(total) and torch.isfinite(norm)):
        raise TrainingError(
            f"step {step + 1}: loss {total.item():g}, gradient {norm.item():g}, on the clips {[clips[number].id for number in numbers[:8]]}"
            f"{'...' if len(numbers) > 8 else ''}. Lower training.learning_rate ({settings.learning_rate:g}), or look at these clips"
        )
    return float(total)


def _loss(model: Any, batch: Batch) -> torch.Tensor:
    """Return the summed cross-entropy of a batch; bfloat16 where the GPU is fast at it."""
    cuda = batch.features.is_cuda
    with torch.autocast("cuda" if cuda else "cpu", torch.bfloat16, enabled=cuda and torch.cuda.is_bf16_supported()):
        logits = model(input_features=batch.features, decoder_input_ids=batch.inputs, use_cache=False).logits
    return cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")


@torch.inference_mode()
def _look(whisper: Whisper, dev: Sequence[Example], settings: "Training", wer: Callable[[list[str], list[str]], float]) -> dict[str, float]:
    """Return loss, share of right next tokens, and WER on the dev clips."""
    whisper.model.eval()
    loss, n_right, n_tokens = 0.0, 0, 0
    for start in range(0, len(dev), settings.batch):
        examples = dev[start : start + settings.batch]
        labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text) for each in examples]
        batch = collate(examples, labels, whisper.shape.n_frames, whisper.tokenizer.pad_token_id).to(str(whisper.model.device))
        logits = whisper.model(input_features=batch.features, decoder_input_ids=batch.inputs, use_cache=False).logits.float()
        loss += float(cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"))
        words = batch.labels[:, len(whisper.prefix) - 1 :]  # behind the prefix, which is the same for every clip
        n_right += int((logits[:, len(whisper.prefix) - 1 :].argmax(-1) == words).sum())
        n_tokens += int((words != IGNORED).sum())
    heard = dict(hear_all(whisper, dev, settings.batch))
    hypotheses = [heard[number].text for number in range(len(dev))]
    n_prefix = (len(whisper.prefix) - 1) * len(dev)
    return {
        "dev_loss": loss / (n_tokens + n_prefix),
        "dev_right": n_right / n_tokens,
        "dev_wer": wer([each.text for each in dev], hypotheses),
    }


def _enter(progress: Progress, look: dict[str, Any], began: float) -> None:
    """Enter a look into the progress, with the mean loss since the one before."""
    look["loss"] = sum(progress.losses) / len(progress.losses)
    progress.history.append({"step": progress.step, **look, "seconds": round(time.monotonic() - began, 1)})
    progress.losses.clear()
    if look["dev_wer"] < progress.best_wer:
        progress.best_wer, progress.best_step, progress.n_looks_since = look["dev_wer"], progress.step, 0
    else:
        progress.n_looks_since += 1


def _say(progress: Progress, settings: "Training", bar: Any) -> None:
    look = progress.history[-1]
    bar.set_postfix(loss=f"{look['loss']:.3f}", dev_wer=f"{look['dev_wer']:.1%}")
    log.info(
        "step %d of %d: loss %.3f, dev loss %.3f, dev WER %.1f %%, %.0f s",
        progress.step, settings.steps, look["loss"], look["dev_loss"], 100 * look["dev_wer"], look["seconds"],
    )  # fmt: skip


def _is_look_due(progress: Progress, settings: "Training") -> bool:
    """Say whether the dev split is to be looked at before the next step; a training may have been interrupted just before."""
    due = progress.step > 0 and (progress.step % settings.evaluate_every == 0 or progress.step == settings.steps)
    return due and not (progress.history and progress.history[-1]["step"] == progress.step)


def _is_patience_over(progress: Progress, settings: "Training") -> bool:
    return bool(settings.patience) and progress.n_looks_since >= settings.patience


def _refuse_disagreement(look: dict[str, Any], n_clips: int) -> None:
    """Stop a training whose model knows the words but does not say them: its decoding is broken, and no step will mend that."""
    if n_clips >= DECODING_CHECK and look["dev_right"] > 0.9 and look["dev_wer"] > 0.6:
        raise TrainingError(
            f"step {look['step']}: {look['dev_right']:.0%} of the next tokens are right, but the dev WER is {look['dev_wer']:.0%}, "
            "expected below 60 %. The model knows the words and does not say them: its generation config, special tokens or "
            "language do not fit"
        )
