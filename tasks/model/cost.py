"""What a run will take, before anything heavy runs: bytes, FLOPs, memory, hours, money. Arithmetic on a model's sizes and a corpus' counts.

Neither torch nor Prefect is imported, so that `viska plan` answers at once. docs/cost.md derives the formulas and says what is measured and
what is assumed; the tests hold FLOPs and memory against torch's own counters, on the real model and the real loop.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from tasks.contracts.errors import ModelError, RecipeError
from tasks.contracts.recipe import Pretrained, Scoring, Scratch, Training

FRAMES = 100  # log-Mel frames a second
EDGE = 1.75  # frames that the transform reaches beyond a clip, on average
FLAC = 17_500  # bytes a second of 16 kHz sound; 86 kB for 4.92 s, docs/results.md
PREPARE = 8.0  # CPU-seconds an hour of sound, without start-up: (79 - 13) / 8.2, docs/results.md
START_UP = 13.0  # CPU-seconds of `viska prepare` before the first clip, the same
TEXT = 3.0  # bytes of UTF-8 a token; 2.4 to 6.0 with Whisper's tokenizer, 3.3 for Swedish
PREFIX = 4  # tokens before the words
SPECIAL = 1_608  # tokens of a new tokenizer beside its vocabulary
LONGEST = 1.5  # the longest label of a batch over the mean one
DTYPES = {"float16": 2, "float32": 4}  # bytes
KEPT = 3  # checkpoints that a training leaves at most
SLACK = 1e9  # bytes that CUDA and the allocator take for themselves; assumed
MEMORISING, UNSEEN = 20, 1  # epochs above and below which we warn
DOMINANT = 1 / 3  # share of the time that evaluation may take without a warning


@dataclass(frozen=True)
class Config:
    """The sizes of a Whisper."""

    source: str  # where they come from, for people
    width: int
    encoder_layers: int
    decoder_layers: int
    encoder_ffn: int
    decoder_ffn: int
    vocabulary: int  # with the special tokens
    n_mels: int
    positions: int  # of the encoder: half the frames of the window
    max_tokens: int
    tied: bool = True
    is_new: bool = False  # its random weights run into the longest label before they are trained


@dataclass(frozen=True)
class Counts:
    """One split."""

    n_clips: int
    hours: float
    text_bytes: int  # UTF-8, over all its texts


@dataclass(frozen=True)
class Device:
    """What a vendor says of a device, and what share of it we believe in."""

    name: str
    bf16: float  # FLOP/s, dense, with float32 sums; 0: the device has no bfloat16
    fp32: float  # FLOP/s without tensor cores and TF32
    memory: float  # bytes
    bandwidth: float  # bytes/s
    bf16_share: float = 0.3
    fp32_share: float = 0.5
    bandwidth_share: float = 0.5
    layer_seconds: float = 0.5e-3  # to start one layer of the decoder, or what is around them, for one token
    assumed: bool = True


def _gpu(name: str, bf16: float, fp32: float, memory: float, bandwidth: float) -> Device:
    return Device(name, bf16 * 1e12, fp32 * 1e12, memory * 1e9, bandwidth * 1e9)


DEVICES = {
    device.name: device
    for device in (
        _gpu("T4", 0, 8.1, 16, 320),
        _gpu("L4", 121, 30.3, 24, 300),
        _gpu("A10G", 70, 35, 24, 600),
        _gpu("A100-40", 312, 19.5, 40, 1555),
        _gpu("A100-80", 312, 19.5, 80, 2039),
        _gpu("H100", 989, 67, 80, 3350),
        _gpu("H200", 989, 67, 141, 4800),
        _gpu("RTX 3090", 71, 35.6, 24, 936),
        _gpu("RTX 4090", 165, 82.6, 24, 1008),
        Device("cpu", 0, 0.31e12, 0, 24e9, layer_seconds=0.22e-3, assumed=False),  # two cores: benchmarks/cost.py
    )
}


@dataclass(frozen=True)
class Estimate:
    """Everything `viska plan` says of what a run takes. None: it cannot be known."""

    counts: Mapping[str, Counts]
    config: Config | None
    device: Device
    training: Training
    flac_bytes: float
    feature_bytes: float | None
    recording_bytes: float | None
    prepare_seconds: float  # of one core
    epochs: float
    n_looks: int
    n_dev: int  # clips of a look
    n_parameters: int = 0
    n_trained: int = 0
    checkpoint_bytes: float = 0.0  # one, with the optimiser
    label_tokens: float = 0.0
    clip_flops: float = 0.0  # of training on one clip
    look_flops: float = 0.0  # of looking at one dev clip
    static_bytes: float = 0.0  # weights, gradients, moments
    clip_bytes: float = 0.0  # of activations a clip
    largest_batch: int | None = None  # that fits; None: the device has no memory of its own
    train_seconds: float = 0.0
    looks_seconds: float = 0.0  # all of them
    test_seconds: float = 0.0  # before and after
    price: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def n_seen(self) -> int:
        return self.training.steps * self.training.batch * self.training.accumulate

    @property
    def memory_bytes(self) -> float:
        return self.static_bytes + self.training.batch * self.clip_bytes + SLACK

    @property
    def seconds(self) -> float:
        return self.train_seconds + self.looks_seconds + self.test_seconds

    @property
    def evaluation_share(self) -> float:
        """Return the share of the seconds that are not training."""
        return (self.looks_seconds + self.test_seconds) / self.seconds if self.seconds else 0.0


OPENAI = {  # width, encoder layers, decoder layers, bins: openai/whisper, model-card.md, and the config.json of each on the Hub
    "tiny": (384, 4, 4, 80), "base": (512, 6, 6, 80), "small": (768, 12, 12, 80), "medium": (1024, 24, 24, 80),
    "large": (1280, 32, 32, 80), "large-v1": (1280, 32, 32, 80), "large-v2": (1280, 32, 32, 80), "large-v3": (1280, 32, 32, 128),
    "large-v3-turbo": (1280, 32, 4, 128),
}  # fmt: skip


def config_of(model: Pretrained | Scratch) -> Config | None:
    """Return the sizes of the recipe's model; None if they are on a Hub that cannot be reached.

    A folder is read; OpenAI's own models are known by name; of any other id only config.json is fetched.

    Raises:
        ModelError: if the Hub has no such model, or it is no Whisper.
    """
    if isinstance(model, Scratch):
        width, positions = model.width, model.window * FRAMES // 2
        return Config(
            "a new model", width, model.encoder_layers, model.decoder_layers, 4 * width, 4 * width, model.vocabulary + SPECIAL,
            model.n_mels, positions, model.max_tokens, is_new=True,
        )  # fmt: skip
    path = Path(model.name).expanduser() / "config.json"
    if path.parent.is_dir():
        if not path.is_file():
            raise ModelError(f"{path.parent}: no config.json; a checkpoint needs one")
        return _read_config(model.name, path)
    owner, _, size = model.name.partition("/whisper-")
    if owner == "openai" and size.removesuffix(".en") in OPENAI:
        width, encoder_layers, decoder_layers, n_mels = OPENAI[size.removesuffix(".en")]
        vocabulary = 51_864 if size.endswith(".en") else 51_866 if n_mels == 128 else 51_865
        return Config(model.name, width, encoder_layers, decoder_layers, 4 * width, 4 * width, vocabulary, n_mels, 1_500, 448)
    fetched = _fetch_config(model.name, model.revision)
    return _read_config(model.name, fetched) if fetched else None


def _fetch_config(name: str, revision: str) -> Path | None:
    from huggingface_hub import errors, hf_hub_download  # here: most models are no strangers of the Hub

    try:
        return Path(hf_hub_download(name, "config.json", revision=revision))
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        return None
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError, errors.HFValidationError) as error:
        raise ModelError(f"model {name!r} at {revision!r}: neither a folder here nor readable on the Hub: {error!s:.200}") from error
    except (OSError, errors.HTTPError):  # type: ignore[attr-defined]  # of whichever HTTP library the client uses
        return None


def _read_config(name: str, path: Path) -> Config:
    says = json.loads(path.read_text())
    if says.get("model_type") != "whisper":
        raise ModelError(f"{name}: model_type {says.get('model_type')!r}, expected 'whisper'")
    return Config(
        name, says["d_model"], says["encoder_layers"], says["decoder_layers"], says["encoder_ffn_dim"], says["decoder_ffn_dim"],
        says["vocab_size"], says["num_mel_bins"], says["max_source_positions"], says["max_target_positions"],
        says.get("tie_word_embeddings", True),
    )  # fmt: skip


def n_parameters(config: Config) -> tuple[int, int]:
    """Return how many weights encoder and decoder have; the output layer is the decoder's, and usually its token embedding."""
    d, attention, norm = config.width, 4 * config.width**2 + 3 * config.width, 2 * config.width  # keys have no bias
    encoder_mlp, decoder_mlp = (2 * d * ffn + ffn + d for ffn in (config.encoder_ffn, config.decoder_ffn))
    stem = 3 * config.n_mels * d + 3 * d * d + 2 * d
    encoder = stem + config.positions * d + config.encoder_layers * (attention + encoder_mlp + 2 * norm) + norm
    decoder = config.decoder_layers * (2 * attention + decoder_mlp + 3 * norm) + norm
    return encoder, decoder + (config.vocabulary * (1 if config.tied else 2) + config.max_tokens) * d


