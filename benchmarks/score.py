"""Scoring speed: the Hub's Whisper tutorial against viska, on the same model and clips. They must hear the same, or it stops.

    python -m benchmarks.score [--data FOLDER] [--model FOLDER | --size tiny] [--ctranslate float32,int8] [--save FILE]

from the root of a checkout; all options: --help. Sides, which take turns:

    tutorial           `Seq2SeqTrainer.evaluate` as https://huggingface.co/blog/fine-tune-whisper calls it: 8 clips at once,
                       predict_with_generate, generation_max_length 225, fp16 on a GPU, its collator, its compute_metrics; lists of Python
    tutorial, tensors  the same, but the features come as tensors, which most people do not think of
    viska              `tasks.model.generate.hear_all` and the same WER
    viska, CTRANSLATE  `tasks.model.ctranslate` with these weights, if asked for; integers may hear something else, and how much is printed

Clips: recordings of digits of the test split in --data (VISKA_REAL_DATA), one to four of a speaker in a row, and the small model beside
them, which really transcribes. With --size: random weights of a Whisper's layers and window, and noise of 2 to 8 s. Random weights never
end, so hooks let each clip end after as many tokens as a text of 2.5 words a second has. The tutorial may say 225 tokens and viska as many
as the model can: nobody comes near, which is checked. Features are made beforehand. The Trainer also computes a loss, in a second pass,
which viska's scoring does not.

One thread and its own seconds on a CPU, so that other work counts little; by the clock on a GPU. Medians over the rounds; one before does
not count.
"""

import argparse
import csv
import json
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
import transformers
from transformers import PrinterCallback, Seq2SeqTrainer, Seq2SeqTrainingArguments, WhisperFeatureExtractor

from tasks.audio.decode import decode
from tasks.audio.log_mel import log_mel, restore
from tasks.audio.resample import resample
from tasks.model.ctranslate import convert, hear_ctranslate, open_engine
from tasks.model.generate import Heard, hear_all, longest_first, pad_features
from tasks.model.tokens import label_ids
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example

from . import baselines
from . import look as random_weights

MODEL, DIGITS = "whisper-digits-from-scratch", "fsdd-english-digits"
BATCH, LONGEST = 8, 225  # the tutorial's clips at once, and its tokens
PAUSE = 1_600  # samples between two digits
Texts = list[str]


