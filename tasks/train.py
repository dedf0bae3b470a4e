"""Train: shards to a checkpoint. Safe to kill: it goes on from the last whole checkpoint, on any machine that sees the store."""

from typing import Any

from tasks.contracts.recipe import Training
from tasks.contracts.values import Artifact
from tasks.model.fit import fit
from tasks.model.loop import usual_rate
from tasks.policy import step
from tasks.scoring.rates import word_error_rate
from tasks.store.artifacts import Draft


@step("checkpoint", version=1, task_run_name="train-{training.steps}-steps")
def train_model(draft: Draft, start: Artifact, dataset: Artifact, language: str, training: Training) -> dict[str, Any]:
    """Train `start` on the data set's train split and keep the checkpoint with the lowest dev WER."""
    if not training.learning_rate:
        training = training.model_copy(update={"learning_rate": usual_rate(start.facts["width"], start.facts["is_new"])})
    return fit(draft, start, dataset, language, training, word_error_rate)