@dataclass(frozen=True)
class Flops:
    """Forward FLOPs of one clip, two to a multiplication, in the parts that a backward pass treats differently."""

    first: float  # convolution: the sound needs no gradient
    encoder: float  # matrix products of the encoder
    heard: float  # attention in the encoder
    keys: float  # what the decoder makes of the encoder's output, once a clip
    decoder: float  # matrix products of the decoder
    attended: float  # attention in the decoder

    @property
    def forward(self) -> float:
        return self.first + self.encoder + self.heard + self.keys + self.decoder + self.attended

    @property
    def encoding(self) -> float:
        return self.first + self.encoder + self.heard

    def trained(self, freeze_encoder: bool) -> float:
        """Forward and backward: two products for each, two and a half for attention, whose scores are made again."""
        decoding = 3 * self.decoder + 3.5 * self.attended
        if freeze_encoder:
            return self.encoding + 2 * self.keys + decoding
        return 2 * self.first + 3 * self.encoder + 3.5 * self.heard + 3 * self.keys + decoding


def flops(config: Config, n_tokens: float) -> Flops:
    """Return what one clip with a label of `n_tokens` inputs costs: the encoder hears the whole window, however short the clip."""
    d, n = config.width, config.positions
    return Flops(
        first=2 * 3 * config.n_mels * d * 2 * n,
        encoder=2 * n * (3 * d * d + config.encoder_layers * (4 * d * d + 2 * d * config.encoder_ffn)),
        heard=config.encoder_layers * 4 * d * n * n,
        keys=config.decoder_layers * 4 * d * d * n,
        decoder=2 * n_tokens * (config.decoder_layers * (6 * d * d + 2 * d * config.decoder_ffn) + d * config.vocabulary),
        attended=config.decoder_layers * 4 * d * (n_tokens * n_tokens + n_tokens * n),
    )


