"""Several corpora as one: the parts of a mix one after the other, with ids and speakers of their own."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from tasks.contracts.corpora import MixCorpus, MixPart
from tasks.contracts.errors import CorpusError
from tasks.contracts.values import Reject
from tasks.corpora import Recording, source
from tasks.corpora import recordings as read

HOLDS_MORE = True  # if a part does


def revision(spec: MixCorpus) -> Any:
    """Return the revision of each part, by its name."""
    return {part.name: source(part.corpus.kind).revision(part.corpus) for part in spec.parts}


def recordings(spec: MixCorpus, also: Collection[str] = ()) -> Iterator[Recording | Reject]:
    """Yield every row of every part, and those of `also` that a part holds.

    Raises:
        CorpusError: of a part, with its name.
    """
    for part in spec.parts:
        try:
            start = f"{part.name}/"
            for row in read(part.corpus, [id.removeprefix(start) for id in also if id.startswith(start)]):
                yield replace(row, id=f"{part.name}/{row.id}") if isinstance(row, Reject) else _of_part(row, part)
        except CorpusError as error:
            raise CorpusError(f"part {part.name!r}: {error}") from error


def _of_part(row: Recording, part: MixPart) -> Recording:
    about = row.about | {"corpus": part.name} | ({"licence": part.licence} if part.licence else {})
    return replace(
        row,
        id=f"{part.name}/{row.id}",
        speaker=row.speaker and f"{part.name}/{row.speaker}",  # another corpus' speaker 7 is somebody else
        split="train" if part.use == "train" else row.split,
        language=row.language or part.language,
        weight=part.weight,
        about=about,
    )
