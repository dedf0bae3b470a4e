"""Everything a run can be told, once: flow parameter, form in the Prefect UI, YAML file and command-line flags.

Defaults work on a laptop. Secrets are never here: they come from the environment or a Prefect Secret, in the step that needs them.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tasks.contracts.corpora import Corpus, EspeakCorpus
from tasks.contracts.errors import RecipeError
from tasks.contracts.languages import EVERYWHERE, LANGUAGES, about, code_of
from tasks.contracts.release import REPOSITORY, Release
from tasks.contracts.secrets import redact
from tasks.contracts.section import SECRET, Address, Section
from tasks.scoring.normalise import OWN_LANGUAGE


class Text(Section):
    """What is done to the words before they are learnt. Without a wish: Unicode NFC and single spaces, nothing else."""

    case: Literal["keep", "lower"] = "keep"
    """lower: all letters small"""
    punctuation: Literal["keep", "remove"] = "keep"
    """remove: only letters, digits and the apostrophes within words are left"""
    quotes: Literal["keep", "unwrap"] = "keep"
    """unwrap: take off quotation marks around the whole sentence, an artefact of CSV in older corpora"""


class Splits(Section):
    """How clips without a split are shared out. A clip's place depends on itself and the seed alone, so it never moves."""

    dev: float = Field(0.1, ge=0, le=0.4)
    """Share held back to choose the checkpoint"""
    test: float = Field(0.1, ge=0, le=0.4)
    """Share held back to score once"""
    by: Literal["speaker", "clip"] = "speaker"
    """Keep speakers apart (clips without a speaker count as their own)"""
    max_train: int = Field(0, ge=0)
    """At most so many training clips, drawn by the seed, stratified by speaker; 0: all"""
    max_test: int = Field(0, ge=0)
    """At most so many test clips, drawn by the seed, stratified by speaker; 0: all"""
    subset: Literal["drawn", "first"] = "drawn"
    """first: the first rows instead of drawn ones; those are often a few speakers, so only to repeat what others did"""
    frozen: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    """Name of the test set, which is stored the first time and used ever after; empty: the recipe's name"""
    may_miss: float = Field(0.0, ge=0, le=0.5)
    """Share of the frozen test that may be gone or changed, as when people withdraw recordings; scores are then of the rest"""
    seed: int = Field(0, ge=0)
    """Which clips go where, and which are drawn"""


class Leaks(Section):
    """What train shares with dev or test, and dev with test, makes a score better than the model. It is always reported."""

    speaker: Literal["remove", "keep"] = "remove"
    """Clips by a speaker who is also in test (or dev)"""
    text: Literal["remove", "keep"] = "remove"
    """Clips with a sentence that is also in test (or dev); compared without case and punctuation"""
    sound: Literal["remove", "keep"] = "remove"
    """Clips of the same file as one in test (or dev); the same sound in other files is seen to by gates.same_sound"""


class Gates(Section):
    """What a clip must be like to be used; the others go into quarantine, with their reason."""

    min_seconds: float = Field(0.1, ge=0, le=30)
    """Shorter clips are refused"""
    max_seconds: float = Field(30.0, gt=0, le=30)
    """Longer clips are refused; so are those longer than the model's window"""
    min_text_rate: float = Field(0.3, ge=0, le=100)
    """Fewer characters of text a second are refused: words are missing"""
    max_text_rate: float = Field(40.0, ge=0, le=1000)
    """More characters of text a second are refused: sound is missing; 0: any number"""
    max_clipped: float = Field(0.05, ge=0, le=1)
    """A larger share of samples at full scale is refused"""
    max_silence: float = Field(0.98, ge=0, le=1)
    """A larger share of silence is refused"""
    min_snr: float = Field(0.0, ge=-20, le=100)
    """A lower estimate of signal to noise, in dB, is refused: below 0 it is steady noise, a hum or a tone, and no speech"""
    length_slack: float = Field(0.1, ge=0, le=30)
    """Seconds (or 2 %, if that is more) by which a clip may differ from the length that its source gives; 0: not compared"""
    alphabet: str = ""
    """The letters that may stand in a text; empty: those of the language's script and Latin ones; any: all"""
    max_same_text: int = Field(0, ge=0)
    """At most so many training clips with the same words; 0: any number"""
    same_sound: Literal["refuse", "keep"] = "refuse"
    """What to do with a second clip of the same sound; refused in train before dev before test"""
    max_rejected: float = Field(0.1, ge=0, le=1)
    """Stop when a larger share of the clips goes into quarantine"""

    @model_validator(mode="after")
    def _something_passes(self) -> "Gates":
        rates = (self.min_text_rate, self.max_text_rate or float("inf"), "text_rate")
        for low, high, what in ((self.min_seconds, self.max_seconds, "seconds"), rates):
            if low > high:
                raise ValueError(f"min_{what} {low:g} is above max_{what} {high:g}: no clip would pass")
        return self