def hear_flops(config: Config, n_tokens: float) -> float:
    """Return what it costs to hear `n_tokens` with a cache: each token attends to those before it, so half of the square."""
    whole = flops(config, n_tokens)
    return whole.forward - config.decoder_layers * 2 * config.width * n_tokens * n_tokens


def activation_bytes(config: Config, n_tokens: float, freeze_encoder: bool, autocast: bool) -> float:
    """Return what the forward pass of one clip keeps for the backward pass; without gradient checkpointing.

    float32: inputs and outputs of each norm, queries, keys, values and twice their result, both sides of the MLP's GELU. Under bfloat16
    autocast the inputs of the norms stay float32, and each projection of one input casts it for itself.
    """
    d, n, size = config.width, config.positions, 2 if autocast else 4
    attention = (4 + 5 * 2 + 3 * 2 if autocast else 7 * 4) * d  # with the norm before it
    crossed = (4 + 3 * 2 + 2 if autocast else 5 * 4) * d  # of the decoder: its keys and values are counted below
    mlp = (4 + 2 if autocast else 2 * 4) * d
    encoder = size * (2 * config.n_mels + 5 * d) + config.encoder_layers * (attention + mlp + size * 2 * config.encoder_ffn) + 4 * d
    keys = config.decoder_layers * (4 + 4 if autocast else 2 * 4) * d + (0 if autocast else 4 * d)
    decoder = config.decoder_layers * (attention + crossed + mlp + size * 2 * config.decoder_ffn) + 4 * config.vocabulary
    return n * ((0 if freeze_encoder else encoder) + keys) + n_tokens * decoder


