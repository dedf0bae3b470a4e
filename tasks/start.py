"""Start: fetch the model that training starts from, or make a new one; and say what data must fit it."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tasks.contracts.recipe import Model, Pretrained, Scratch, Trained
from tasks.contracts.values import HISTORY, Artifact
from tasks.model.shape import read_shape
from tasks.model.start import checkpoint_files, checkpoint_revision, locate_checkpoint, new_checkpoint
from tasks.policy import step
from tasks.store.artifacts import Draft, fetch, fetch_file, load
from tasks.store.objects import Store


@dataclass(frozen=True)
class Fit:
    """What the labels of a model must fit. Its weights are not part of that, so other weights need no other data."""

    tokenizer: str  # SHA-256 of its file
    max_tokens: int
    multilingual: bool
    model: Artifact  # where the tokenizer lies

    def identity(self) -> list[Any]:
        """Stand for this in the fingerprint of a step that reads it."""
        return [self.tokenizer, self.max_tokens, self.multilingual]


def fit_of(model: Artifact) -> Fit:
    """Return what labels must fit to be used with `model`."""
    return Fit(model.file("tokenizer.json").sha256, model.facts["max_tokens"], model.facts["multilingual"], model)


def start(root: str, model: Model, language: str, seed: int, manifest: Artifact, is_added: bool = False) -> Artifact:
    """Return the model to start from: the recipe's checkpoint, or a new one with a tokenizer for the manifest's texts.

    Args:
        root: of the store.
        model: the recipe's section.
        language: in whose token the labels are written.
        seed: of new weights.
        manifest: the clips.
        is_added: the checkpoint has no token for the language, and gets one.
    """
    if isinstance(model, Trained):
        return take_over(root, load(Store(root), "checkpoint", model.checkpoint))
    if isinstance(model, Pretrained):
        commit = checkpoint_revision(model.name, model.revision)
        return fetch_and_add(root, model, commit, language) if is_added else fetch_model(root, model, commit)
    return new_model(root, model, language, seed, manifest.facts["training_words"], manifest)


@step("model", version=1, task_run_name="fetch-{model.name}")
def fetch_model(draft: Draft, model: Pretrained, commit: str) -> dict[str, Any]:
    """Copy a checkpoint into the store, at one commit."""
    return _write(draft, _locate(model, commit)) | {"name": model.name, "commit": commit, "is_new": False}


@step("model", version=1, task_run_name="fetch-{model.name}-and-add-{language}")
def fetch_and_add(draft: Draft, model: Pretrained, commit: str, language: str) -> dict[str, Any]:
    """Copy a checkpoint into the store, at one commit, with a token for a language that Whisper does not know."""
    from tasks.model.whisper import add_language  # here: it loads the model's code, which few runs need to prepare

    with tempfile.TemporaryDirectory() as folder:
        add_language(_locate(model, commit), Path(folder), language)
        return _write(draft, Path(folder)) | {"name": model.name, "commit": commit, "is_new": False, "added": language}


@step("model", version=1)
def take_over(draft: Draft, checkpoint: Artifact) -> dict[str, Any]:
    """Take the weights of an earlier training; its files are shared, not copied."""
    shape = read_shape(fetch(draft.store, checkpoint))
    for file in checkpoint.files:
        if file.name != HISTORY:
            draft.adopt(file)
    facts = {"name": f"checkpoint {checkpoint.key}", "commit": checkpoint.key, "is_new": False}
    return asdict(shape) | {"window": shape.window} | facts


@step("model", version=2, neutral=("manifest",))
def new_model(draft: Draft, model: Scratch, language: str, seed: int, words: str, manifest: Artifact) -> dict[str, Any]:
    """Make a small Whisper with random weights and a tokenizer learnt from the training texts, whose fingerprint is `words`."""
    path = fetch_file(draft.store, manifest.file("manifest.parquet"))
    texts = pq.read_table(path, columns=["text"], filters=[("split", "=", "train")])["text"].to_pylist()
    with tempfile.TemporaryDirectory() as folder:
        new_checkpoint(Path(folder), texts, language=language, seed=seed, **model.model_dump(exclude={"kind"}))
        return _write(draft, Path(folder)) | {"name": "a new model", "commit": "", "is_new": True}


def _locate(model: Pretrained, commit: str) -> Path:
    return locate_checkpoint(model.name, commit if commit.isalnum() else model.revision)


def _write(draft: Draft, folder: Path) -> dict[str, Any]:
    shape = read_shape(folder)
    for name, path in checkpoint_files(folder).items():
        draft.write(name, path)
    return asdict(shape) | {"window": shape.window}