class Pretrained(Section, title="Checkpoint"):
    """Continue from a Whisper checkpoint: one of the Hub, or a folder."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = Field("openai/whisper-small", min_length=1)
    """A Hub id such as openai/whisper-small, or a folder with the files of one"""
    revision: str = "main"
    """Branch, tag or commit on the Hub; resolved once to a commit"""


class Scratch(Section, title="From nothing"):
    """A new small Whisper with a tokenizer trained on the corpus, in Whisper's own layout of special tokens."""

    kind: Literal["scratch"] = "scratch"
    width: int = Field(128, ge=16, le=2048, multiple_of=8)
    """d_model"""
    encoder_layers: int = Field(2, ge=1, le=32)
    """Layers that listen"""
    decoder_layers: int = Field(1, ge=1, le=32)
    """Layers that write"""
    heads: int = Field(4, ge=1, le=32)
    """Attention heads a layer; the width is a multiple"""
    n_mels: Literal[80, 128] = 80
    """Bins of the log-Mel features: 80, or 128 as large-v3"""
    window: int = Field(3, ge=1, le=30)
    """Seconds of sound the model hears at once"""
    vocabulary: int = Field(400, ge=257, le=50_257)
    """Entries of the byte-level BPE before the special tokens"""
    max_tokens: int = Field(64, ge=16, le=448)
    """Longest label, with its prefix and its end"""
    dropout: float = Field(0.0, ge=0, le=0.5)
    """Share of activations that are left out at each step"""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> "Scratch":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class Trained(Section, title="Warm start"):
    """Begin with the weights of an earlier training of this store, and with nothing else of it: new data, a new optimiser."""

    kind: Literal["trained"] = "trained"
    checkpoint: str = Field(pattern=r"^[0-9a-f]{24}$")
    """Key of the sealed checkpoint, as `viska train` prints it, and the report"""


Model = Annotated[Pretrained | Scratch | Trained, Field(discriminator="kind")]


class Features(Section):
    """How log-Mel features are stored. Bins and window are the model's and are read from it."""

    dtype: Literal["float16", "float32"] = "float16"
    """float16 halves the bytes at an error of at most 5e-4; float32 is exact"""


class Prepare(Section):
    """Where the parts of a corpus are prepared. It decides no bytes."""

    dask: str = ""
    """Scheduler of a Dask cluster that does the parts, such as tcp://127.0.0.1:8786; empty: threads of this process"""

    @field_validator("dask")
    @classmethod
    def _dask_is_an_address(cls, address: str) -> str:
        if address and not re.fullmatch(r"(tcp|tls)://\S+:\d+", address):
            raise ValueError("not the address of a Dask scheduler; expected one such as tcp://127.0.0.1:8786, or nothing")
        return address


class Augment(Section):
    """What is done to a training clip before it is learnt; all of it follows from the seed, the step and the clip's place in it."""

    mask_time: float = Field(0.0, ge=0, le=0.5)
    """SpecAugment: longest blank, as a share of a clip's frames"""
    mask_bins: int = Field(0, ge=0, le=64)
    """SpecAugment: mel bins to blank, in two bands"""
    speed: float = Field(0.0, ge=0, le=0.3)
    """Largest change of speed (and pitch): 0.1 is 0.9 to 1.1 times as fast"""
    gain: float = Field(0.0, ge=0, le=30)
    """Largest change of loudness, in dB"""
    noise: float = Field(0.0, ge=0, le=1)
    """Share of the clips that get noise, 5 to 40 dB below the speech"""
    bpe_dropout: float = Field(0.0, ge=0, le=0.5)
    """Share of the tokenizer's merges that are left out (Provilkov et al. 2020), so that words are also learnt in smaller pieces"""

    @property
    def needs_sound(self) -> bool:
        """Whether features have to be computed from the 16 kHz sound."""
        return bool(self.speed or self.gain or self.noise)