def hear_seconds(config: Config, device: Device, n_clips: int, n_tokens: float, batch: int) -> float:
    """Return how long it takes to transcribe clips of `n_tokens` each, the prefix with them, in float32.

    The encoder is arithmetic. A token is whichever is longer, its arithmetic or reading the weights and the batch's keys and values, and
    what it takes to start its layers.
    """
    encoding = n_clips * (flops(config, 0).encoding + flops(config, 0).keys) / device.fp32 / device.fp32_share
    decoder = n_parameters(config)[1] - config.max_tokens * config.width
    keys = min(batch, n_clips) * config.decoder_layers * 2 * config.width * (config.positions + n_tokens / 2)
    reading = 4 * (decoder + keys) / device.bandwidth / device.bandwidth_share
    clip = hear_flops(config, n_tokens) - flops(config, 0).encoding - flops(config, 0).keys
    counting = min(batch, n_clips) * clip / n_tokens / device.fp32 / device.fp32_share
    n_calls = ceil(n_clips / batch) * (n_tokens - PREFIX + 1)
    return encoding + n_calls * (max(reading, counting) + (config.decoder_layers + 1) * device.layer_seconds)


def need_device(name: str) -> None:
    """Refuse a device of which nothing is known; RecipeError."""
    if name not in DEVICES:
        raise RecipeError(f"device {name!r}: nothing is known of it; expected one of {', '.join(DEVICES)}")


def estimate(
    config: Config | None,
    counts: Mapping[str, Counts],
    training: Training,
    scoring: Scoring,
    *,
    device: str = "cpu",
    dtype: str = "float16",
    recording_bytes: float | None = None,
    hourly_price: float | None = None,
) -> Estimate:
    """Return what preparing, training and scoring take.

    Args:
        config: the model's sizes; None leaves out all that depends on them.
        counts: by split: train, dev and test.
        training: the recipe's section.
        scoring: the recipe's section.
        device: a name of DEVICES.
        dtype: of the stored features.
        recording_bytes: of all recordings as they come, if that is known.
        hourly_price: of the device, in any currency.

    Raises:
        RecipeError: if there is no such device, or no training clip.
    """
    need_device(device)
    if not counts["train"].n_clips:
        raise RecipeError("the train split has no clips; there is nothing to train on")
    n_clips, hours = sum(each.n_clips for each in counts.values()), sum(each.hours for each in counts.values())
    n_seen = training.steps * training.batch * training.accumulate
    of_data = Estimate(
        counts=counts,
        config=config,
        device=DEVICES[device],
        training=training,
        flac_bytes=hours * 3600 * FLAC,
        feature_bytes=(hours * 3600 * FRAMES + n_clips * EDGE) * config.n_mels * DTYPES[dtype] if config else None,
        recording_bytes=recording_bytes,
        prepare_seconds=START_UP + hours * PREPARE,
        epochs=n_seen / counts["train"].n_clips,
        n_looks=ceil(training.steps / training.evaluate_every),
        n_dev=min(training.dev_clips, counts["dev"].n_clips),
    )
    whole = _of_model(of_data, config, DEVICES[device], scoring, hourly_price) if config else of_data
    return replace(whole, warnings=tuple(_warnings(whole)))


