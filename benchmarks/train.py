"""Training speed: the Hub's Whisper tutorial and transformers' example script against viska, on the same clips, weights and labels.

    python -m benchmarks.train [--loader] [--order] [--training] [--size small] [--batch N] [--compile] [--rounds N] [--save FILE]

from the root of a checkout; all options: --help. Without --loader, --order or --training it does all three:

  --training  what a GPU is for: samples/s, MFU, memory, waiting and losses of each side, which take turns. Sides (benchmarks/baselines.py):
              tutorial, 16 clips a step, fp16, activations computed twice, lists of Python; script, the example script with its fastest
              flags; viska, `tasks.model.loop.train` as it is. Script and viska have the same batch. --compile adds both compiled.
  --loader    everything before the model: clips/s that come as padded float32 batches to the device; all batches equal
  --order     two models learn the same clips in the same order, on the CPU in float32: the tutorial's Trainer and viska's loop must give
              the same losses and weights, if they have the same optimiser

Clips are noise that goes up and down like syllables, 3 to 7 s, through viska's log-Mel and shards; texts are made-up words; weights are
random. Neither changes the speed: it depends on sizes alone. Needs torch, transformers, accelerate, pyarrow and NumPy; without `datasets`
the baselines read the same file by themselves, and without pydantic the settings are plain objects.

MFU: FLOPs that a clip needs, times samples/s, over the device's peak. What it needs is `tasks.model.cost.Flops.trained` at the mean length
of the labels: forward and backward of the whole window, once; what a side computes twice, or on padding of labels, counts for nothing.
"""

import argparse
import gc
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils.data import DataLoader
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import shift_tokens_right

from tasks.audio.log_mel import log_mel, restore
from tasks.model.batch import Batch
from tasks.model.feed import Feed
from tasks.model.loop import Moment, train
from tasks.model.optimise import freeze, learning_rate, make_optimizer
from tasks.model.order import batch_numbers
from tasks.model.tokens import END, START, label_ids, train_tokenizer
from tasks.model.whisper import Whisper, load_whisper
from tasks.shards.format import Example, Features, Shard, write_features

from . import baselines
from .baselines import TUTORIAL_BATCH, Collator, Trace

LANGUAGE = "sv"
RATE, WINDOW = 16_000, 480_000  # Hz; samples of 30 s
TOY = (64, 2, 2, 80)  # width, layers, bins: for a CPU; window and vocabulary are Whisper's
LOSS_TOLERANCE = 1e-4  # of a loss: losses of the same steps may differ by so much
WEIGHT_TOLERANCE = 0.01  # of the way that the weights went
ORDER_STEPS = 6
SMOOTH = 5  # losses a mean is taken over
ROOM = 0.75  # share of a GPU's memory that the batch is chosen for
Examples = Sequence[Example]


def _recipe() -> Any:
    """Return tasks.contracts.recipe; without pydantic something like it, which tasks.model.cost then finds too."""
    try:
        from tasks.contracts import recipe
    except ModuleNotFoundError as error:
        if error.name not in ("pydantic", "pydantic_core"):
            raise
        recipe = ModuleType("tasks.contracts.recipe")
        for name in ("Pretrained", "Scoring", "Scratch"):
            setattr(recipe, name, type(name, (SimpleNamespace,), {"revision": "main"}))
        recipe.Training = _plain_training  # type: ignore[attr-defined]
        sys.modules[recipe.__name__] = recipe
    return recipe


def _plain_training(**changes: Any) -> SimpleNamespace:
    """Return settings with the fields and defaults of tasks.contracts.recipe.Training."""
    return SimpleNamespace(**{
        "steps": 1000, "batch": 16, "accumulate": 1, "learning_rate": 0.0, "warmup": 100, "schedule": "linear", "weight_decay": 0.01,
        "clip_norm": 1.0, "freeze_encoder": False, "freeze_layers": 0,
        "lora": SimpleNamespace(rank=0, alpha=0.0, dropout=0.0, layers="attention"),
        "augment": SimpleNamespace(mask_time=0.0, mask_bins=0, speed=0.0, gain=0.0, noise=0.0, bpe_dropout=0.0, needs_sound=False),
        "keep": SimpleNamespace(timestamps=0.0, no_speech=0.0, stitched=0.0, needs_sound=False), "precision": "auto", "compile": False,
        "gradient_checkpointing": False, "out_of_memory": "stop", "evaluate_every": 200, "dev_clips": 200, "patience": 0,
        "checkpoints": SimpleNamespace(minutes=10.0, newest=2), "extend": "", "seed": 0,
    } | changes)  # fmt: skip


