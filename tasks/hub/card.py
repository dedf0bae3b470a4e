"""The model card: what the Hub reads as metadata, and what a person reads. Every number comes from the sealed report."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader

from tasks.contracts.errors import ReleaseError
from tasks.contracts.languages import hub
from tasks.contracts.languages import name as name_of
from tasks.scoring.verdict import headline, only_words

ISO = re.compile(r"^[a-z]{2,3}$")  # the Hub refuses a whole commit for `sv-SE`
METADATA = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)


@dataclass(frozen=True)
class Publication:
    """What the card tells of its release, besides what the report says of the model."""

    repository: str = ""  # of the Hub, such as team/whisper-small-sv; empty: a folder
    version: int = 0
    verdict: dict[str, Any] = field(default_factory=dict)  # of the gate
    history: list[dict[str, Any]] = field(default_factory=list)  # of the releases before, oldest first
    exports: list[dict[str, Any]] = field(default_factory=list)  # facts of each: format, n_clips, wer, tolerance
    approval: dict[str, str] = field(default_factory=dict)  # what a person said of this one


def write_card(report: dict[str, Any], name: str, licence: str, data_licence: str, publication: Publication = Publication()) -> str:
    """Return README.md of the model's page, metadata first.

    Args:
        report: of this model, as `write_report` sealed it.
        name: of the model.
        licence: of the model, a Hub identifier.
        data_licence: of the recordings, in words; "unknown": what the corpora say of theirs must do.
        publication: the release.
    """
    language, token = report["language"], report["recipe"].get("language_token", "")
    dataset = f"{report['recipe']['corpus']['kind']} corpus {report['dataset']['digest'][:8]}"
    results = [
        EvalResult(task_type="automatic-speech-recognition", task_name="Automatic Speech Recognition", dataset_type="viska",
                   dataset_name=dataset, dataset_split="test", metric_type=metric, metric_name=f"{metric.upper()}, {title}",
                   metric_value=round(100 * report["after"][key]["value"], 2))
        for key, metric, title in (("wer", "wer", "normalised"), ("cer", "cer", "normalised"), ("wer_raw", "wer", "as written"))
    ]  # fmt: skip
    start = report["start"]["name"]
    metadata = ModelCardData(
        language=hub(language),
        license=licence,
        library_name="transformers",
        pipeline_tag="automatic-speech-recognition",
        tags=["whisper", "viska"],
        base_model=start if start.count("/") == 1 and not start.startswith((".", "/", "~")) else None,
        metrics=["wer", "cer"],
        model_name=name,
        eval_results=results,
    )
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"language": name_of, "words": only_words}
    corpora = report["dataset"]["corpora"]
    is_told = any(licence for each in corpora for licence in each["licences"])
    body = environment.get_template("card.md.j2").render(
        report=report,
        name=name,
        language=name_of(language),
        token=token,
        lender=name_of(token),
        data_licence="" if is_told and data_licence == "unknown" else data_licence,
        n_scored=sum("test" in each["splits"] for each in corpora),
        about=publication,
        headline=headline(publication.verdict) if publication.verdict else "",
        exports={each["format"]: each for each in publication.exports},
        worst=[each for each in report["slices"] if {"by": each["by"], "name": each["name"]} in report["worst_slices"]],
    )
    card = f"---\n{metadata.to_yaml()}\n---\n\n{body}"
    check_card(card)
    return card


def check_card(card: str) -> None:
    """Refuse what the Hub would refuse, before anything travels.

    Raises:
        ReleaseError: if the metadata cannot be read, or lacks or misspells a field.
    """
    found = METADATA.match(card)
    if not found:
        raise ReleaseError("the card has no metadata between two lines of ---")
    try:
        metadata = yaml.safe_load(found.group(1))
    except yaml.YAMLError as error:
        raise ReleaseError(f"the card's metadata are no YAML: {error!s:.200}") from error
    if not isinstance(metadata, dict):
        raise ReleaseError(f"the card's metadata are a {type(metadata).__name__}, expected fields by name")
    languages = metadata.get("language") or []
    for language in [languages] if isinstance(languages, str) else languages or [""]:
        if not ISO.match(str(language)):
            raise ReleaseError(f"card: language {language!r}, expected an ISO 639 code such as 'sv'; the Hub refuses others")
    if not isinstance(metadata.get("license"), str):
        raise ReleaseError(f"card: license {metadata.get('license')!r}, expected an identifier such as 'apache-2.0'")
    for result in (metadata.get("model-index") or [{}])[0].get("results", []):
        if not result.get("metrics") or not {"type", "name"} <= set(result.get("dataset", {})):
            raise ReleaseError(f"card: a result lacks its metric or its dataset's type and name: {result}")