class Keep(Section, title="Keep abilities"):
    """Examples of what Whisper could do before and short clips do not show; without them a training forgets it."""

    timestamps: float = Field(0.0, ge=0, le=1)
    """Share of the examples whose words stand between timestamps"""
    no_speech: float = Field(0.0, ge=0, le=0.5)
    """Share of examples that are noise or silence, to which the answer is nothing"""
    stitched: float = Field(0.0, ge=0, le=1)
    """Share of the clips that are joined with others of their speaker into one window, with exact timestamps"""

    @property
    def needs_sound(self) -> bool:
        """Whether features have to be computed from the 16 kHz sound."""
        return bool(self.stitched)


class Lora(Section, title="LoRA"):
    """Train small matrices beside the weights (Hu et al. 2021); they are merged into the weights before anything is scored on the test."""

    rank: int = Field(0, ge=0, le=512)
    """Of the added matrices; 0: all weights are trained"""
    alpha: float = Field(0.0, ge=0, le=1024)
    """Scale of what they add, over their rank; 0: twice the rank"""
    dropout: float = Field(0.0, ge=0, le=0.5)
    """Share of the small matrices' inputs that are left out"""
    layers: Literal["attention", "all"] = "attention"
    """Beside which matrices: queries and values of every attention, or all matrices of every layer"""


class Checkpoints(Section):
    """When the state of a training goes to the store; it decides no bytes of the result."""

    minutes: float = Field(10.0, ge=0, le=1440)
    """At most so much work is lost when the machine is; 0: only at looks"""
    newest: int = Field(2, ge=1, le=1000)
    """How many stay on the store, besides the best one"""
    mirror: str = Field("", pattern=rf"^(hf://{REPOSITORY.pattern})?$")
    """A repository of the Hub, such as hf://team/whisper-small-sv: the newest checkpoint is also in its branch training-KEY; empty: none"""


class Training(Section):
    """How the model is trained."""

    steps: int = Field(1000, ge=1, le=10_000_000)
    """Optimiser steps"""
    batch: int = Field(16, ge=1, le=4096)
    """Clips in a forward pass"""
    accumulate: int = Field(1, ge=1, le=1024)
    """Forward passes to an optimiser step; several GPUs share them out, so a step is as large on any number of them"""
    learning_rate: float = Field(0.0, ge=0, le=0.1)
    """The highest one, after the warm-up; 0: the usual one for the model's size, and 1e-3 for LoRA"""
    warmup: int = Field(100, ge=0)
    """Steps in which the learning rate rises from nothing"""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """What the learning rate does after the warm-up"""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Of AdamW"""
    clip_norm: float = Field(1.0, gt=0, le=1000)
    """Gradients longer than this are shortened to it"""
    freeze_encoder: bool = False
    """Train what writes, and leave what listens as it is"""
    freeze_layers: int = Field(0, ge=0, le=64)
    """Lowest encoder layers, with the convolutions, that stay as they are"""
    lora: Lora = Lora()
    augment: Augment = Augment()
    keep: Keep = Keep()
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Of the arithmetic; weights and moments are float32. auto: bf16 or fp16, whichever the GPU is fast at, and fp32 on a CPU"""
    compile: bool = False
    """Compile the model: a minute or two at the start, faster steps after it"""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of keeping them: larger batches fit, a step takes a quarter longer"""
    out_of_memory: Literal["stop", "halve"] = "stop"
    """halve: when the GPU's memory does not suffice, go on with half the clips in a pass and twice the passes"""
    evaluate_every: int = Field(250, ge=1)
    """Steps between looks at the dev split; a checkpoint is kept at each"""
    dev_clips: int = Field(200, ge=1, le=100_000)
    """Dev clips transcribed at each look, drawn by the seed"""
    patience: int = Field(0, ge=0)
    """Stop after so many looks without a better dev WER; 0: never"""
    checkpoints: Checkpoints = Checkpoints()
    extend: str = Field("", pattern=r"^([0-9a-f]{24})?$")
    """Key of a training of this store, as `viska train` prints it, to go on with for more steps; all else must be as it was"""
    seed: int = Field(0, ge=0)
    """Decides the order of the clips, new weights, and everything random"""

    @model_validator(mode="after")
    def _warmup_ends(self) -> "Training":
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} does not end within steps {self.steps}: all training at a near-zero rate")
        return self

    @model_validator(mode="after")
    def _one_way_of_leaving_weights(self) -> "Training":
        if self.lora.rank and (self.freeze_encoder or self.freeze_layers):
            raise ValueError("with lora all weights stay as they are; leave out freeze_encoder and freeze_layers")
        return self

    def identity(self) -> dict[str, Any]:
        """Stand for this in the fingerprint of a step that reads it: when checkpoints are kept decides no bytes."""
        return self.model_dump(mode="json", exclude={"checkpoints"})