recipe = _recipe()
from tasks.model.cost import DEVICES, OPENAI, Config, activation_bytes, config_of, flops, n_parameters  # noqa: E402  # reads the recipe


class Clips:
    """Clips of one shard, as tasks.shards.dataset.Split gives them."""

    def __init__(self, shard: Shard, texts: list[str]) -> None:
        self.shard, self.texts, self.ids = shard, texts, shard.recordings

    def __len__(self) -> int:
        return len(self.shard)

    def __getitem__(self, number: int) -> Example:
        each = self.shard[number]
        return Example(self.ids[number], self.texts[number], each.n_samples, each.features, each.fill)


@dataclass(frozen=True)
class Bench:
    """What all sides share."""

    work: Path
    model: Path  # the folder of the checkpoint
    config: Config
    device: str
    clips: Clips
    labels: list[list[int]]
    collator: Collator
    seed: int
    rate: float  # highest learning rate

    @property
    def table(self) -> Path:
        """Return the file that the baselines read."""
        return self.work / "features.arrow"

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def n_tokens(self) -> float:
        """Return the mean length of what the decoder reads."""
        return statistics.mean(len(label) - 1 for label in self.labels)

    def order(self, n: int) -> list[int]:
        """Return the first `n` clips that viska learns."""
        settings = settings_of(self, 1, n)
        return [number for step in range(n) for number in batch_numbers(step, len(self.clips), settings)]


# What touches viska's loop and feed.


def settings_of(bench: Bench, batch: int, steps: int, **changes: Any) -> Any:
    """Return the recipe's section of training."""
    given = {"batch": batch, "steps": steps, "warmup": _warmup(steps), "learning_rate": bench.rate, "evaluate_every": steps, "dev_clips": 2}
    return recipe.Training(**(given | {"seed": bench.seed} | changes))


def our_batches(bench: Bench, whisper: Whisper, batch: int) -> Generator[Batch]:
    """Yield viska's batches, still ragged and where the feed leaves them."""
    steps = Feed(whisper, bench.clips, settings_of(bench, batch, 10**6), torch.device(bench.device)).steps(0)
    try:
        for step in steps:
            yield from step.passes
    finally:
        steps.close()


def our_training(bench: Bench, whisper: Whisper, settings: Any) -> Trace:
    """Train with viska's loop and return what was noted; it looks at two dev clips before the first step and after the last."""
    trace = Trace(settings.batch * settings.accumulate)

    def watch(moment: Moment) -> None:
        if moment.look is None:
            trace.note(moment.stalled, moment.loss)

    train(whisper, bench.clips, [bench.clips[0], bench.clips[1]], settings, lambda *_: 1.0, lambda *_: True, lambda _: None, watch)
    return trace


# The parts.


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # on several, the Trainer would share out each batch
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    cuda = torch.cuda.is_available() and not options.cpu
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; torch {torch.__version__}, transformers {transformers.__version__}, {os.cpu_count()} cores")
    if baselines.datasets is None:
        print("`datasets` is missing: the baselines read the same file through pyarrow, in the same way or a quicker one")
    if not hasattr(recipe, "Recipe"):
        print("pydantic is missing: settings are plain objects, unchecked")
    else:
        assert _names(recipe.Training().model_dump()) == _names(vars(_plain_training())), "the recipe has changed: _plain_training has not"
    wanted = {part for part in ("loader", "order", "training") if getattr(options, part)} or {"loader", "order", "training"}
    results: dict[str, Any] = {"device": name, "arguments": vars(options)}
    with tempfile.TemporaryDirectory(prefix="viska-train-") as folder:
        bench = _bench(Path(folder), options, "cuda" if cuda else "cpu")
        n_frames = sum(bench.clips.shard.n_frames) / len(bench.clips)
        print(f"{bench.config.source}: {sum(n_parameters(bench.config)) / 1e6:.0f} million weights; "
              f"{len(bench.clips)} clips of {n_frames / 100:.1f} s, "
              f"{bench.n_tokens:.1f} tokens; {flops(bench.config, bench.n_tokens).trained(False) / 1e12:.3f} TFLOP a clip")  # fmt: skip
        if "loader" in wanted:
            results["loader"] = compare_loaders(bench, options.loader_seconds, options.rounds or 3)
        if "training" in wanted:
            results["training"] = compare_training(bench, options)
        if "order" in wanted:  # last: nothing here needs the GPU
            results["order"] = compare_order(Path(folder, "order"), options)
    if options.save:
        Path(options.save).write_text(json.dumps(results, indent=1))
    sys.exit(bool(results.get("training", {}).get("failed")))


