"""The training loop. Killed anywhere and started again anywhere, it ends with the same weights.

Why not `Seq2SeqTrainer`: it writes checkpoints in place (five of 24 kills left one that could not be resumed), resumes silently without an
optimiser, swallows failed pushes, and pads and collates in worker processes that the GPU waits for.

The host runs one step ahead of a GPU: a loss is read when the next step is already under way, so that nothing waits for it. A step whose
loss or gradient is not finite moves no weight, wherever the host is by then.
"""

import logging
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from transformers import DynamicCache, EncoderDecoderCache

from tasks.contracts.errors import TrainingError
from tasks.model.batch import Batch
from tasks.model.checkpoint import Progress, State
from tasks.model.feed import Feed, Step
from tasks.model.lessons import IGNORED, Clips
from tasks.model.look import look, refuse_disagreement
from tasks.model.lora import add_lora
from tasks.model.optimise import freeze, learning_rate, make_optimizer, precision_of
from tasks.model.order import epoch_length, seed_of
from tasks.model.signals import Interrupted, Stop, Stopped, deferred
from tasks.model.team import add_up, as_first_says, rank, world
from tasks.model.whisper import Whisper
from tasks.shards.format import Example

if TYPE_CHECKING:  # pydantic is not needed to train
    from tasks.contracts.recipe import Training

log = logging.getLogger(__name__)
SMALLEST_SCALE = 1.0  # of float16 losses: below it, the gradients overflow for another reason than the scale
SHOWN = 8  # ids of clips in a message
Wer = Callable[[list[str], list[str]], float]


