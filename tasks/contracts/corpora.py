"""The recipe's corpus section: one model per kind of source; `tasks/corpora/<kind>.py` reads it. See docs/corpora.md."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from tasks.contracts.languages import code_of
from tasks.contracts.section import Address, Section


def _refuse_twice(names: Sequence[str], what: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what} {twice[0]!r} is named twice")


class EspeakCorpus(Section, title="eSpeak"):
    """Swedish sentences of a small grammar, spoken on the spot by eSpeak NG. Synthetic voices, for the demonstration only."""

    kind: Literal["espeak"] = "espeak"
    n_train: int = Field(2000, ge=20, le=20_000)
    """Sentences to train on, spread over the training voices"""
    n_dev: int = Field(60, ge=4, le=2_000)
    """Sentences to choose the checkpoint on, by voices of their own"""
    n_test: int = Field(150, ge=4, le=2_000)
    """Sentences to score once, by voices heard nowhere else"""
    seed: int = Field(0, ge=0)
    """Which sentences, and who says them"""


class FolderCorpus(Section, title="Folder"):
    """Recordings with a table beside them: CSV, TSV or JSON Lines; columns are guessed unless named. An AudioFolder is one too."""

    kind: Literal["folder"] = "folder"
    path: Address = Field(min_length=1)
    """The folder or the table: a local path or any fsspec address"""
    table: str = ""
    """The table's name in the folder; empty: manifest, metadata or index with .csv, .tsv or .jsonl, here or in folders of splits"""
    audio_column: str = ""
    """The column with the recording's path; empty: guessed"""
    text_column: str = ""
    """The column with the words; empty: guessed"""
    speaker_column: str = ""
    """The column with the speaker; empty: guessed, and clips may have none; -: not used"""
    split_column: str = ""
    """The column with train, dev (or validation) and test; empty: guessed, and clips may have none; -: not used"""
    elsewhere: tuple[Address, ...] = ()
    """Where the table may send us besides the folder: beginnings of addresses, such as https://host/clips/ or gs://bucket/"""


Table = Literal["train", "dev", "test", "validated", "invalidated", "other"]


class CommonVoiceTables(Section):
    """Which tables of a Common Voice release are used, and how."""

    locale: str = ""
    """As Common Voice writes it: sv-SE; empty: the only one in the archive"""
    train: tuple[Table, ...] = ("train",)
    """The tables to train on"""
    dev: tuple[Table, ...] = ("dev",)
    """The tables to choose the checkpoint on; none: clips are held back from train"""
    test: tuple[Table, ...] = ("test",)
    """The tables to score on; none: clips are held back from train"""
    free_data: bool = False
    """Train also on validated clips of no table above, if neither their speaker nor their sentence is in dev or test"""
    reported: Literal["drop", "keep"] = "drop"
    """What to do with sentences that listeners reported as wrong"""

    @model_validator(mode="after")
    def _no_table_in_two_splits(self) -> "CommonVoiceTables":
        tables = [*self.train, *self.dev, *self.test]
        _refuse_twice(tables, "table")
        if "validated" in tables and len(tables) > 1:
            raise ValueError("validated holds train, dev and test too; use it alone, or free_data for the rest of it")
        return self


class CommonVoiceCorpus(CommonVoiceTables, title="Common Voice"):
    """A Common Voice release, 5 to 26: the archive as it was downloaded, or unpacked."""

    kind: Literal["common_voice"] = "common_voice"
    path: Address = Field(min_length=1)
    """The .tar.gz or the folder: a local path or any fsspec address"""