def compare_loaders(bench: Bench, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure clips/s up to padded float32 batches on the device, the sides in turn."""
    whisper = load_whisper(bench.model, LANGUAGE, "cpu")
    _check_equal(bench, whisper)
    order = bench.order(20_000)
    lists, tensors = (open_table(bench, order, as_torch) for as_torch in (False, True))

    def theirs(rows: Any, n_workers: int) -> Iterator[torch.Tensor]:
        loader = DataLoader(rows, TUTORIAL_BATCH, collate_fn=bench.collator, num_workers=n_workers, pin_memory=bench.cuda)
        return (batch["input_features"].to(bench.device, non_blocking=True) for batch in loader)

    def ours() -> Iterator[torch.Tensor]:
        return (batch.to(bench.device).features() for batch in our_batches(bench, whisper, TUTORIAL_BATCH))

    def ragged() -> Iterator[torch.Tensor]:
        return (batch.lengths for batch in our_batches(bench, whisper, TUTORIAL_BATCH))

    sides: dict[str, tuple[Callable[[], Iterator[torch.Tensor]], int]] = {  # batches that are made beforehand do not count
        "tutorial: lists": (lambda: theirs(lists, 0), 1), "tutorial: lists, 2 workers": (lambda: theirs(lists, 2), 6),
        "script: tensors": (lambda: theirs(tensors, 0), 1), "script: tensors, 2 workers": (lambda: theirs(tensors, 2), 6),
        "viska: padded on the device": (ours, 8), "viska: ragged, as it waits": (ragged, 8),
    }  # fmt: skip
    rates: dict[str, list[float]] = {side: [] for side in sides}
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker; on a busy machine threads that wait for each other would be all that is seen
    for _ in range(rounds):
        for side, (make, n_before) in sides.items():
            rates[side].append(_rate(make(), n_before, seconds, bench))
    torch.set_num_threads(n_threads)
    print(f"\nloader: clips/s in batches of {TUTORIAL_BATCH}, {rounds} rounds, one thread of torch; batches of all sides are equal")
    print(f"  {'':28}{'clips/s':>9}{'viska, padded, is times as fast':>36}{'ragged':>30}")
    padded, ragged_too = list(rates.values())[-2:]
    for side, values in rates.items():
        over = f"{_ratios(padded, values):>36}{_ratios(ragged_too, values):>30}" if not side.startswith("viska") else ""
        print(f"  {side:28}{statistics.median(values):9,.0f}{over}")
    return {"rates": rates}


def compare_training(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Train each side in turn; print speed, MFU, memory, waiting, and losses."""
    batch = options.batch or _batch(bench)
    steps, warm_up, window = (given or usual for given, usual in zip(
        (options.steps, options.warm_up, options.window), (60, 20, 10) if bench.cuda else (8, 2, 2), strict=True))  # fmt: skip
    runs: dict[str, Callable[[], Trace]] = {
        "tutorial": lambda: tutorial(bench, steps, warm_up, window),
        "script": lambda: script(bench, batch, steps, warm_up, window, False),
        "viska": lambda: viska(bench, batch, steps, False),
    }
    if options.compile:
        runs["script compiled"] = lambda: script(bench, batch, steps, warm_up, window, True)
        runs["viska compiled"] = lambda: viska(bench, batch, steps, True)
    if options.sides:
        runs = {side: run for side, run in runs.items() if side.split()[0] in options.sides.split(",")}
    traces: dict[str, list[Trace]] = {}
    failed: dict[str, str] = {}
    rounds = options.rounds or (3 if bench.cuda else 1)
    print(f"\ntraining: {steps} steps, after {warm_up} of them windows of {window}; {rounds} rounds", flush=True)
    for number in range(rounds):
        for side in [side for side in runs if side not in failed]:
            try:
                trace = _measured(runs[side], bench)
            except Exception as error:  # a machine is lent for minutes: the other sides shall be measured
                failed[side] = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
                traceback.print_exc()
                continue
            traces.setdefault(side, []).append(trace)
            print(f"  round {number + 1}, {side}: {statistics.median(trace.rates(warm_up, window)):.2f} samples/s", flush=True)
    _print_speeds(bench, traces, warm_up, window, options.peak or _peak(bench))
    _print_losses({side: each[-1] for side, each in traces.items()})
    for side, error in failed.items():
        print(f"  {side} failed: {error}")
    return {"failed": failed, "traces": {side: [vars(trace) for trace in each] for side, each in traces.items()}}


def compare_order(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Let viska and the tutorial's Trainer learn the same clips in the same order; print losses and how far apart the weights end."""
    small = argparse.Namespace(**(vars(options) | {"size": "toy", "model": "", "clips": 64, "dtype": "float32", "learning_rate": 1e-4}))
    work.mkdir()
    bench = _bench(work, small, "cpu")
    whisper = load_whisper(bench.model, LANGUAGE, "cpu")
    before = _weights(whisper.model)
    settings = settings_of(bench, TUTORIAL_BATCH, ORDER_STEPS, precision="fp32")
    ends = {"viska": (our_training(bench, whisper, settings).losses, _weights(whisper.model))}
    for side, as_ours in (("tutorial, our optimiser", True), ("tutorial as it is", False)):
        model = _model(bench)
        optimizers: Any = (None, None)
        if as_ours:
            freeze(model, settings)
            optimizer = make_optimizer(model, settings)
            optimizers = (
                optimizer,
                torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, settings) / settings.learning_rate),
            )
        trace = tutorial(bench, ORDER_STEPS, 1, 1, model=model, optimizers=optimizers, train_sampling_strategy="sequential")
        ends[side] = trace.losses, _weights(model)
    losses, weights = ends["viska"]
    went = _distance(weights, before)
    print(f"\norder: {ORDER_STEPS} steps of {TUTORIAL_BATCH} clips in one order, {before.numel() / 1e6:.1f} million weights, CPU, float32")
    told: dict[str, Any] = {}
    for side, (values, end) in ends.items():
        apart = max(abs(value / loss - 1) for value, loss in zip(values, losses, strict=True))
        away = _distance(weights, end) / went
        print(
            f"  {side:24} losses {' '.join(f'{value:.5f}' for value in values)}; apart: losses {apart:.1e}, weights {away:.1e} of their way"
        )
        told[side] = {"losses": values, "losses_apart": apart, "weights_apart": away}
    ours = told["tutorial, our optimiser"]
    told["equal"] = ours["losses_apart"] <= LOSS_TOLERANCE and ours["weights_apart"] <= WEIGHT_TOLERANCE
    verdict = "equal" if told["equal"] else "NOT EQUAL"
    print(f"  with the same optimiser {verdict}: within {LOSS_TOLERANCE:g} of the losses and {WEIGHT_TOLERANCE:g} of the weights' way")
    print("  as it is, the tutorial differs by its AdamW (betas 0.9 and 0.999, eps 1e-8, no decay), a first step at rate 0,")
    print("  and positions that it trains")
    return told