class LongForm(Section, title="Long recordings"):
    """Test clips joined to recordings of minutes, and sounds in which nobody speaks, heard as `viska transcribe` hears them."""

    recordings: int = Field(3, ge=0, le=1000)
    """At most so many; 0: none, and no sounds without speech"""
    minutes: float = Field(2.0, ge=0.1, le=120)
    """Of each recording"""
    seed: int = Field(0, ge=0)
    """Decides which clips are joined, and the pauses"""


class OtherTest(Section, title="Another test"):
    """What the training is not about, another language or another domain: scored before and after, to see what is forgotten."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")
    """What people call it, and the test that is frozen of it"""
    language: str = ""
    """Of its recordings, one that Whisper knows; empty: the recipe's"""
    corpus: Corpus
    """Its split test; all of it, if it has no such split"""

    @field_validator("language")
    @classmethod
    def _language_is_one_of_whispers(cls, language: str) -> str:
        code = code_of(language) if language else ""
        if code not in ("", *EVERYWHERE):
            raise ValueError(f"{about(code)}; expected a language that every Whisper knows")
        return code


class Scoring(Section):
    """How both models are scored: greedy, language forced, no timestamps, the same for before and after."""

    batch: int = Field(32, ge=1, le=1024)
    """Clips transcribed at once"""
    engine: Literal["viska", "ctranslate2"] = "viska"
    """ctranslate2: the same words in less time on a CPU, if that package is installed; compared with ours on the first clips"""
    normaliser: Literal["auto", "plain", "sv", "whisper-basic", "whisper-english"] = "auto"
    """What is no error; auto: the one of the language if there is one, else plain (case and punctuation)"""
    long: LongForm = LongForm()
    others: tuple[OtherTest, ...] = ()
    """Further tests, of what the training is not about"""
    resamples: int = Field(1000, ge=100, le=100_000)
    """Draws of the bootstrap behind the intervals"""
    seed: int = Field(0, ge=0)
    """Of the bootstrap's draws"""