class DataCollectiveCorpus(CommonVoiceTables, title="Mozilla Data Collective"):
    """A Common Voice release fetched from the Mozilla Data Collective; the key comes from the environment, MDC_API_KEY."""

    kind: Literal["data_collective"] = "data_collective"
    dataset: str = Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its id or slug there; each release has one of its own"""


class HubCorpus(Section, title="Hub"):
    """A data set of the Hugging Face Hub, or a local folder of Parquet files, read without running its code."""

    kind: Literal["hub"] = "hub"
    name: str = Field(min_length=1)
    """Its id, such as google/fleurs, or a folder"""
    config: str = ""
    """Its configuration, such as sv_se; empty: the default one"""
    revision: str = "main"
    """Branch, tag or commit, such as refs/convert/parquet; resolved once to a commit"""
    train: tuple[str, ...] = ("train",)
    """The splits to train on, as the data set calls them"""
    dev: tuple[str, ...] = ("validation",)
    """The splits to choose the checkpoint on; none: clips are held back from train"""
    test: tuple[str, ...] = ("test",)
    """The splits to score on; none: clips are held back from train"""
    audio_column: str = ""
    """The column with the sound; empty: guessed"""
    text_column: str = ""
    """The column with the words; empty: guessed"""
    speaker_column: str = ""
    """The column with the speaker; empty: guessed, and clips may have none; -: not used"""
    id_column: str = ""
    """The column that names a clip for ever; empty: the name of its audio file"""

    @model_validator(mode="after")
    def _no_split_twice(self) -> "HubCorpus":
        _refuse_twice([*self.train, *self.dev, *self.test], "split")
        return self


class NemoCorpus(Section, title="NeMo"):
    """NeMo manifests: JSON Lines with audio_filepath, text and duration; with an offset the clip is cut out of its recording."""

    kind: Literal["nemo"] = "nemo"
    train: tuple[Address, ...] = Field(min_length=1)
    """The manifests to train on: local paths or any fsspec addresses"""
    dev: tuple[Address, ...] = ()
    """The manifests to choose the checkpoint on; none: clips are held back from train"""
    test: tuple[Address, ...] = ()
    """The manifests to score on; none: clips are held back from train"""
    audio: Address = ""
    """The folder that the paths in them start from, and that they may not leave; empty: each manifest's own"""

    @model_validator(mode="after")
    def _nothing_twice(self) -> "NemoCorpus":
        _refuse_twice([*self.train, *self.dev, *self.test], "manifest")
        return self


class KaldiCorpus(Section, title="Kaldi"):
    """Kaldi data directories: wav.scp and text, and if there are any segments, utt2spk, spk2gender, utt2dur. Commands are not run."""

    kind: Literal["kaldi"] = "kaldi"
    train: tuple[Address, ...] = Field(min_length=1)
    """The data directories to train on: local paths or any fsspec addresses"""
    dev: tuple[Address, ...] = ()
    """The data directories to choose the checkpoint on; none: clips are held back from train"""
    test: tuple[Address, ...] = ()
    """The data directories to score on; none: clips are held back from train"""
    audio: Address = ""
    """The folder that the paths in wav.scp start from, and that they may not leave; empty: each directory's own"""

    @model_validator(mode="after")
    def _nothing_twice(self) -> "KaldiCorpus":
        _refuse_twice([*self.train, *self.dev, *self.test], "directory")
        return self


class SubtitlesCorpus(Section, title="Subtitles"):
    """Long recordings, each with an SRT or WebVTT file of the same name beside it, cut into clips at its cues."""

    kind: Literal["subtitles"] = "subtitles"
    path: Address = Field(min_length=1)
    """The folder; folders in it are searched too"""
    max_seconds: float = Field(28.0, ge=1, le=30)
    """Cues that follow each other are joined into clips of at most this length"""
    max_gap: float = Field(1.0, ge=0, le=10)
    """Seconds between two cues that are joined at most"""


SingleCorpus = Annotated[
    EspeakCorpus | FolderCorpus | CommonVoiceCorpus | DataCollectiveCorpus | HubCorpus | NemoCorpus | KaldiCorpus | SubtitlesCorpus,
    Field(discriminator="kind"),
]


class MixPart(Section):
    """One corpus of several."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What it is called here; its clips' ids begin with it"""
    corpus: SingleCorpus
    language: str = ""
    """What is spoken in it; empty: the recipe's language. Clips of other languages are trained on, never scored"""
    weight: float = Field(1.0, gt=0, le=100)
    """How often an epoch goes through its training clips: 2 is twice, 0.5 a different half each time"""
    max_train: int = Field(0, ge=0)
    """At most so many of its training clips, drawn by the seed, stratified by speaker; 0: all"""
    use: Literal["all", "train"] = "all"
    """train: its own splits are not looked at, all of it is trained on"""
    licence: str = ""
    """Of its recordings, for the card"""

    @field_validator("language")
    @classmethod
    def _language_is_known(cls, language: str) -> str:
        return code_of(language) if language else ""


class MixCorpus(Section, title="Mix"):
    """Several corpora as one."""

    kind: Literal["mix"] = "mix"
    parts: tuple[MixPart, ...] = Field(min_length=1, max_length=64)
    """The corpora"""

    @model_validator(mode="after")
    def _names_differ(self) -> "MixCorpus":
        _refuse_twice([part.name for part in self.parts], "part")
        return self

    def identity(self) -> dict[str, Any]:
        """Stand for the corpus in the fingerprint of a step that reads it: how many clips are used is decided later."""
        return self.model_dump(mode="json", exclude={"parts": {"__all__": {"max_train"}}})


Corpus = Annotated[
    EspeakCorpus
    | FolderCorpus
    | CommonVoiceCorpus
    | DataCollectiveCorpus
    | HubCorpus
    | NemoCorpus
    | KaldiCorpus
    | SubtitlesCorpus
    | MixCorpus,
    Field(discriminator="kind"),
]
