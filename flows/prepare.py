"""Prepare: from a corpus to sealed shards of log-Mel features. CPU work."""

import os
from typing import Any

from prefect import flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.contracts.recipe import Recipe
from tasks.corpora import revision
from tasks.download import download
from tasks.index import index
from tasks.log_mel import log_mel
from tasks.policy import store_of
from tasks.resample import resample
from tasks.shard import shard
from tasks.shards.manifest import parts_of
from tasks.start import fit_of, start

THREADS: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)  # the libraries' C code lets go of the GIL


@flow(flow_run_name="prepare-{recipe.name}", task_runner=THREADS, persist_result=False)
def prepare(recipe: Recipe) -> tuple[str, str]:
    """Turn a corpus into shards that fit the recipe's model, and return the keys of the starting model and the data set.

    Args:
        recipe: Everything this run can be told.
    """
    root = store_of(recipe)
    corpus = download(root, recipe.corpus, revision(recipe.corpus))
    manifest = index(root, corpus, recipe.splits)
    parts = parts_of(manifest)
    audio = resample.map(unmapped(root), parts).result()
    model = start(root, recipe.model, recipe.language, recipe.training.seed, manifest)
    sound = {"n_mels": model.facts["n_mels"], "window": model.facts["window"], "dtype": recipe.features.dtype}
    features = log_mel.map(unmapped(root), parts, [part.words for part in parts], audio, **sound).result()
    dataset = shard(root, manifest, audio, features, fit_of(model), recipe.language, recipe.splits.max_rejected)
    return model.key, dataset.key