@dataclass(frozen=True)
class Moment:
    """What can be seen of a training after a step."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    clips: tuple[str, ...]  # ids, of this process
    seconds: float  # since this attempt began, looks included
    stalled: float  # of them, in which the model waited for clips
    trained: float  # of them, in which it learnt
    n_clips: int  # learnt in this attempt
    n_steps: int  # of this attempt
    look: dict[str, Any] | None = None  # of the dev split, if there was one after this step
    memory: tuple[int, int] | None = None  # bytes of the GPU that were taken at most, and that it has

    @property
    def left(self) -> float:
        """Return how many seconds it may go on, at the pace so far."""
        return (self.steps - self.step) * self.seconds / max(1, self.n_steps)


def train(
    whisper: Whisper,
    clips: Clips,
    dev: Sequence[Example],
    settings: "Training",
    wer: Wer,
    keep: Callable[[State, bool], bool],
    resume: Callable[[State], None],
    watch: Callable[[Moment], None] | None = None,
) -> Progress:
    """Train until the last step, or until the dev WER has not fallen for `patience` looks.

    Args:
        whisper: the model; its weights are changed.
        clips: what to learn from.
        dev: what the best checkpoint is chosen on.
        settings: the recipe's section, with a learning rate.
        wer: word error rate of (references, hypotheses).
        keep: stores the state; told to wait until it is stored it says whether it is. Called in process 0 only, and between looks not
            while it says that it `is_busy`; `close`, if it has that, waits until the last one is stored.
        resume: puts an earlier state, if there is one, into a new one.
        watch: is told after each step and each look.

    Returns:
        The progress, whose `best_step` names the checkpoint to use.

    Raises:
        TrainingError: if a loss or gradient is not finite, loss and WER disagree, or the GPU's memory does not suffice.
        Stopped: if the machine or a person asked to stop; what was learnt is kept.
    """
    model: Any = whisper.model
    freeze(model, settings)
    if settings.lora.rank:
        add_lora(model, settings.lora, settings.seed)
    if settings.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable  # its name of before 5.23
        enable({"use_reentrant": False})
    masks, model.config.apply_spec_augment = model.config.apply_spec_augment, False  # transformers' own masks follow from no seed of ours
    scaler = torch.amp.GradScaler(model.device.type, enabled=precision_of(settings, model.device) == torch.float16)
    state = State(model, make_optimizer(model, settings), scaler)
    resume(state)
    try:
        Loop(whisper, clips, dev, settings, wer, state, keep, watch).run()
    except torch.OutOfMemoryError as error:  # of the optimiser or a look: an accident that would happen again
        raise _out_of_memory(state.progress.step, settings, "", error) from error
    finally:
        model.config.apply_spec_augment = masks
    return state.progress


class Loop:
    """One training, or the rest of one."""

    def __init__(
        self, whisper: Whisper, clips: Clips, dev: Sequence[Example], settings: "Training", wer: Wer, state: State,
        keep: Callable[[State, bool], bool], watch: Callable[[Moment], None] | None = None,
    ) -> None:  # fmt: skip
        """Get ready; `train` says what these are."""
        self.whisper, self.dev, self.settings, self.wer, self.state, self.keep, self.watch = whisper, dev, settings, wer, state, keep, watch
        self.device = whisper.model.device
        self.dtype = precision_of(settings, self.device)
        self.feed = Feed(whisper, clips, settings, self.device, rank(), world())
        state.progress.n_epoch = epoch_length(len(self.feed.lessons), self.feed.lessons.weights)
        self.forward = _wrap(whisper.model, settings)
        self.lag = 1 if self.device.type == "cuda" else 0
        self.unread: deque[_Unread] = deque()
        self.asked = 0  # the signal that any of the processes was asked to stop by
        self.is_whole = True  # no step is half done
        self.first = self.kept = state.progress.step
        self.began = self.kept_at = self.spent_at = time.monotonic()
        self.stalled, self.n_clips, self.trained = 0.0, 0, 0.0

    def run(self) -> None:
        """Take steps until it is over."""
        progress, settings = self.state.progress, self.settings
        devices = [self.device.index or 0] if self.device.type == "cuda" else []  # each step seeds for itself
        with deferred() as stop, closing(self.feed.steps(progress.step)) as steps, torch.random.fork_rng(devices):
            try:
                while True:
                    if self._is_look_due():
                        self._look(stop)
                    if progress.step >= settings.steps or (settings.patience and progress.n_looks_since >= settings.patience):
                        if hasattr(self.keep, "close"):
                            self.keep.close()  # the last steps are still on their way: no signal may cost them
                        self.asked = self.asked or (stop.signal if world() == 1 else 0)
                        if self.asked:  # meanwhile: nothing that follows may begin
                            self._stop()
                        return
                    self._learn(next(steps), stop.signal)
                    if self.asked:
                        self._stop()
                    if self._is_checkpoint_due():
                        self._keep()
            except Interrupted:
                self.asked = stop.signal
                self._stop()
            except (KeyboardInterrupt, SystemExit):  # not as a signal: from a thread, or where no signal is noted
                if self.is_whole and progress.step > self.kept:
                    self._keep(wait=True)
                raise

    def _learn(self, step: Step, asked: int) -> None:
        """Take one step."""
        settings, state = self.settings, self.state
        n_tokens: Any = step.n_tokens
        told = None
        if world() > 1:
            mine = torch.tensor([step.n_tokens, asked > 0])
            told = add_up((mine.pin_memory() if self.device.type == "cuda" else mine).to(self.device, non_blocking=True))
            n_tokens = told[0]
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(step.number, settings)
        loss = None
        while loss is None:
            try:
                loss = self._gradients(step, n_tokens)
            except torch.OutOfMemoryError as error:
                self._make_room(step, error)
        self.is_whole = False
        self._move(loss)
        state.progress.step += 1
        self.n_clips += settings.batch * settings.accumulate
        self.unread.append(_Unread(step, *_on_its_way(loss, told)))
        self.is_whole = True
        self._read(self.lag)
        self.asked = self.asked or (asked if world() == 1 else 0)

    def _gradients(self, step: Step, n_tokens: Any) -> torch.Tensor:
        """Leave the gradients of a step on the model; return its loss, the mean over all tokens of all its passes."""
        self.whisper.model.train()
        # Dropout too follows from seed and step.
        torch.manual_seed(seed_of(self.settings.seed, "dropout", step.number, *([rank()] if rank() else [])))
        self.state.optimizer.zero_grad(set_to_none=True)
        passes = [part for each in step.passes for part in _cut(each, self.state.progress.n_halved)]
        total = torch.zeros((), device=self.device)
        for number, batch in enumerate(passes):
            is_last = number == len(passes) - 1
            with nullcontext() if is_last or world() == 1 else self.forward.no_sync():
                loss = self._loss(batch.to(self.device)) / n_tokens
                self.state.scaler.scale(loss * world()).backward()  # the processes' gradients are averaged, their loss is a sum
            total += loss.detach()
        return add_up(total)

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Return the summed cross-entropy of a batch."""
        inputs = {"input_features": batch.features(), "decoder_input_ids": batch.inputs, "use_cache": False}
        if not self.settings.compile:  # without an empty cache transformers looks for packed sequences, and waits for the GPU to see them
            inputs["past_key_values"] = EncoderDecoderCache(DynamicCache(), DynamicCache())
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            logits = self.forward(**inputs).logits
        return cross_entropy(logits.float().flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum")

    def _move(self, loss: torch.Tensor) -> None:
        """Let the optimiser move the weights, unless loss or gradient is not finite: a NaN would be in all of them at once."""
        optimizer, scaler = self.state.optimizer, self.state.scaler
        scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.whisper.model.parameters(), self.settings.clip_norm)
        if scaler.is_enabled():  # float16 gradients overflow now and then: the scaler passes over the step, and scales down
            scaler.step(optimizer)
            scaler.update()
            return
        bad = ~(torch.isfinite(loss) & torch.isfinite(norm))
        optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # what fused optimisers look at before they move anything
        optimizer.step()
        loss.masked_fill_(bad, torch.nan)

    def _read(self, most: int = 0) -> None:
        """Read losses until at most so many are left unread.

        Raises:
            TrainingError: if one is not finite.
        """
        progress, settings = self.state.progress, self.settings
        while len(self.unread) > most:
            step, value, told, is_there = self.unread.popleft()
            if is_there:
                is_there.synchronize()  # of that step alone: reading from the GPU would wait for all that is queued there
            loss = float(value)
            if not math.isfinite(loss):
                self.is_whole = False
                more = "..." if len(step.clips) > SHOWN else ""
                raise TrainingError(
                    f"step {step.number + 1}: loss or gradient is not finite, on the clips {step.clips[:SHOWN]}{more}; "
                    f"no weight was moved by it. Lower training.learning_rate ({settings.learning_rate:g}), or look at these clips"
                )
            if told is not None and int(told[1]):  # whoever was asked, all stop after the same step
                self.asked = signal.SIGTERM
            progress.losses.append(loss)
            if self.watch:
                self.watch(self._moment(step.number + 1, loss, learning_rate(step.number, settings), tuple(step.clips)))

    def _is_look_due(self) -> bool:
        """Say whether the dev split is to be looked at before the next step; a training may have been interrupted just before."""
        progress, settings = self.state.progress, self.settings
        due = progress.step % settings.evaluate_every == 0 or progress.step >= settings.steps
        return due and not (progress.history and progress.history[-1]["step"] == progress.step)

    def _look(self, stop: Stop) -> None:
        """Look at the dev split, note what was seen, and keep the state."""
        self._read()
        if world() > 1 and self.state.progress.step > self.kept:  # a look of several cannot be cut short: let it cost itself alone
            self._keep()
        self._spend("training")
        progress, scaler = self.state.progress, self.state.scaler
        if scaler.is_enabled() and scaler.get_scale() < SMALLEST_SCALE:
            raise TrainingError(
                f"step {progress.step}: float16 gradients overflow at any scale; training.precision fp32, or lower training.learning_rate"
            )
        with stop.at_once() if world() == 1 else nullcontext():  # processes that look together have to end it together
            seen = look(self.whisper, self.dev, max(1, self.settings.batch >> progress.n_halved), self.wer, autocast=self.dtype)
        self._spend("looks")
        progress.enter(seen)
        newest = progress.history[-1]
        log.info(
            "step %d of %d: %sdev loss %.3f, dev WER %.1f %%", progress.step, self.settings.steps,
            f"loss {newest['loss']:.3f}, " if "loss" in newest else "", newest["dev_loss"], 100 * newest["dev_wer"],
        )  # fmt: skip
        if self.watch:
            self.watch(self._moment(progress.step, newest.get("loss", newest["dev_loss"]), 0.0, (), newest))
        refuse_disagreement(progress.history[0], newest, len(self.dev))
        if progress.step:
            self._keep()

    def _moment(self, step: int, loss: float, rate: float, clips: tuple[str, ...], seen: dict[str, Any] | None = None) -> Moment:
        now = time.monotonic()
        learning = self.trained + (now - self.spent_at)
        return Moment(step, self.settings.steps, loss, rate, clips, now - self.began, self.feed.stalled, learning, self.n_clips,
                      step - self.first, seen, self._memory())  # fmt: skip

    def _memory(self) -> tuple[int, int] | None:
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device), torch.cuda.get_device_properties(self.device).total_memory

    def _is_checkpoint_due(self) -> bool:
        """Say whether so much work is unsaved that it should not be lost; the clock of process 0 counts."""
        minutes = self.settings.checkpoints.minutes
        due = bool(minutes) and rank() == 0 and time.monotonic() - self.kept_at > 60 * minutes
        return (
            due and not self._is_look_due() and not getattr(self.keep, "is_busy", False)
        )  # a slow store makes them rarer, it does not make the training wait

    def _keep(self, wait: bool = False) -> bool:
        """Hand the state to the one who stores it; say whether it is stored, if told to wait for that."""
        self._read()
        self._spend("training")
        stored = self.keep(self.state, wait) if rank() == 0 else False
        self._spend("checkpoints")
        self.kept, self.kept_at = self.state.progress.step, time.monotonic()
        return stored

    def _stop(self) -> None:
        """Keep what was learnt, and leave."""
        step = self.state.progress.step
        stored = bool(step) and as_first_says(self._keep(wait=True))  # before the first step the optimiser has no moments
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        what = "its checkpoint is on the store" if stored else "its checkpoint could not be stored in time"
        what = what if step else "there is nothing to keep yet"
        raise Stopped(
            f"asked to stop ({signal.Signals(self.asked).name}) after step {step} of {self.settings.steps}; {what}; run again to go on"
        )

    def _make_room(self, step: Step, error: torch.OutOfMemoryError) -> None:
        """Halve the passes, if the recipe wants that; TrainingError if not, or if they are of one clip."""
        self.state.optimizer.zero_grad(set_to_none=True)
        progress, largest = self.state.progress, max(step.passes, key=len)
        n_clips = -(-len(largest) >> progress.n_halved) or 1
        if self.settings.out_of_memory != "halve" or n_clips <= 1 or world() > 1:
            told = f"with {n_clips} clips of {largest.n_frames:,} frames and {largest.inputs.shape[1]} labels in a pass"
            raise _out_of_memory(step.number + 1, self.settings, told, error) from error
        progress.n_halved += 1
        log.warning(
            "step %d: out of memory with %d clips in a pass; going on with half, the step as large as before", step.number + 1, n_clips
        )

    def _spend(self, what: str) -> None:
        """Put the time since the last account to one of its columns."""
        now, waited = time.monotonic(), self.feed.stalled - self.stalled
        self.state.progress.spend(what, now - self.spent_at - waited)
        self.state.progress.spend("waiting for clips", waited)
        self.trained += now - self.spent_at if what == "training" else 0.0
        self.spent_at, self.stalled = now, self.feed.stalled