def _of_model(data: Estimate, config: Config, device: Device, scoring: Scoring, hourly_price: float | None) -> Estimate:
    """Add what depends on the model."""
    training, autocast = data.training, device.bf16 > 0
    encoder, decoder = n_parameters(config)
    n_trained = decoder + (0 if training.freeze_encoder else encoder)
    n_words = {split: each.text_bytes / TEXT / max(1, each.n_clips) for split, each in data.counts.items()}
    n_tokens = {split: min(PREFIX + LONGEST * each, config.max_tokens - 1) for split, each in n_words.items()}  # padded to the longest

    clip_flops = flops(config, n_tokens["train"]).trained(training.freeze_encoder)
    loss = flops(config, n_tokens["dev"]).forward
    hear = hear_seconds(config, device, data.n_dev, n_tokens["dev"], training.batch)
    look = data.n_dev * loss / device.fp32 / device.fp32_share + hear
    n_test = data.counts["test"].n_clips
    before = config.max_tokens if config.is_new else n_tokens["test"]
    test = sum(hear_seconds(config, device, n_test, each, scoring.batch) for each in (before, n_tokens["test"]))
    rate = device.bf16 * device.bf16_share if autocast else device.fp32 * device.fp32_share

    static_bytes = (encoder + decoder) * (6 if autocast else 4) + n_trained * 12
    clip_bytes = activation_bytes(config, n_tokens["train"], training.freeze_encoder, autocast) + 4 * n_tokens["train"] * config.vocabulary
    of_model = replace(
        data,
        n_parameters=encoder + decoder,
        n_trained=n_trained,
        checkpoint_bytes=4 * (encoder + decoder) + 8 * n_trained,
        label_tokens=PREFIX + n_words["train"] + 1,
        clip_flops=clip_flops,
        look_flops=loss + hear_flops(config, n_tokens["dev"]),
        static_bytes=static_bytes,
        clip_bytes=clip_bytes,
        largest_batch=max(0, int((device.memory - SLACK - static_bytes) / clip_bytes)) if device.memory else None,
        train_seconds=data.n_seen * clip_flops / rate,
        looks_seconds=data.n_looks * look,
        test_seconds=test,
    )
    return replace(of_model, price=of_model.seconds / 3600 * hourly_price if hourly_price is not None else None)


def _warnings(told: Estimate) -> Iterator[str]:
    """Yield what a person should change, or know, before the run."""
    training, fits = told.training, told.largest_batch
    if told.config is None:
        yield "the model's sizes are not known here: the Hub cannot be reached. What depends on them is left out"
    if fits is not None and fits < training.batch:
        n_passes = ceil(training.batch * training.accumulate / max(1, fits))
        instead = (
            f"the largest that does is {fits}; training.accumulate {n_passes} makes a step as large" if fits else "not even one clip does"
        )
        yield f"training.batch {training.batch} does not fit {told.device.name}: {instead}"
    if told.epochs > MEMORISING:
        yield f"each clip is seen {told.epochs:,.0f} times: the model will memorise them; fewer training.steps, or more clips"
    if told.epochs < UNSEEN:
        yield f"only {told.epochs:.0%} of the training clips will be seen; more training.steps, or a larger batch"
    if training.warmup > training.steps / 2:
        yield f"the warm-up takes {training.warmup / training.steps:.0%} of the steps; lower training.warmup"
    if not told.n_dev:
        yield "there are no dev clips to choose the checkpoint on"
    if told.evaluation_share > DOMINANT:
        enough = float(f"{told.n_dev * told.train_seconds / 9 / max(told.looks_seconds, 1e-9):.2g}")  # the looks a tenth of both
        advice = f"; with training.dev_clips {enough:.0f} the looks would take a tenth" if 1 <= enough < told.n_dev else ""
        yield f"evaluation takes {told.evaluation_share:.0%} of the time{advice}"
