"""Train: shards to a checkpoint. Safe to kill: it goes on from the last whole checkpoint, on any machine that sees the store."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from tasks.contracts.recipe import Training
from tasks.contracts.release import HUB
from tasks.contracts.values import Artifact
from tasks.hub.mirror import Mirror
from tasks.model.fit import fit, with_rate
from tasks.model.launch import fit_on_all
from tasks.model.loop import Moment
from tasks.model.watch import all_of
from tasks.policy import step
from tasks.scoring.rates import word_error_rate
from tasks.store.artifacts import Draft
from tasks.watch import Watch


@step("checkpoint", version=2, neutral=("also",), task_run_name="train-{training.steps}-steps")
def train_model(
    draft: Draft, start: Artifact, dataset: Artifact, language: str, training: Training, also: Callable[[Moment], None] | None = None
) -> dict[str, Any]:
    """Train `start` on the data set's train split and keep the checkpoint with the lowest dev WER; `also` watches, and may end it."""
    with Watch(draft.store, draft.key, with_rate(training, start)) as shown, _mirror(draft, training) as mirror:
        watch = all_of(*(each for each in (shown, mirror, also) if each))
        if torch.cuda.device_count() > 1:
            return fit_on_all(draft, start, dataset, language, training, watch, torch.cuda.device_count())
        return fit(draft, start, dataset, language, training, word_error_rate, watch)


def _mirror(draft: Draft, training: Training) -> AbstractContextManager[Mirror | None]:
    repository = training.checkpoints.mirror.removeprefix(HUB)
    return Mirror(draft.store, draft.key, repository) if repository else nullcontext()