class _Unread(NamedTuple):
    """A step whose loss the host has not read yet."""

    step: Step
    loss: torch.Tensor
    told: torch.Tensor | None  # what all processes said: labels, and whether to stop
    is_there: torch.cuda.Event | None  # both have come from the GPU


def _on_its_way(loss: torch.Tensor, told: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None, torch.cuda.Event | None]:
    """Return what the host will read, on its way from the GPU, and what says that it has come."""
    if not loss.is_cuda:
        return loss, told, None

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)

    ours, theirs, is_there = copied(loss), None if told is None else copied(told), torch.cuda.Event()  # type: ignore[no-untyped-call]
    is_there.record()
    return ours, theirs, is_there


def _out_of_memory(step: int, settings: "Training", told: str, error: BaseException) -> TrainingError:
    batch, accumulate = settings.batch, settings.accumulate
    smaller = f"training.batch {max(1, batch // 2)} with training.accumulate {accumulate * 2} is the same step; "
    return TrainingError(
        f"step {step}: out of memory {told}: {' '.join(str(error).split())[:200]}. {smaller if batch > 1 else ''}or set "
        "training.gradient_checkpointing, training.lora.rank, training.freeze_encoder; or training.out_of_memory halve"
    )


def _wrap(model: Any, settings: "Training") -> Any:
    """Return what the loop calls instead of the model: on several processes it averages gradients, compiled it is faster."""
    forward = model
    if world() > 1:
        forward = DistributedDataParallel(model, device_ids=[model.device.index] if model.device.type == "cuda" else None)
    if settings.compile:
        torch._dynamo.config.recompile_limit = 64  # a shape for each bucket of label lengths, not eight of them
        forward = torch.compile(forward, dynamic=False)
    return forward


def _cut(batch: Batch, n_times: int) -> list[Batch]:
    """Return the batch, or its halves, or their halves."""
    parts = [batch]
    for _ in range(n_times):
        parts = [half for part in parts for half in (part.halves() if len(part) > 1 else (part,))]
    return parts
