"""What viska's training is compared with in `benchmarks/train.py`: transformers' Seq2SeqTrainer, in two ways in which people use it.

  tutorial  the Hub's blog "Fine-Tune Whisper For Multilingual ASR with Transformers", https://huggingface.co/blog/fine-tune-whisper
  script    `run_speech_recognition_seq2seq.py` of transformers' examples, with the flags that make it fastest

Written from what those pages describe, not copied. Both read padded 30 s float32 features from one Arrow file that lies as `datasets`
writes it. Nothing of viska is imported here.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    TrainerCallback,
    WhisperFeatureExtractor,
    WhisperTokenizer,
)

try:
    import datasets
except ModuleNotFoundError:  # `Rows` stands for it then
    datasets = None

SCHEMA = pa.schema([("input_features", pa.list_(pa.list_(pa.float32()))), ("labels", pa.list_(pa.int64()))])
ROWS = 100  # in a record batch
TUTORIAL_BATCH = 16
WORKERS = 8  # of the script, at most


@dataclass
class Trace:
    """What is noted of one training."""

    batch: int
    stamps: list[float] = field(default_factory=list)  # when each step ended
    stalls: list[float] = field(default_factory=list)  # seconds until then in which the loop waited for batches
    losses: list[Any] = field(default_factory=list)  # of each step
    memory: float = 0.0  # bytes, at most

    def note(self, stalled: float, loss: Any) -> None:
        """Note the end of a step."""
        self.stamps.append(time.perf_counter())
        self.stalls.append(stalled)
        self.losses.append(loss)

    def rates(self, warm_up: int, window: int) -> list[float]:
        """Return samples/s of each window of steps after the warm-up."""
        ends = self.stamps[warm_up - 1 :: window]
        return [window * self.batch / (end - begin) for begin, end in pairwise(ends)]

    def stall_share(self, warm_up: int) -> float:
        """Return the share of the time after the warm-up in which the loop waited for batches."""
        return (self.stalls[-1] - self.stalls[warm_up - 1]) / (self.stamps[-1] - self.stamps[warm_up - 1])


def write_table(path: Path, features: Iterable[np.ndarray], labels: Sequence[list[int]]) -> None:
    """Write an Arrow file of nested lists, as `map(prepare_dataset)` leaves it: features are [n_mels, n_frames] float32, padded."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        rows: list[tuple[np.ndarray, list[int]]] = []
        for row in zip(features, labels, strict=True):
            rows.append(row)
            if len(rows) == ROWS:
                writer.write_batch(_record_batch(rows))
                rows = []
        if rows:
            writer.write_batch(_record_batch(rows))


def _record_batch(rows: list[tuple[np.ndarray, list[int]]]) -> pa.RecordBatch:
    n_mels, n_frames = rows[0][0].shape
    values = pa.array(np.concatenate([features.ravel() for features, _ in rows]))
    bins = pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, n_frames, dtype=np.int32)), values)
    clips = pa.ListArray.from_arrays(pa.array(np.arange(0, len(bins) + 1, n_mels, dtype=np.int32)), bins)
    return pa.record_batch([clips, pa.array([labels for _, labels in rows], SCHEMA.field("labels").type)], schema=SCHEMA)


def open_table(path: Path, numbers: Sequence[int], as_torch: bool) -> Any:
    """Return a data set of these rows in this order: of python lists, or of tensors."""
    if datasets is None:
        return Rows(path, numbers, as_torch)
    return datasets.Dataset.from_file(str(path)).with_format("torch" if as_torch else None).select(list(numbers))


class Rows(Dataset):  # type: ignore[type-arg]
    """Rows as `datasets` gives them, where it is missing.

    Lists are made by the same call of pyarrow, which is nearly all of the time; tensors in a quicker way than that of `datasets`.
    """

    def __init__(self, path: Path, numbers: Sequence[int], as_torch: bool) -> None:
        self.table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        self.numbers, self.as_torch = numbers, as_torch

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.table.slice(self.numbers[place], 1)
        if not self.as_torch:
            return {name: values[0] for name, values in row.to_pydict().items()}
        clip = row["input_features"].chunk(0).flatten()
        features = clip.flatten().to_numpy().reshape(len(clip), -1)
        return {"input_features": torch.tensor(features), "labels": torch.tensor(row["labels"][0].values.to_numpy())}