# The sides.


def tutorial(
    bench: Bench, steps: int, warm_up: int, window: int, model: Any = None, optimizers: Any = (None, None), **changes: Any
) -> Trace:
    """Train as the blog does."""
    arguments = baselines.tutorial_arguments(
        bench.work / "trainer", steps, _warmup(steps), bench.rate, bench.cuda, seed=bench.seed, **changes
    )
    rows = open_table(bench, bench.order(steps * TUTORIAL_BATCH), as_torch=False)
    return baselines.run_trainer(model or _model(bench), arguments, rows, bench.collator, warm_up, window, optimizers)


def script(bench: Bench, batch: int, steps: int, warm_up: int, window: int, compiled: bool) -> Trace:
    """Train as the example script does."""
    n_cores = len(os.sched_getaffinity(0))
    arguments = baselines.script_arguments(bench.work / "trainer", steps, _warmup(steps), bench.rate, bench.cuda, batch, n_cores, compiled)
    rows = open_table(bench, bench.order(steps * batch), as_torch=True)
    return baselines.run_trainer(_model(bench), arguments, rows, bench.collator, warm_up, window)


def viska(bench: Bench, batch: int, steps: int, compiled: bool) -> Trace:
    """Train as viska does."""
    whisper = load_whisper(bench.model, LANGUAGE, bench.device)
    return our_training(bench, whisper, settings_of(bench, batch, steps, compile=compiled))


