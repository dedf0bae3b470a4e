"""Train without Prefect: `python -m tasks.model STORE START DATASET SETTINGS.json`; keys of sealed artifacts, and all settings as JSON.

For a machine that has torch and transformers and little else; on several GPUs of one machine as `python -m torch.distributed.run
--standalone --nproc-per-node N -m tasks.model ...`, which is also how the step `train` uses them. The checkpoint is sealed as that step
would, under a key of its own. Without the normaliser's libraries WER is a plain edit distance over words.
"""

import json
import logging
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tasks.contracts.errors import ViskaError
from tasks.contracts.values import fingerprint
from tasks.model.events import Events
from tasks.model.fit import fit, with_rate
from tasks.model.launch import Telling
from tasks.model.loop import Wer
from tasks.model.signals import Stopped
from tasks.model.watch import Bar, all_of
from tasks.store.artifacts import Draft, load
from tasks.store.objects import Store

log = logging.getLogger(__name__)


def main(root: str, start: str, dataset: str, settings: str, key: str = "", telling: str = "") -> int:
    """Train, seal the checkpoint and log where it is.

    Args:
        root: of the store.
        start: key of the sealed model.
        dataset: key of the sealed data set.
        settings: JSON file of every field of the recipe's training section, and a language.
        key: of the training, if another process seals it: the one that reads what is told in the folder `telling`.
        telling: that folder.
    """
    logging.basicConfig(level=logging.INFO if rank_of_torchrun() == 0 else logging.WARNING, format="%(asctime)s %(message)s")
    store, told = Store(root), json.loads(Path(settings).read_text())
    language = told.pop("language")
    training: Any = Settings(told)
    draft = Draft(store, "checkpoint", key or fingerprint(["without prefect", start, dataset, language, training.identity()]))
    teller = Telling(Path(telling)) if telling else None
    inputs = load(store, "model", start), load(store, "dataset", dataset), language, training
    try:
        with Bar() as bar, Events(store, draft.key, with_rate(training, inputs[0])) as events:
            facts = fit(draft, *inputs, error_rate(), teller or all_of(bar, events))
    except Stopped as stopped:
        log.warning("%s", stopped)
        if teller:
            teller.end(stopped=str(stopped))
        return 128 + signal.SIGTERM
    except ViskaError as error:
        log.error("%s", error)
        if teller:
            teller.end(refused=str(error))
        return 2
    if draft.files and teller:
        teller.end(facts=facts, files=[asdict(file) for file in draft.files.values()])
    elif draft.files:  # of process 0
        checkpoint = draft.seal(facts, told)
        log.info("sealed %s: %s", store.uri(f"checkpoint/{checkpoint.key}"), facts)
    return 0


def rank_of_torchrun() -> int:
    """Return the number of this process before it has joined the others."""
    return int(os.environ.get("RANK", 0))


def error_rate() -> Wer:
    """Return the WER that scores are made with, or a plain one where its libraries are not installed."""
    try:
        from tasks.scoring.rates import word_error_rate  # here: a machine with a GPU may have no jiwer
    except ImportError:
        return word_errors
    return word_error_rate


class Settings(SimpleNamespace):
    """The recipe's section, where pydantic is not installed: the same fields by the same names."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(**{name: SimpleNamespace(**value) if isinstance(value, dict) else value for name, value in told.items()})
        self._told = told

    def identity(self) -> dict[str, Any]:
        """Stand for this in a fingerprint, as the recipe's section does."""
        return {name: value for name, value in self._told.items() if name != "checkpoints"}


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
    sys.exit(main(*sys.argv[1:]))
