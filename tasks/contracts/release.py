"""What is published, under which name, where, and what it must be better than."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from tasks.contracts.section import Address, Section

HUB = "hf://"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]{0,95}")
Export = Literal["ctranslate2", "ggml-f16", "ggml-q5_0", "ggml-q8_0", "onnx", "float16"]


def _is_a_place(address: str) -> str:
    if address.startswith(HUB) and not REPOSITORY.fullmatch(address.removeprefix(HUB)):
        raise PydanticCustomError("place", "not a repository of the Hub; expected one such as hf://team/whisper-small-sv")
    if "://" in address and not address.startswith((HUB, "file://")):
        raise PydanticCustomError("place", "neither a folder nor a repository of the Hub, such as hf://team/whisper-small-sv")
    return address


class Gate(Section):
    """What a challenger must do on the frozen test to take the place of the champion, or, the first time, of the model it started from."""

    min_gain: float = Field(0.0, ge=-100, le=100)
    """Points of WER by which it must surely be better: the lower limit of the gain is above this"""
    confidence: float = Field(0.95, ge=0.5, le=0.999)
    """Of the interval of the gain"""
    min_words: int = Field(100, ge=1)
    """A test of fewer words decides nothing"""
    may_lose: float = Field(1.0, ge=0, le=100)
    """Points of WER by which a slice, another test or the long recordings may be worse; what is surely worse by more is refused"""
    may_make_up: float = Field(10.0, ge=0, le=1000)
    """Words more that it may make up in a minute in which nobody speaks"""


class Release(Section):
    """What is published, and under which name."""

    name: str = Field("whisper-viska", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
    """The model's name on its page"""
    to: Annotated[Address, AfterValidator(_is_a_place)] = ""
    """A folder, or a repository of the Hugging Face Hub such as hf://team/whisper-small-sv; empty: the folder models of the store"""
    private: bool = True
    """Seen by its owners alone; a repository that is public already is then refused"""
    token: str = Field("", pattern=r"^[a-z0-9-]*$")
    """Name of the Prefect Secret that holds the Hub's token; empty: HF_TOKEN of the environment"""
    licence: str = Field("apache-2.0", pattern=r"^[a-z0-9.-]+$")
    """The model's licence, as a Hub identifier"""
    data_licence: str = Field("unknown", min_length=1)
    """The licence of the recordings, for the card"""
    gate: Gate = Gate()
    anyway: bool = False
    """Publish also what the gate refuses; the card says so"""
    approval: bool = False
    """Ask a person before anything is published: in the Prefect UI, or by `viska approve`"""
    side_by_side: bool = True
    """The Space also loads the model that training started from, if that is on the Hub, and shows both; it takes as much memory again"""
    approval_days: float = Field(14.0, gt=0, le=365)
    """Days in which that person must answer; then the run fails, and asks again if it is retried"""
    exports: tuple[Export, ...] = ()
    """Other formats, for faster-whisper, whisper.cpp and ONNX Runtime; each must hear the same as the model, or nothing is published"""

    @property
    def repository(self) -> str:
        """The repository of the Hub, or nothing if the model is published in a folder."""
        return self.to.removeprefix(HUB) if self.to.startswith(HUB) else ""
