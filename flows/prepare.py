"""Prepare: from a corpus to sealed shards of log-Mel features. CPU work."""

import os
from dataclasses import replace
from typing import Any

from prefect import flow, unmapped
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact
from tasks.corpora.choose import Rules, rules_of
from tasks.index import corpus_of, corrections_of, freeze, index, test_of
from tasks.log_mel import log_mel
from tasks.plan import in_order, plan
from tasks.policy import mapped_on, sealed, store_of
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
    corpus, test, manifest = _choose(root, recipe, rules_of(recipe))
    model = start(root, recipe.model, recipe.token, recipe.training.seed, manifest, recipe.language_token == "new")
    dataset = _build(root, recipe, corpus, test, manifest, model, compact)
    show_data(root, dataset)
    return model.key, dataset.key


@flow(flow_run_name="prepare-others-of-{recipe.name}", task_runner=THREADS, persist_result=False)
def prepare_others(recipe: Recipe, start: str) -> list[str]:
    """Turn the recipe's further tests into shards that fit its model, and return the keys of their data sets.

    Args:
        recipe: Everything this run can be told.
        start: Key of the sealed model that training starts from.
    """
    root = store_of(recipe)
    model = sealed(root, "model", start)
    return [_prepare_other(root, recipe.about(each), model).key for each in recipe.scoring.others]


def prepare_all(recipe: Recipe) -> tuple[str, str, list[str]]:
    """Return the keys of the starting model, the data set, and the data sets of the further tests."""
    start, dataset = prepare(recipe)
    return start, dataset, prepare_others(recipe, start) if recipe.scoring.others else []


def _prepare_other(root: str, recipe: Recipe, model: Artifact) -> Artifact:
    return _build(root, recipe, *_choose(root, recipe, replace(rules_of(recipe), only_test=True)), model)


def _choose(root: str, recipe: Recipe, rules: Rules) -> tuple[Artifact, Artifact, Artifact]:
    """Return the corpus, its frozen test, and the manifest of the clips that are used."""
    corpus = corpus_of(root, recipe.corpus, recipe.test_name)
    corrections = corrections_of(root, recipe.name)
    test = test_of(root, recipe.test_name, corpus, rules, corrections)
    return corpus, test, index(root, corpus, test, rules, corrections)


def _build(
    root: str, recipe: Recipe, corpus: Artifact, test: Artifact, manifest: Artifact, model: Artifact, compact: bool = False
) -> Artifact:  # fmt: skip
    """Return the data set of a manifest's clips, with features that fit the model."""
    parts = plan(root, corpus, manifest, compact)
    n_mels, window = model.facts["n_mels"], model.facts["window"]
    with mapped_on(recipe.prepare.dask):
        audio = resample.map(unmapped(root), parts).result()
        features = log_mel.map(unmapped(root), parts, audio, n_mels, window, recipe.features.dtype).result()
    dataset = shard(root, manifest, *in_order(audio, features), fit_of(model), recipe.token, recipe.gates, window)
    freeze(root, recipe.test_name, test, dataset, recipe.splits.may_miss)
    return dataset