def open_table(bench: Bench, order: list[int], as_torch: bool) -> Any:
    """Return the baselines' data set: in this order and as long, so that no epoch ends, and no worker starts, while time is taken."""
    return baselines.open_table(bench.table, order, as_torch)


def _model(bench: Bench) -> Any:
    model = WhisperForConditionalGeneration.from_pretrained(bench.model, dtype=torch.float32, attn_implementation="sdpa")
    model.config.use_cache = False  # as the blog: it does not go with activations that are computed twice
    return model


def _warmup(steps: int) -> int:
    """Return steps of rising rate; the blog has 500 of 4,000."""
    return max(1, steps // 8)


# What is made.


def _bench(work: Path, options: argparse.Namespace, device: str) -> Bench:
    random = np.random.default_rng(options.seed)
    texts = _texts(random, options.clips)
    if options.model:
        model, config = Path(options.model), config_of(recipe.Pretrained(name=options.model))
        assert config is not None
    else:
        model, config = work / "model", _config(options.size or ("small" if device == "cuda" else "toy"))
        _write_model(model, config, texts, options)
    whisper = load_whisper(model, LANGUAGE, "cpu")
    labels = [label_ids(whisper.tokenizer, whisper.prefix, text) for text in texts]
    sounds = [_sound(random) for _ in texts]
    features = [log_mel(sound, config.n_mels, WINDOW) for sound in sounds]
    rows = (Features(f"{number:06d}", len(sounds[number]), *each) for number, each in enumerate(features))
    write_features(work / "shard.arrow", rows, config.n_mels, options.dtype)
    collator = Collator(WhisperFeatureExtractor.from_pretrained(model), whisper.tokenizer, whisper.prefix[0])
    bench = Bench(
        work, model, config, device, Clips(Shard(work / "shard.arrow"), texts), labels, collator, options.seed, options.learning_rate
    )
    baselines.write_table(bench.table, (restore(*each, 2 * config.positions) for each in features), labels)
    return bench


def _config(size: str) -> Config:
    if size != "toy":
        config = config_of(recipe.Pretrained(name=f"openai/whisper-{size}"))
        assert config is not None
        return config
    toy = replace(_config("tiny"), source="a toy with Whisper's window and vocabulary")
    return replace(
        toy, width=TOY[0], encoder_layers=TOY[1], decoder_layers=TOY[2], n_mels=TOY[3], encoder_ffn=4 * TOY[0], decoder_ffn=4 * TOY[0]
    )


def _write_model(folder: Path, config: Config, texts: list[str], options: argparse.Namespace) -> None:
    """Write random weights of these sizes, with a tokenizer that uses few of the ids: the output layer is as wide as Whisper's."""
    if options.tokenizer:
        tokenizer = transformers.WhisperTokenizer.from_pretrained(options.tokenizer)
    else:
        tokenizer = train_tokenizer(texts, 2_000, LANGUAGE)
    start, end = (tokenizer.convert_tokens_to_ids(token) for token in (START, END))
    ids = {"decoder_start_token_id": start, "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    heads = max(1, config.width // 64)
    says = WhisperConfig(
        vocab_size=config.vocabulary, num_mel_bins=config.n_mels, d_model=config.width, encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers, encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=config.encoder_ffn, decoder_ffn_dim=config.decoder_ffn, max_source_positions=config.positions,
        max_target_positions=config.max_tokens, suppress_tokens=None, begin_suppress_tokens=None, **ids,
    )  # fmt: skip
    torch.manual_seed(options.seed)
    model = WhisperForConditionalGeneration(says)
    model.generation_config = GenerationConfig(
        **ids, max_length=config.max_tokens, is_multilingual=True,
        lang_to_id={f"<|{LANGUAGE}|>": tokenizer.convert_tokens_to_ids(f"<|{LANGUAGE}|>")},
        task_to_id={"transcribe": tokenizer.convert_tokens_to_ids("<|transcribe|>")},
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"), return_timestamps=False,
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.n_mels).save_pretrained(folder)


def _sound(random: np.random.Generator) -> np.ndarray:
    """Return 3 to 7 s of noise without much treble, about four syllables a second."""
    n = int(random.integers(3 * RATE, 7 * RATE))
    noise = np.convolve(random.normal(size=n), np.ones(8) / 8, "same")
    return (0.2 * noise * np.abs(np.sin(2 * np.pi * np.arange(n) / RATE * random.uniform(1.5, 2.5)))).astype(np.float32)


def _texts(random: np.random.Generator, n: int) -> list[str]:
    """Return sentences of 8 to 16 made-up words with Swedish letters."""
    begins, ends = "b d f g h k l m n p r s t v fl sk st tr".split(), "ar en et or er a ing åt älj öst ika".split()
    words = ["".join(str(random.choice(begins)) + str(random.choice(ends)) for _ in range(random.integers(1, 4))) for _ in range(500)]
    return [" ".join(random.choice(words, random.integers(8, 17))) for _ in range(n)]


# What is measured.


def _measured(run: Callable[[], Trace], bench: Bench) -> Trace:
    """Run a side from a clean start, note the most memory it took, and leave nothing behind."""
    from accelerate.state import AcceleratorState

    environment, precision = dict(os.environ), torch.backends.fp32_precision  # the Trainer sets TF32 when it compiles
    try:
        if bench.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        trace = run()
        trace.memory = torch.cuda.max_memory_allocated() if bench.cuda else _highest()
        return trace
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ.clear()
        os.environ.update(environment)
        torch.backends.fp32_precision = precision
        torch._dynamo.reset()
        gc.collect()
        if bench.cuda:
            torch.cuda.empty_cache()


def _highest() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _rate(batches: Iterator[torch.Tensor], n_before: int, seconds: float, bench: Bench) -> float:
    """Return clips/s over so many seconds, and three batches at least, after the first batches."""
    for _ in range(n_before):
        next(batches)
    _wait(bench)
    began, n = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or n < 3 * TUTORIAL_BATCH:
        n += len(next(batches))
    _wait(bench)
    rate = n / (time.perf_counter() - began)
    batches.close()  # type: ignore[attr-defined]
    return rate


def _wait(bench: Bench) -> None:
    if bench.cuda:
        torch.cuda.synchronize()


def _check_equal(bench: Bench, whisper: Whisper) -> None:
    """Refuse to compare what differs: features, the decoder's input and labels of the first batches."""
    ours = our_batches(bench, whisper, TUTORIAL_BATCH)
    order = bench.order(3 * TUTORIAL_BATCH)
    for as_torch in (False, True):
        rows = open_table(bench, order, as_torch)
        for theirs in DataLoader(rows, TUTORIAL_BATCH, collate_fn=bench.collator):
            batch = next(ours).to(bench.device)
            features = theirs["input_features"]
            kept = features.half().float() if bench.clips.shard.dtype == np.float16 else features
            length = theirs["labels"].shape[1]  # on a GPU ours may be longer: ignored labels behind the end
            pad, start = whisper.tokenizer.pad_token_id, bench.collator.start
            assert torch.equal(batch.features().cpu(), kept), "features differ"
            assert torch.equal(batch.labels.cpu()[:, :length], theirs["labels"]), "labels differ"
            assert (batch.labels[:, length:] == -100).all(), "there are labels behind the end"
            assert torch.equal(batch.inputs.cpu()[:, :length], shift_tokens_right(theirs["labels"], pad, start)), "decoder inputs differ"
        ours.close()
        ours = our_batches(bench, whisper, TUTORIAL_BATCH)
    ours.close()


def _batch(bench: Bench) -> int:
    """Return a batch that should fit: 64 or a smaller power of two; 4 on a CPU."""
    if not bench.cuda:
        return 4
    room = ROOM * torch.cuda.get_device_properties(0).total_memory - 18 * sum(n_parameters(bench.config))
    clip = activation_bytes(bench.config, 1.5 * bench.n_tokens, False, True) + 8 * bench.n_tokens * bench.config.vocabulary
    return next((size for size in (64, 32, 16, 8, 4, 2) if size * clip <= room), 1)


def _peak(bench: Bench) -> float:
    """Return the device's FLOP/s by its name, 0 if that is not known."""
    words = torch.cuda.get_device_name().replace("-", " ").split() if bench.cuda else ["cpu"]
    return next((each.bf16 or each.fp16 or each.fp32 for name, each in DEVICES.items() if name.split("-")[0].split()[-1] in words), 0.0)


def _weights(model: Any) -> torch.Tensor:
    return torch.cat([each.detach().flatten().clone() for each in model.parameters()])


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(one - other))


def _names(values: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of nested settings with their defaults; what is only derived is left out."""
    nested = {name: vars(value) if isinstance(value, SimpleNamespace) else value for name, value in values.items()}
    return {name: _names(value) if isinstance(value, dict) else value for name, value in nested.items() if name != "needs_sound"}


# What is printed.


def _ratios(ours: list[float], theirs: list[float]) -> str:
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return f"{statistics.median(ratios):,.3g} ({min(ratios):,.3g} to {max(ratios):,.3g})"


def _print_speeds(bench: Bench, traces: dict[str, list[Trace]], warm_up: int, window: int, peak: float) -> None:
    clip = flops(bench.config, bench.n_tokens).trained(False)
    first = traces.get("tutorial")
    print(f"  {'side':16} batch  samples/s (windows)           over the tutorial      MFU   memory, GB  waiting")
    for side, each in traces.items():
        rates = [rate for trace in each for rate in trace.rates(warm_up, window)]
        ratios = [statistics.median(mine.rates(warm_up, window)) / statistics.median(other.rates(warm_up, window))
                  for mine, other in zip(each, first or [], strict=False)]  # fmt: skip
        over = f"{statistics.median(ratios):6.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        speed = f"{statistics.median(rates):8.2f} ({min(rates):.2f} to {max(rates):.2f})"
        mfu = f"{statistics.median(rates) * clip / peak:.1%}" if peak else "?"
        memory, waiting = max(trace.memory for trace in each) / 1e9, statistics.median(trace.stall_share(warm_up) for trace in each)
        print(f"  {side:16} {each[0].batch:5} {speed:29} {over:22} {mfu:>6} {memory:11.1f} {waiting:9.1%}")
    memory_is = "what torch allocated" if bench.cuda else "the process', files that it maps included"
    print(f"  MFU of {peak / 1e12:.3g} TFLOP/s; memory is {memory_is}; waiting: of the loop's time, for batches")


def _print_losses(traces: dict[str, Trace]) -> None:
    if not traces:
        return
    n = min(len(trace.losses) for trace in traces.values())
    smooth = min(SMOOTH, max(1, n // 4))
    print(f"  losses, means of {smooth} steps, same rate and weights; a side with a larger batch sees more clips a step")
    print("  step  " + "".join(f"{side:>17}" for side in traces))
    for step in sorted({smooth, *(n * part // 5 for part in range(1, 6))}):
        if step >= smooth:
            print(f"  {step:4}  " + "".join(f"{statistics.mean(trace.losses[step - smooth : step]):17.3f}" for trace in traces.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--loader", action="store_true", help="compare what comes before the model")
    parser.add_argument("--order", action="store_true", help="compare losses and weights, clips in the same order")
    parser.add_argument("--training", action="store_true", help="compare whole trainings")
    parser.add_argument("--size", choices=("toy", *OPENAI), default="", help="of the model; default small on a GPU, toy on a CPU")
    parser.add_argument("--model", default="", help="a checkpoint in a folder instead")
    parser.add_argument("--tokenizer", default="", help="a folder with one; default: a small one is trained")
    parser.add_argument("--clips", type=int, default=512, help="clips made; default 512")
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of viska's shards; default float16")
    parser.add_argument("--batch", type=int, default=0, help="of script and viska; default: up to 64, as many as should fit; 4 on a CPU")
    parser.add_argument("--compile", action="store_true", help="measure script and viska also with torch.compile")
    parser.add_argument("--sides", default="", help="only these, with commas between: tutorial,script,viska")
    parser.add_argument("--rounds", type=int, default=0, help="default 3; 1 for training on a CPU")
    parser.add_argument("--steps", type=int, default=0, help="of each training; default 60, 8 on a CPU")
    parser.add_argument("--warm-up", type=int, default=0, help="steps that do not count; default 20, 2 on a CPU")
    parser.add_argument("--window", type=int, default=0, help="steps that a rate is taken over; default 10, 2 on a CPU")
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="of all sides; default the tutorial's 1e-5")
    parser.add_argument("--loader-seconds", type=float, default=3.0, help="that each loader is measured for; default 3")
    parser.add_argument("--peak", type=float, default=0.0, help="FLOP/s of the device, if its name does not tell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", action="store_true", help="use no GPU")
    parser.add_argument("--save", default="", help="write all figures into this JSON file")
    return parser.parse_args()


if __name__ == "__main__":
    main(_options())
