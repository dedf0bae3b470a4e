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
WIDER = 8  # times the clips of a training's pass in one of a look, as in tasks/model/look.py
LONGER, MORE = 1.5, 8  # what may be said in a look, as in tasks/model/look.py: times the longest label, and tokens on top
DTYPES = {"float16": 2, "float32": 4}  # bytes
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
    fp16: float  # the same of float16; 0: we do not train with it there
    fp32: float  # FLOP/s without tensor cores and TF32
    memory: float  # bytes
    bandwidth: float  # bytes/s
    half_share: float = 0.3  # of bf16 and fp16
    fp32_share: float = 0.5
    bandwidth_share: float = 0.5
    layer_seconds: float = 0.5e-3  # to start one layer of the decoder, or what is around them, for one token
    assumed: bool = True


def _gpu(name: str, half: float, fp32: float, memory: float, bandwidth: float, has_bf16: bool = True) -> Device:
    return Device(name, half * 1e12 * has_bf16, half * 1e12, fp32 * 1e12, memory * 1e9, bandwidth * 1e9)


DEVICES = {
    device.name: device
    for device in (
        _gpu("T4", 65, 8.1, 16, 320, has_bf16=False),
        _gpu("L4", 121, 30.3, 24, 300),
        _gpu("A10G", 70, 35, 24, 600),
        _gpu("A100-40", 312, 19.5, 40, 1555),
        _gpu("A100-80", 312, 19.5, 80, 2039),
        _gpu("H100", 989, 67, 80, 3350),
        _gpu("H200", 989, 67, 141, 4800),
        _gpu("RTX 3090", 71, 35.6, 24, 936),
        _gpu("RTX 4090", 165, 82.6, 24, 1008),
        Device("cpu", 0, 0, 0.31e12, 0, 24e9, layer_seconds=0.22e-3, assumed=False),  # two cores: benchmarks/cost.py
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
    n_parameters: int = 0  # of the model, without LoRA's
    n_trained: int = 0
    checkpoint_bytes: float = 0.0  # one, with the optimiser
    label_tokens: float = 0.0
    clip_flops: float = 0.0  # of training on one clip
    again_flops: float = 0.0  # on top, of gradient checkpointing
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
    def kind(self) -> str:
        """Return the type of the arithmetic in training and looks."""
        return kind_of(self.device, self.training.precision)

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


def n_trained(config: Config, training: Training) -> int:
    """Return how many weights are trained, as tasks/model/optimise.py and lora.py choose them: with LoRA its own, whatever is frozen."""
    if training.lora.rank:
        encoder, decoder, sound = _beside(config, training.lora.layers)
        return training.lora.rank * (config.encoder_layers * encoder + config.decoder_layers * (decoder + sound))
    encoder, decoder = n_parameters(config)
    if training.freeze_encoder:
        return decoder
    if training.freeze_layers:  # an encoder of so many layers, but for its last norm
        return encoder + decoder - n_parameters(replace(config, encoder_layers=training.freeze_layers))[0] + 2 * config.width
    return encoder + decoder - config.positions * config.width


def _beside(config: Config, layers: str) -> tuple[int, int, int]:
    """Return inputs and outputs, added up, of the matrices that LoRA stands beside.

    Of one layer of the encoder, and of one of the decoder those that read tokens, and those that read the sound.
    """
    square = 2 * config.width
    if layers == "attention":
        return 2 * square, 3 * square, square
    encoder_mlp, decoder_mlp = (2 * (config.width + ffn) for ffn in (config.encoder_ffn, config.decoder_ffn))
    return 4 * square + encoder_mlp, 6 * square + decoder_mlp, 2 * square


@dataclass(frozen=True)
class Flops:
    """Forward FLOPs of one clip, two to a multiplication, in the parts that a backward pass treats differently."""

    first: float  # convolution: the sound needs no gradient
    second: float  # convolution
    encoder: float  # matrix products of the encoder's layers
    heard: float  # attention in the encoder
    keys: float  # what the decoder makes of the encoder's output, once a clip
    decoder: float  # matrix products of the decoder
    attended: float  # attention in the decoder
    n_layers: int  # of the encoder

    @property
    def forward(self) -> float:
        return self.encoding + self.keys + self.decoder + self.attended

    @property
    def encoding(self) -> float:
        return self.first + self.second + self.encoder + self.heard

    def trained(self, freeze_encoder: bool, freeze_layers: int = 0) -> float:
        """Forward and backward: two products for each, two and a half for attention, whose scores are made again."""
        decoding = 3 * self.decoder + 3.5 * self.attended
        if freeze_encoder:
            return self.encoding + 2 * self.keys + decoding
        if not freeze_layers:
            return 2 * self.first + 3 * self.second + 3 * self.encoder + 3.5 * self.heard + 3 * self.keys + decoding
        moved = 1 - freeze_layers / self.n_layers
        return self.encoding + moved * (2 * self.encoder + 2.5 * self.heard) + 3 * self.keys + decoding


def flops(config: Config, n_tokens: float) -> Flops:
    """Return what one clip with a label of `n_tokens` inputs costs: the encoder hears the whole window, however short the clip."""
    d, n = config.width, config.positions
    return Flops(
        first=2 * 3 * config.n_mels * d * 2 * n,
        second=2 * n * 3 * d * d,
        encoder=2 * n * config.encoder_layers * (4 * d * d + 2 * d * config.encoder_ffn),
        heard=config.encoder_layers * 4 * d * n * n,
        keys=config.decoder_layers * 4 * d * d * n,
        decoder=2 * n_tokens * (config.decoder_layers * (6 * d * d + 2 * d * config.decoder_ffn) + d * config.vocabulary),
        attended=config.decoder_layers * 4 * d * (n_tokens * n_tokens + n_tokens * n),
        n_layers=config.encoder_layers,
    )


def train_flops(config: Config, n_tokens: float, training: Training) -> float:
    """Return what it takes to train on one clip, without what gradient checkpointing does again."""
    whole = flops(config, n_tokens)
    return _lora_flops(config, n_tokens, training) if training.lora.rank else whole.trained(training.freeze_encoder, training.freeze_layers)


def _lora_flops(config: Config, n_tokens: float, training: Training) -> float:
    """Forward and backward with LoRA: frozen matrices pass the gradient on and have none; below the first layers nothing needs one."""
    whole, d, rank = flops(config, n_tokens), config.width, training.lora.rank
    products = 2 * (whole.encoder + whole.keys + whole.decoder) + 3.5 * (whole.heard + whole.attended)
    n_entering, n_beside = config.positions + n_tokens, 2 if training.lora.layers == "attention" else 3
    entry = 2 * n_entering * (3 * d * d + n_beside * d * rank)
    return whole.first + whole.second + products - entry + 3 * _beside_flops(config, n_tokens, training)


def _beside_flops(config: Config, n_tokens: float, training: Training) -> float:
    """Forward through LoRA's own matrices."""
    encoder, decoder, sound = _beside(config, training.lora.layers)
    heard = config.encoder_layers * encoder + config.decoder_layers * sound
    return 2 * training.lora.rank * (config.positions * heard + n_tokens * config.decoder_layers * decoder)


def again_flops(config: Config, n_tokens: float, training: Training) -> float:
    """Return what gradient checkpointing does again on one clip: the forward pass of each layer that is trained.

    It stops where it has all that the backward pass reads, before the last product of a layer; with LoRA beside that one, behind it.
    """
    whole, rank = flops(config, n_tokens), training.lora.rank
    n_layers = config.encoder_layers - _n_frozen(config, training)
    last = 0 if rank and training.lora.layers == "all" else 2 * config.width
    encoder = n_layers / config.encoder_layers * (whole.encoder + whole.heard) - n_layers * last * config.positions * config.encoder_ffn
    output = 2 * n_tokens * config.width * config.vocabulary
    decoder = whole.keys + whole.decoder + whole.attended - output - config.decoder_layers * last * n_tokens * config.decoder_ffn
    return encoder + decoder + (_beside_flops(config, n_tokens, training) if rank else 0)


def _n_frozen(config: Config, training: Training) -> int:
    """Return how many encoder layers have no backward pass."""
    if training.lora.rank:
        return 0
    return config.encoder_layers if training.freeze_encoder else training.freeze_layers


def hear_flops(config: Config, n_tokens: float) -> float:
    """Return what it costs to hear `n_tokens` with a cache: each token attends to those before it, so half of the square.

    Of the prefix only the first and the last are asked what comes next.
    """
    unasked = 2 * (PREFIX - 2) * config.width * config.vocabulary
    return flops(config, n_tokens).forward - config.decoder_layers * 2 * config.width * n_tokens * n_tokens - unasked


def look_flops(config: Config, n_tokens: float) -> float:
    """Return what it costs to look at one clip: the decoder reads its label and says up to the cap, of a sound that is heard once."""
    whole = flops(config, n_tokens)
    return whole.forward + hear_flops(config, capped(config, n_tokens)) - whole.encoding - whole.keys


def capped(config: Config, n_tokens: float) -> float:
    """Return the most inputs that hearing has in a look at labels of `n_tokens` inputs; one that talks on takes its batch that far."""
    return min(PREFIX + LONGER * (n_tokens - PREFIX + 1) + MORE - 1, config.max_tokens - 1)


def activation_bytes(
    config: Config, n_tokens: float, freeze_encoder: bool, autocast: bool, *, freeze_layers: int = 0, rank: int = 0,
    layers: str = "attention", gradient_checkpointing: bool = False,
) -> float:  # fmt: skip
    """Return what the forward pass of one clip keeps for the backward pass.

    With gradient checkpointing that is the input of each layer; one layer's activations come on top, when it is computed again.
    """
    d, n, size, n_moved = config.width, config.positions, 2 if autocast else 4, config.encoder_layers
    if not rank:
        n_moved -= config.encoder_layers if freeze_encoder else freeze_layers
    encoder, decoder, keys = _layer_bytes(config, autocast, rank, layers)
    stem = 0 if rank or freeze_encoder or freeze_layers else size * (2 * config.n_mels + 5 * d)
    norm = 4 * d if rank or not freeze_encoder else 0  # the last one of the encoder
    ends = n * (stem + norm) + n_tokens * (4 * config.vocabulary + 4 * d + (0 if rank else size * d))
    if gradient_checkpointing:
        inputs = n * (n_moved + 1) * 4 * d + n_tokens * config.decoder_layers * 4 * d  # and the sound, which all of the decoder reads
        return ends + inputs + max(n * encoder if n_moved else 0, n_tokens * decoder + n * keys)
    sound = config.decoder_layers * keys + (0 if autocast else 4 * d)
    unread = (n + n_tokens) * 4 * d if rank else 0  # the inputs of the first norms need no gradient
    return ends + n * (n_moved * encoder + sound) + n_tokens * config.decoder_layers * decoder - unread


def _layer_bytes(config: Config, autocast: bool, rank: int, layers: str) -> tuple[float, float, float]:
    """Return what one layer keeps: the encoder's a position, the decoder's a token, and the decoder's a position of the sound.

    float32: inputs and outputs of each norm, queries, keys, values and twice their result, both sides of the MLP's GELU. Under autocast the
    inputs of the norms stay float32, and each projection of one input casts it for itself. A frozen matrix keeps no input; LoRA beside it
    does, and what is between its two.
    """
    d, size, sides, pairs = config.width, 2 if autocast else 4, 2, (6, 8, 2)
    attention = (4 + 5 * 2 + 3 * 2 if autocast else 7 * 4) * d  # with the norm before it
    crossed = (4 + 3 * 2 + 2 if autocast else 5 * 4) * d  # of the decoder: its keys and values come last
    mlp = (4 + 2 if autocast else 2 * 4) * d
    keys = (4 + 4 if autocast else 2 * 4) * d
    if rank and layers == "attention":  # without the inputs of keys, of the last product of an attention, and of both of the MLP
        sides, pairs = 1, (2, 3, 1)
        attention, crossed, mlp, keys = attention - 4 * d, crossed - size * d, 4 * d, (4 + 2 if autocast else 2 * 4) * d
    encoder, decoder, sound = (size * rank * n_pairs for n_pairs in pairs)
    encoder += attention + mlp + size * sides * config.encoder_ffn
    return encoder, decoder + attention + crossed + mlp + size * sides * config.decoder_ffn, sound + keys


def hear_seconds(config: Config, device: Device, n_clips: int, n_tokens: float, batch: int) -> float:
    """Return how long it takes to transcribe clips of `n_tokens` each, the prefix with them, in float32."""
    encoding = n_clips * (flops(config, 0).encoding + flops(config, 0).keys) / _rate(device, autocast=False)
    return encoding + _say_seconds(config, device, n_clips, n_tokens, batch, autocast=False)


def look_seconds(config: Config, device: Device, n_clips: int, n_tokens: float, batch: int, autocast: bool) -> float:
    """Return how long it takes to look at clips with labels of `n_tokens` inputs, in the precision of the training."""
    reading = n_clips * flops(config, n_tokens).forward / _rate(device, autocast)
    return reading + _say_seconds(config, device, n_clips, capped(config, n_tokens), batch, autocast)


def _say_seconds(config: Config, device: Device, n_clips: int, n_tokens: float, batch: int, autocast: bool) -> float:
    """Return how long the decoder takes to say `n_tokens` a clip, when the sound is encoded.

    A token is whichever is longer, its arithmetic or reading the weights and the batch's keys and values, and what it takes to start its
    layers.
    """
    decoder = n_parameters(config)[1] - config.max_tokens * config.width
    keys = min(batch, n_clips) * config.decoder_layers * 2 * config.width * (config.positions + n_tokens / 2)
    reading = (2 if autocast else 4) * (decoder + keys) / device.bandwidth / device.bandwidth_share
    clip = hear_flops(config, n_tokens) - flops(config, 0).encoding - flops(config, 0).keys
    counting = min(batch, n_clips) * clip / n_tokens / _rate(device, autocast)
    n_calls = ceil(n_clips / batch) * (n_tokens - PREFIX + 1)
    return n_calls * (max(reading, counting) + (config.decoder_layers + 1) * device.layer_seconds)


def _rate(device: Device, autocast: bool) -> float:
    """Return the FLOP/s that we believe in."""
    half = device.bf16 or device.fp16 if autocast else 0.0
    return half * device.half_share or device.fp32 * device.fp32_share


def kind_of(device: Device, precision: str) -> str:
    """Return the type of a training's arithmetic on this device, as tasks/model/optimise.py chooses it."""
    usual = "bfloat16" if device.bf16 else "float16" if device.fp16 else "float32"
    return {"auto": usual, "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[precision]


def half_of(device: Device, precision: str) -> float:
    """Return the FLOP/s of the training's arithmetic, as the vendor says; 0: no quicker than float32, which it is or which has to do."""
    return {"bfloat16": device.bf16, "float16": device.fp16, "float32": 0.0}[kind_of(device, precision)]


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
        RecipeError: if there is no such device, no training clip, or more layers are to be frozen than the encoder has.
    """
    need_device(device)
    if not counts["train"].n_clips:
        raise RecipeError("the train split has no clips; there is nothing to train on")
    if config and training.freeze_layers > config.encoder_layers:
        raise RecipeError(f"training.freeze_layers {training.freeze_layers}: the encoder has {config.encoder_layers} layers")
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
        # Examples without speech make an epoch longer. Stitched ones make it shorter, by how much only the speakers' clips would say: left.
        epochs=n_seen * (1 - training.keep.no_speech) / counts["train"].n_clips,
        n_looks=ceil(training.steps / training.evaluate_every) + 1,  # one before the first step
        n_dev=min(training.dev_clips, counts["dev"].n_clips),
    )
    whole = _of_model(of_data, config, DEVICES[device], scoring, hourly_price) if config else of_data
    return replace(whole, warnings=tuple(_warnings(whole)))


def _of_model(data: Estimate, config: Config, device: Device, scoring: Scoring, hourly_price: float | None) -> Estimate:
    """Add what depends on the model."""
    training, autocast = data.training, data.kind != "float32"
    if not half_of(device, training.precision):
        device = replace(device, bf16=0.0, fp16=0.0)  # it computes at the pace of float32
    encoder, decoder = n_parameters(config)
    moved = n_trained(config, training)
    n_words = {split: each.text_bytes / TEXT / max(1, each.n_clips) for split, each in data.counts.items()}
    n_tokens = {split: min(PREFIX + LONGEST * each, config.max_tokens - 1) for split, each in n_words.items()}  # padded to the longest

    clip_flops, again = train_flops(config, n_tokens["train"], training), 0.0
    if training.gradient_checkpointing:
        again = again_flops(config, n_tokens["train"], training)
    look = look_seconds(config, device, data.n_dev, n_tokens["dev"], WIDER * training.batch, autocast)
    n_test = data.counts["test"].n_clips
    before = config.max_tokens if config.is_new else n_tokens["test"]
    test = sum(hear_seconds(config, device, n_test, each, scoring.batch) for each in (before, n_tokens["test"]))

    static_bytes = (encoder + decoder + (moved if training.lora.rank else 0)) * (6 if autocast else 4) + moved * 12
    kept = activation_bytes(
        config, n_tokens["train"], training.freeze_encoder, autocast, freeze_layers=training.freeze_layers, rank=training.lora.rank,
        layers=training.lora.layers, gradient_checkpointing=training.gradient_checkpointing,
    )  # fmt: skip
    clip_bytes = kept + 4 * n_tokens["train"] * config.vocabulary
    of_model = replace(
        data,
        n_parameters=encoder + decoder,
        n_trained=moved,
        checkpoint_bytes=12 * moved,
        label_tokens=PREFIX + n_words["train"] + 1,
        clip_flops=clip_flops,
        again_flops=again,
        look_flops=look_flops(config, n_tokens["dev"]),
        static_bytes=static_bytes,
        clip_bytes=clip_bytes,
        largest_batch=max(0, int((device.memory - SLACK - static_bytes) / clip_bytes)) if device.memory else None,
        train_seconds=data.n_seen * (clip_flops + again) / _rate(device, autocast),
        looks_seconds=data.n_looks * look,
        test_seconds=test,
    )
    return replace(of_model, price=of_model.seconds / 3600 * hourly_price if hourly_price is not None else None)


def _warnings(told: Estimate) -> Iterator[str]:
    """Yield what a person should change, or know, before the run."""
    training, fits = told.training, told.largest_batch
    if told.config is None:
        yield "the model's sizes are not known here: the Hub cannot be reached. What depends on them is left out"
    if told.kind != "float32" and not half_of(told.device, training.precision):
        yield f"training.precision {training.precision}: {told.device.name} is not made for it; use auto"
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
