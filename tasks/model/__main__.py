"""Train without Prefect: `python -m tasks.model STORE START DATASET SETTINGS.json`; keys of sealed artifacts, and all settings as JSON.

For a machine that has torch and transformers and little else. The checkpoint is sealed in the store as the step `train` would, under a key
of its own. WER here is a plain edit distance over words, without the normaliser's libraries.
"""

import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

from tasks.contracts.values import fingerprint
from tasks.model.fit import fit
from tasks.store.artifacts import Draft, load
from tasks.store.objects import Store


def main(root: str, start: str, dataset: str, settings: str) -> None:
    """Train, seal the checkpoint and log where it is. `settings` holds every field of the recipe's training section, and a language."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    store, told = Store(root), json.loads(Path(settings).read_text())
    language = told.pop("language")
    draft = Draft(store, "checkpoint", fingerprint(["without prefect", start, dataset, language, told]))
    facts = fit(draft, load(store, "model", start), load(store, "dataset", dataset), language, SimpleNamespace(**told), word_errors)  # type: ignore[arg-type]
    checkpoint = draft.seal(facts, told)
    logging.getLogger(__name__).info("sealed %s: %s", store.uri(f"checkpoint/{checkpoint.key}"), facts)


def word_errors(references: list[str], hypotheses: list[str]) -> float:
    """Return the sum of word edits over the sum of reference words, in lower case."""
    n_edits = sum(_distance(each.lower().split(), other.lower().split()) for each, other in zip(references, hypotheses, strict=True))
    return n_edits / max(1, sum(len(each.split()) for each in references))


def _distance(said: list[str], heard: list[str]) -> int:
    """Levenshtein's distance, a row at a time."""
    row = list(range(len(heard) + 1))
    for place, word in enumerate(said, start=1):
        before, row[0] = row[0], place
        for other, candidate in enumerate(heard, start=1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (word != candidate))
    return row[-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