@dataclass
class Collator:
    """Pads as the tutorial's DataCollatorSpeechSeq2SeqWithPadding does, and the script's, which is the same.

    The tutorial cuts the start token if every label begins with the tokenizer's "bos". That is the end token in today's checkpoints, so
    that nothing is cut, and the start token is doubled. Here it is cut: all sides have equal labels.
    """

    extractor: WhisperFeatureExtractor
    tokenizer: WhisperTokenizer
    start: int  # id of the start token

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = self.extractor.pad([{"input_features": row["input_features"]} for row in rows], return_tensors="pt")
        padded = self.tokenizer.pad([{"input_ids": row["labels"]} for row in rows], return_tensors="pt")
        labels = padded["input_ids"].masked_fill(padded["attention_mask"] == 0, -100)
        if (labels[:, 0] == self.start).all():
            labels = labels[:, 1:]
        return {"input_features": batch["input_features"], "labels": labels}


def tutorial_arguments(folder: Path, steps: int, warmup: int, learning_rate: float, cuda: bool, **changes: Any) -> Seq2SeqTrainingArguments:
    """Return the blog's settings, without evaluation and saving."""
    return Seq2SeqTrainingArguments(**{  # type: ignore[arg-type]
        **_quiet(folder, steps, warmup, learning_rate, cuda),
        "per_device_train_batch_size": TUTORIAL_BATCH, "gradient_accumulation_steps": 1, "gradient_checkpointing": True, "fp16": cuda,
    } | changes)  # fmt: skip


def script_arguments(
    folder: Path, steps: int, warmup: int, learning_rate: float, cuda: bool, batch: int, n_cores: int, compiled: bool
) -> Seq2SeqTrainingArguments:
    """Return the example script's fastest settings: bf16 where there is any, fused AdamW, worker processes, pinned memory."""
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    return Seq2SeqTrainingArguments(
        **_quiet(folder, steps, warmup, learning_rate, cuda),
        per_device_train_batch_size=batch, bf16=bf16, fp16=cuda and not bf16, gradient_checkpointing=False, optim="adamw_torch_fused",
        dataloader_num_workers=min(WORKERS, n_cores), dataloader_pin_memory=cuda, torch_compile=compiled,
    )  # fmt: skip


def _quiet(folder: Path, steps: int, warmup: int, learning_rate: float, cuda: bool) -> dict[str, Any]:
    return {"output_dir": str(folder), "max_steps": steps, "warmup_steps": warmup, "learning_rate": learning_rate, "use_cpu": not cuda,
            "eval_strategy": "no", "save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}  # fmt: skip


def run_trainer(
    model: Any,
    arguments: Seq2SeqTrainingArguments,
    rows: Any,
    collator: Collator,
    warm_up: int,
    window: int,
    optimizers: Any = (None, None),
) -> Trace:
    """Train and return what was noted."""
    trainer = _Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator, optimizers=optimizers)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Notes(trainer, warm_up, window))
    trainer.train()
    trainer.trace.losses = [float(loss) for loss in trainer.trace.losses]  # not before: each would make the processor wait
    return trainer.trace


class _Trainer(Seq2SeqTrainer):
    """Keeps the loss of each step, and counts how long it waits for batches."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.trace = Trace(self.args.per_device_train_batch_size)
        self.loader: _Timed
        self.loss: Any = None

    def get_train_dataloader(self) -> Any:
        self.loader = _Timed(super().get_train_dataloader())
        return self.loader

    def training_step(self, *arguments: Any, **named: Any) -> Any:
        loss = super().training_step(*arguments, **named)
        self.loss = loss.detach().clone()
        return loss


class _Timed:
    """A loader that counts the seconds in which it is waited for, the copy to the device included."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.seconds = loader, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch


class _Notes(TrainerCallback):
    """Notes the end of each step; at the edge of a window also the GPU has to be there."""

    def __init__(self, trainer: _Trainer, warm_up: int, window: int) -> None:
        self.trainer, self.warm_up, self.window = trainer, warm_up, window

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if torch.cuda.is_available() and (state.global_step - self.warm_up) % self.window == 0:
            torch.cuda.synchronize()
        self.trainer.trace.note(self.trainer.loader.seconds, self.trainer.loss)
