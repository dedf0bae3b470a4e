"""Run a flow from the command line: embedded unless PREFECT_API_URL names a server, and say in the end what came of it."""

import contextlib
import importlib
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.server import Server, named_server
from tasks.contracts.errors import ViskaError
from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact
from tasks.shards.plan import SPLITS
from tasks.store.objects import Store


def run_flow(name: str, recipe: Recipe, **options: Any) -> tuple[str, ...]:
    """Run the flow called `name`, print its closing words, and return its result."""
    began = time.monotonic()
    server = None if named_server() else Server()
    if server and recipe.prepare.dask:
        from tasks.policy import need_server

        need_server(recipe.prepare.dask)
    if server:
        server.start()
        # Before Prefect is imported, which reads them then.
        os.environ |= {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": server.password}
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from tasks.policy import cached, made

    for logger in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(logger).addFilter(_without_traceback)
    if server:
        server.wait()
    # Who would miss the heartbeats of a run on its own server? Each flow would wait a second for them at its end.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) if server else contextlib.nullcontext():
        state = flow(recipe, **options, return_state=True)
    result: tuple[str, ...] = state.result()  # raises what the flow has raised
    if state.name not in ("Completed", "Released"):  # what was released, the closing words tell
        print(f"{re.sub('(?<=.)(?=[A-Z])', ' ', state.name).lower():7} {state.message}")
    for line in _closing_words(name, recipe, result):
        print(line)
    print(f"{sum(made.values())} steps done, {sum(cached.values())} found in the store, in {time.monotonic() - began:.0f} s")
    return result


def _without_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback off a refusal: its message says what to do, and where in the code it was said helps nobody."""
    if record.exc_info and isinstance(record.exc_info[1], ViskaError):
        record.exc_info = record.exc_text = None
    return True


def _closing_words(name: str, recipe: Recipe, result: tuple[str, ...]) -> Iterator[str]:
    from tasks.policy import sealed, store_of

    root = store_of(recipe)
    if name == "prepare":
        yield from _describe_data(root, sealed(root, "dataset", result[1]))
    if name == "train":
        yield f"key     {result[0]}, in the store {root}"
    if name == "audit":
        suspects = sealed(root, "audit", result[0])
        yield f"labels  {suspects.facts['n_suspects']} of {suspects.facts['n_clips']} have something against them"
        yield f"list    {_at(root, suspects, 'suspects.jsonl')}"
    if name == "sweep":
        from tasks.sweep import describe

        yield from describe(root, sealed(root, "search", result[0]))
    if name in ("train", "sweep", "release", "retrain"):
        yield from _describe_scores(root, sealed(root, "report", result[-1]))
    if name in ("release", "retrain", "rollback") and result[0]:
        yield f"model   {result[0]}"
        if Path(result[0]).exists():
            yield f"demo    viska demo {os.path.relpath(result[0])}"


def _describe_data(root: str, dataset: Artifact) -> Iterator[str]:
    splits = ", ".join(f"{dataset.facts['splits'][split]} {split}" for split in SPLITS)
    yield f"clips   {splits}; {dataset.facts['n_rejected']} in quarantine"
    yield f"shards  {len(dataset.facts['shards'])} with {dataset.facts['n_bytes'] / 1e6:.1f} MB"
    yield f"index   {_at(root, dataset, 'index.parquet')}"
    yield f"key     {dataset.key}, in the store {root}"


def _describe_scores(root: str, report: Artifact) -> Iterator[str]:
    from tasks.scoring.summary import limits

    facts = report.facts
    for key, title in (("wer", "WER"), ("cer", "CER")):
        before, after, gain = facts["before"][key], facts["after"][key], facts["gain"][key]
        yield (
            f"{title}     {100 * before['value']:.1f} % before, {100 * after['value']:.1f} % after {limits(after)}; "
            f"gain {100 * gain['value']:.1f} points {limits(gain)}, {facts['n_clips']} test clips, {facts['normaliser']}"
        )
    yield f"report  {report.key}, {_at(root, report, 'report.html')}"


def _at(root: str, artifact: Artifact, name: str) -> str:
    return Store(root).uri(artifact.file(name).path)