class Recipe(Section):
    """Retrain Whisper: from which recordings, how, and what to do with the result."""

    name: str = Field("viska", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What people call this run, and its report"""
    language: str = "sv"
    """Language of the recordings: as Whisper writes it (sv, en, de), its name, or as Common Voice (sv-SE) or FLEURS (sv_se) write it"""
    language_token: str = ""
    """For a language that Whisper does not know: the one whose token it borrows, such as fi; or new, for a token of its own"""
    corpus: Corpus = EspeakCorpus()
    text: Text = Text()
    splits: Splits = Splits()
    leaks: Leaks = Leaks()
    gates: Gates = Gates()
    model: Model = Scratch()
    features: Features = Features()
    prepare: Prepare = Prepare()
    training: Training = Training()
    scoring: Scoring = Scoring()
    release: Release = Release()
    store: Address = ""
    """Where artifacts lie: a folder or a gs://, s3:// address; empty: VISKA_STORE of the machine, or ~/.viska/store"""

    @field_validator("language")
    @classmethod
    def _language_is_known(cls, language: str) -> str:
        return code_of(language)

    @field_validator("language_token")
    @classmethod
    def _token_is_one_of_whispers(cls, token: str) -> str:
        code = token if token in ("", "new") else code_of(token)
        if code not in (*LANGUAGES, "", "new"):
            raise ValueError(f"not one of Whisper's: {about(code)}; expected a language whose token is borrowed, such as fi, or new")
        return code

    @model_validator(mode="after")
    def _language_has_a_token(self) -> "Recipe":
        if self.language in EVERYWHERE and self.language_token:
            raise _at("language_token", self.language_token, f"must be empty: Whisper knows {self.language}")
        if self.language not in LANGUAGES and not self.language_token:
            wish = "language_token is missing: a language whose token it borrows, such as fi, or new for one of its own"
            raise _at("language", self.language, f"{about(self.language)}. Whisper does not know it, and {wish}")
        return self

    @model_validator(mode="after")
    def _normaliser_is_of_the_language(self) -> "Recipe":
        wish = self.scoring.normaliser
        if (own := OWN_LANGUAGE.get(wish, self.language)) != self.language:
            raise _at("scoring.normaliser", wish, f"knows the rules of {own} alone, and the language is {self.language}; use auto or plain")
        return self

    @model_validator(mode="after")
    def _other_tests_have_names_of_their_own(self) -> "Recipe":
        names = [each.name for each in self.scoring.others]
        if len(set(names)) < len(names):
            raise _at("scoring.others", ", ".join(names), "the same name twice; a test is frozen under its name")
        return self

    def about(self, other: OtherTest) -> "Recipe":
        """Return the recipe by which another test is prepared."""
        frozen, gates = f"{self.test_name}~{other.name}", self.gates  # no name of a recipe holds a ~
        if language := other.language:
            gates = gates.model_copy(update={"alphabet": ""})
        told = {"name": f"{self.name}~{other.name}", "corpus": other.corpus, "gates": gates, "scoring": Scoring(),
                "splits": self.splits.model_copy(update={"frozen": frozen})}  # fmt: skip
        return self.model_copy(update=told | ({"language": language, "language_token": ""} if language else {}))

    @property
    def token(self) -> str:
        """The code in the language token that training and decoding use."""
        return self.language if self.language_token in ("", "new") else self.language_token

    @property
    def test_name(self) -> str:
        """The name under which the test set is frozen."""
        return self.splits.frozen or self.name

    def identity(self) -> dict[str, Any]:
        """Stand for the recipe in the fingerprint of a step that reads it: where things lie decides no bytes."""
        return self.model_dump(mode="json", exclude={"store", "prepare"})

    def up_to_the_report(self) -> dict[str, Any]:
        """Return what decides the report: everything but where things lie, how fast it goes, and what is published."""
        left_out: Any = {"store": True, "prepare": True, "release": True, "scoring": {"batch"}, "training": {"checkpoints"}}
        return self.model_dump(mode="json", exclude=left_out)

    def up_to_the_page(self) -> dict[str, Any]:
        """Return what decides what is published; the rest decides how fast, where things lie, and whether."""
        whether = {"gate", "anyway", "approval", "approval_days", "token", "private", "side_by_side"}
        release = self.release.model_dump(mode="json", exclude=whether)
        return self.up_to_the_report() | {"release": release | {"exports": sorted(release["exports"])}}


def _at(field: str, value: str, message: str) -> ValidationError:
    """Return a refusal of one field by a rule that needs several."""
    refusal = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data("Recipe", [{"type": refusal, "loc": tuple(field.split(".")), "input": value}])


def _kinds(union: Any) -> tuple[str, ...]:
    return tuple(each.model_fields["kind"].default for each in get_args(get_args(union)[0]))


KINDS = {"corpus": _kinds(Corpus), "model": _kinds(Model)}


def read_recipe(values: dict[str, Any]) -> Recipe:
    """Return the recipe with these values.

    Raises:
        RecipeError: naming the path of each wrong field, what was got and what is allowed.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError("\n".join(_line(each) for each in error.errors())) from error


def _line(error: Any) -> str:
    """`training.steps: got -1; input should be greater than or equal to 1`."""
    place = [str(step) for step in error["loc"]]
    if len(place) > 1 and place[1] in KINDS.get(place[0], ()):
        del place[1]  # pydantic names the kind of a section as if it were a field
    path = ".".join(place) or "recipe"
    got = "" if isinstance(error["input"], dict) or SECRET.search(repr(error["input"])) else f"got {redact(repr(error['input']))}; "
    says: str = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        says = "there is no such setting"
    if error["type"] == "union_tag_not_found":
        path, says = f"{path}.kind", f"missing; {error['ctx']['discriminator']} must be {' or '.join(KINDS[path])}"
    return f"{path}: {got}{says[0].lower() + says[1:]}"
