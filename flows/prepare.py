"""Prepare: from a corpus to sealed shards of log-Mel features. CPU work."""

import os
from typing import Any

from prefect import flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.contracts.recipe import Recipe
from tasks.corpora.choose import rules_of
from tasks.index import corpus_of, freeze, index, test_of
from tasks.log_mel import log_mel
from tasks.plan import in_order, plan
from tasks.policy import mapped_on, store_of
from tasks.resample import resample
from tasks.shard import shard, show_data
from tasks.start import fit_of, start

THREADS: Any = ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)  # the libraries' C code lets go of the GIL


@flow(flow_run_name="prepare-{recipe.name}", task_runner=THREADS, persist_result=False)
def prepare(recipe: Recipe, compact: bool = False) -> tuple[str, str]:
    """Turn a corpus into shards that fit the recipe's model, and return the keys of the starting model and the data set.

    Args:
        recipe: Everything this run can be told.
        compact: Copy shards of which little is used together.
    """
    root = store_of(recipe)
    corpus = corpus_of(root, recipe.corpus, recipe.test_name)
    rules = rules_of(recipe)
    test = test_of(root, recipe.test_name, corpus, rules)
    manifest = index(root, corpus, test, rules)
    parts = plan(root, corpus, manifest, compact)
    model = start(root, recipe.model, recipe.token, recipe.training.seed, manifest, recipe.language_token == "new")
    n_mels, window = model.facts["n_mels"], model.facts["window"]
    with mapped_on(recipe.prepare.dask):
        audio = resample.map(unmapped(root), parts).result()
        features = log_mel.map(unmapped(root), parts, audio, n_mels, window, recipe.features.dtype).result()
    dataset = shard(root, manifest, *in_order(audio, features), fit_of(model), recipe.token, recipe.gates, window)
    show_data(root, dataset)
    test = freeze(root, recipe.test_name, test, dataset, recipe.splits.may_miss)
    return model.key, dataset.key