def main(options: argparse.Namespace) -> None:
    """Measure, compare what was heard, and print."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="viska-score-") as folder:
        whisper, clips, model = _steered(options) if options.size else _real(options)
        sides = _sides(Path(folder), whisper, clips, model, options)
        heard = {side: run() for side, run in sides.items()}
        apart = {side: _compare(side, heard["viska"], texts, options.device) for side, texts in heard.items()}
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(options.rounds):
            for side, run in sides.items():
                seconds[side].append(_seconds(run, options.device))
    n_words = statistics.mean(len(text.split()) for text in heard["viska"])
    print(f"{model or 'whisper-' + options.size}, {options.device}, torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{len(clips)} clips of {statistics.mean(each.n_samples for each in clips) / 16_000:.1f} s, {n_words:.1f} words; viska's batch: "
          f"{options.batch}; {options.rounds} rounds, {options.threads} thread(s), WER {_wer(clips, heard['viska']):.1%}")  # fmt: skip
    for side, values in seconds.items():
        ratios = [one / other for one, other in zip(seconds["tutorial"], values, strict=True)]
        told = f"{statistics.median(ratios):5.2f} to 1 ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"  {side:20} {statistics.median(values):7.2f} s  {told}  WER between it and viska {apart[side]:.2%}")
    if options.save:
        told_all = {"arguments": vars(options), "seconds": seconds, "apart": apart}
        Path(options.save).write_text(json.dumps(told_all, indent=1, default=str))


def _sides(
    work: Path, whisper: Whisper, clips: list[Example], model: Path | None, options: argparse.Namespace
) -> dict[str, Callable[[], Texts]]:
    """Return what is measured: each scores all clips and returns their texts."""
    labels = [label_ids(whisper.tokenizer, whisper.prefix, each.text) for each in clips]
    table = work / "features.arrow"
    baselines.write_table(table, (restore(each.features.astype(np.float32), each.fill, whisper.shape.n_frames) for each in clips), labels)
    sides = {
        "tutorial": _tutorial(work, whisper, baselines.open_table(table, range(len(clips)), False), options.device == "cuda"),
        "tutorial, tensors": _tutorial(work, whisper, baselines.open_table(table, range(len(clips)), True), options.device == "cuda"),
        "viska": lambda: _ours(clips, hear_all(whisper, clips, options.batch)),
    }
    for quantisation in filter(None, options.ctranslate.split(",")):
        if model is None:
            raise SystemExit("--ctranslate: hooks cannot end what CTranslate2 says; choose a model that ends by itself")
        engine = open_engine(convert(model, work / quantisation, quantisation), whisper)
        sides[f"viska, {quantisation}"] = lambda engine=engine: _ours(clips, _hear_all(engine, clips, options.batch))  # type: ignore[misc]
    return sides


def _tutorial(work: Path, whisper: Whisper, rows: Any, cuda: bool) -> Callable[[], Texts]:
    """Return an evaluation as the blog sets it up."""
    tokenizer, texts = whisper.tokenizer, []

    def compute_metrics(predicted: Any) -> dict[str, float]:
        said, labels = (np.where(ids == -100, tokenizer.pad_token_id, ids) for ids in (predicted.predictions, predicted.label_ids))
        texts[:] = tokenizer.batch_decode(said, skip_special_tokens=True)
        return {"wer": 100 * jiwer.wer(tokenizer.batch_decode(labels, skip_special_tokens=True), texts)}

    arguments = Seq2SeqTrainingArguments(
        output_dir=str(work / "trainer"), per_device_eval_batch_size=BATCH, predict_with_generate=True, generation_max_length=LONGEST,
        fp16=cuda, use_cpu=not cuda, report_to="none", disable_tqdm=True,
    )  # fmt: skip
    extractor = WhisperFeatureExtractor(whisper.shape.n_mels, chunk_length=whisper.shape.n_frames // 100)
    trainer = Seq2SeqTrainer(
        model=whisper.model, args=arguments, eval_dataset=rows, compute_metrics=compute_metrics, processing_class=tokenizer,
        data_collator=baselines.Collator(extractor, tokenizer, whisper.prefix[0]),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)

    def run() -> Texts:
        trainer.evaluate()
        return [text.strip() for text in texts]

    return run


def _ours(clips: list[Example], hearing: Iterator[tuple[int, Heard]]) -> Texts:
    heard = dict(hearing)
    if capped := [clips[number].id for number, each in heard.items() if each.capped or each.n_tokens > LONGEST // 2]:
        raise SystemExit(f"{len(capped)} clips come near the longest text, for example {capped[0]}: the sides would end it differently")
    texts = [heard[number].text for number in range(len(clips))]
    assert any(texts), "nothing was heard at all, so that equal texts would say nothing"
    _wer(clips, texts)
    return texts


def _hear_all(engine: Any, clips: list[Example], batch: int) -> Iterator[tuple[int, Heard]]:
    for numbers in longest_first(clips, batch):
        features = pad_features([clips[number] for number in numbers], engine.whisper.shape.n_frames)
        yield from zip(numbers, hear_ctranslate(engine, features), strict=True)


def _real(options: argparse.Namespace) -> tuple[Whisper, list[Example], Path]:
    """Return the model and clips of one to four recordings of a speaker that fit its window."""
    folder = Path(options.model or options.data / MODEL)
    whisper, random = load_whisper(folder, "en", options.device), np.random.default_rng(0)
    spoken: dict[str, list[tuple[str, np.ndarray]]] = {}
    with (options.data / DIGITS / "manifest.csv").open() as file:
        for row in (row for row in csv.DictReader(file) if row["split"] == "test"):
            sound = resample(*decode((options.data / DIGITS / row["path"]).read_bytes(), 30))
            spoken.setdefault(row["speaker"], []).append((row["text"], np.pad(sound, (0, PAUSE))))
    clips: list[Example] = []
    while len(clips) < options.clips:
        theirs = spoken[str(random.choice(sorted(spoken)))]
        chosen = [theirs[each] for each in random.integers(len(theirs), size=random.integers(1, 5))]
        sound = np.concatenate([each for _, each in chosen])
        if sound.size <= whisper.shape.window:
            features = log_mel(sound, whisper.shape.n_mels, whisper.shape.window)
            clips.append(Example(str(len(clips)), " ".join(text for text, _ in chosen), sound.size, *features))
    return whisper, clips, folder


def _steered(options: argparse.Namespace) -> tuple[Whisper, list[Example], None]:
    """Return random weights and noise of `benchmarks.look`, and let each clip end after as many tokens as its label has."""
    whisper, clips = random_weights._whisper(options.size, 448, options.device), random_weights._clips(options.clips)
    _end_after(whisper, [len(label_ids(whisper.tokenizer, whisper.prefix, each.text)) - len(whisper.prefix) for each in clips])
    ids = {name: whisper.tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("sv", "transcribe", "notimestamps")}
    said = {"is_multilingual": True, "lang_to_id": {"<|sv|>": ids["sv"]}, "task_to_id": {"transcribe": ids["transcribe"]}, "language": "sv",
            "task": "transcribe", "no_timestamps_token_id": ids["notimestamps"], "return_timestamps": False, "begin_suppress_tokens": None,
            "decoder_start_token_id": whisper.prefix[0]}  # fmt: skip
    for name, value in said.items():
        setattr(whisper.model.generation_config, name, value)
    whisper.model.config.decoder_start_token_id = whisper.prefix[0]
    return whisper, clips, None


def _end_after(whisper: Whisper, lengths: list[int]) -> None:
    """Let each clip end after so many tokens, whoever decodes; its number is the first value of its features, and then of its states."""
    state: dict[str, Any] = {}
    ends = torch.tensor(lengths, device=whisper.model.device)

    def number(_encoder: Any, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        output[0][:, 0, 0] = (inputs[0] if inputs else named["input_features"])[:, 0, 0].to(output[0].dtype)

    def count(_decoder: Any, _inputs: Any, named: dict[str, Any]) -> None:
        known, n_inputs = named.get("past_key_values"), named["input_ids"].shape[1]
        state["numbers"] = named["encoder_hidden_states"][:, 0, 0].round().long()
        state["n_said"] = int(known.get_seq_length()) + n_inputs - len(whisper.prefix) + 1 if known is not None else 0  # 0: for the loss

    def end(_layer: Any, _inputs: Any, scores: torch.Tensor) -> None:
        if state["n_said"] > 0:
            over = ends[state["numbers"]] <= state["n_said"]
            scores[:, -1, whisper.tokenizer.eos_token_id :] = -1e4  # what this tokenizer knows comes before: else all texts would be empty
            scores[:, -1, whisper.tokenizer.eos_token_id] = torch.where(over, 1e4, -1e4).to(scores.dtype)

    whisper.model.model.encoder.register_forward_hook(number, with_kwargs=True)
    whisper.model.model.decoder.register_forward_pre_hook(count, with_kwargs=True)
    whisper.model.proj_out.register_forward_hook(end)


def _compare(side: str, ours: Texts, theirs: Texts, device: str) -> float:
    """Return the WER between two sides; only integers may hear something else."""
    apart = sum(one != other for one, other in zip(ours, theirs, strict=True))
    if apart and "int8" not in side:
        raise SystemExit(f"{side} hears {apart} of {len(ours)} clips otherwise than viska on {device}: nothing to compare")
    return float(jiwer.wer([one or "-" for one in ours], [other or "-" for other in theirs]))


def _wer(clips: list[Example], texts: Texts) -> float:
    return float(jiwer.wer([each.text for each in clips], texts))


def _seconds(run: Callable[[], Any], device: str) -> float:
    clock = time.perf_counter if device == "cuda" else time.process_time
    began = clock()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("VISKA_REAL_DATA", "../shared/data")))
    parser.add_argument("--model", default="", help=f"a checkpoint in a folder; default {MODEL} in --data")
    parser.add_argument("--size", default="", choices=("", *random_weights.OPENAI), help="random weights of this size instead")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32, help="of viska")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ctranslate", default="", help="also the engine ctranslate2 with these weights, with commas between")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--save", default="", help="write all figures into this JSON file")
    main(parser.parse_args())
