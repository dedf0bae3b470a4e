"""What of a report and a recipe may be published: nobody's clips by name, nobody's folders and buckets."""

import re
from collections.abc import Sequence
from typing import Any

PLACES = {  # fields that name folders, files and addresses, by the kind of corpus
    "folder": ("path", "table", "elsewhere"), "common_voice": ("path",), "subtitles": ("path",),
    "nemo": ("train", "dev", "test", "audio"), "kaldi": ("train", "dev", "test", "audio"),
}  # fmt: skip
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
NOT_TOLD = "not told"


def for_everybody(report: dict[str, Any]) -> dict[str, Any]:
    """Return the report as it may be published: clips have numbers, because an id can be the name of a file or of who speaks."""
    start, recipe = report["start"], without_places(report["recipe"])
    if start["commit"].startswith("folder-"):  # as `checkpoint_revision` says it of a folder
        start, recipe = start | {"name": "a checkpoint in a folder", "commit": ""}, recipe | {"model": recipe["model"] | {"name": NOT_TOLD}}
    made_up = report["hallucinations"]
    names: dict[str, str] = {}

    def renamed(clips: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [clip | {"id": names.setdefault(clip["id"], f"clip {len(names) + 1}")} for clip in clips]

    worst = renamed(report["worst"])
    told = {"start": start, "recipe": recipe, "worst": worst}
    return report | told | {"hallucinations": {side: each | {"clips": renamed(each["clips"])} for side, each in made_up.items()}}


def without_places(value: Any) -> Any:
    """Return JSON values of a recipe without folders and addresses; ids of the Hub stay."""
    if isinstance(value, list):
        return [without_places(each) for each in value]
    if not isinstance(value, dict):
        return value
    hidden = PLACES.get(value.get("kind", ""), ())
    found = {key: NOT_TOLD if key in hidden and each else without_places(each) for key, each in value.items()}
    if value.get("kind") in ("hub", "pretrained") and not HUB_ID.fullmatch(value["name"]):
        found["name"] = NOT_TOLD
    return found
