"""What each command of the command line does. Heavy modules are imported where they are needed, so that --help need not wait for them."""

import argparse
import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from flows.flags import told, told_to_sweep
from tasks.contracts.errors import RecipeError
from tasks.contracts.recipe import Recipe


def plan(options: argparse.Namespace) -> int:
    from flows.foresight import foresee  # here: pyarrow takes a while to import

    for line in foresee(told(options), options.device, options.price):
        print(line)
    return 0


def run_flow(options: argparse.Namespace) -> int:
    """Run a flow and say in the end what was done, what was found, and where to look."""
    recipe = told(options)
    from flows.run import run_flow  # here: Prefect takes a second to import, which --help need not wait for

    run_flow(options.flow, recipe, **({"compact": True} if getattr(options, "compact", False) else {}))
    return 0


def sweep(options: argparse.Namespace) -> int:
    """Try other settings, and say which are the best."""
    recipe, search = told_to_sweep(options)
    from flows.run import run_flow  # here: as above

    run_flow("sweep", recipe, search=search)
    return 0


def audit(options: argparse.Namespace) -> int:
    """List the labels that are probably wrong, and open the page on which they are judged."""
    recipe = told(options)
    if bool(options.checkpoint) != bool(options.dataset):
        raise RecipeError("--checkpoint and --dataset go together: which model listens, and to which clips")
    from flows.run import run_flow  # here: as above

    audit, dataset = run_flow("audit", recipe, checkpoint=options.checkpoint, dataset=options.dataset)
    if options.list:
        return 0
    from tasks.corrections.desk import Desk
    from tasks.corrections.page import serve  # here: Gradio takes seconds to import
    from tasks.policy import sealed, store_of
    from tasks.store.objects import Store

    root = store_of(recipe)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve(Desk(Store(root), recipe.name, sealed(root, "audit", audit), sealed(root, "dataset", dataset)), options.host, options.port)
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Make an older release the current one."""
    recipe = told(options)
    from flows.run import run_flow  # here: as above

    run_flow("rollback", recipe, version=options.version, comment=options.comment)
    return 0


def answer(options: argparse.Namespace) -> int:
    """Keep what a person decided; the next run of the recipe goes on from there."""
    from tasks.approve import answered
    from tasks.policy import store_of
    from tasks.store.objects import Store

    given = answered(Store(store_of(Recipe(store=options.store))), options.question, options.decision, options.comment)
    print(f"{given.decision} at {given.at}; run the recipe again, or resume its suspended run")
    return 0


def deploy(options: argparse.Namespace) -> int:
    """Register the recipe on the server, and say how it is started."""
    recipe = told(options)
    from flows.deploy import deploy  # here: as above

    print("\n".join(deploy(recipe, options.cron, options.timezone, options.pool)))
    return 0


def arrived(options: argparse.Namespace) -> int:
    """Tell the server that there are new recordings."""
    from flows.deploy import arrived  # here: as above

    print(arrived(options.name))
    return 0


def transcribe(options: argparse.Namespace) -> int:
    from tasks.contracts.errors import AudioError
    from tasks.model.transcribe import open_model, transcribe  # here: torch takes seconds to import

    whisper = open_model(options.model, options.language)
    failed = 0
    for file in options.files:
        try:
            if not Path(file).is_file():
                raise AudioError("no such file")
            segments = transcribe(whisper, Path(file).read_bytes())
            if options.times:
                for segment in segments:
                    print(f"{file}\t{segment.start:.2f}\t{segment.end:.2f}\t{segment.text}", flush=True)
            else:
                text = " ".join(segment.text for segment in segments)
                print(f"{file}\t{text}" if len(options.files) > 1 else text, flush=True)
        except AudioError as error:
            print(f"viska: {file}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def runs(options: argparse.Namespace) -> int:
    from tasks.policy import store_of
    from tasks.scoring.past import as_lines, past_runs
    from tasks.store.objects import Store

    store = Store(store_of(Recipe(store=options.store)))
    found = past_runs(store, options.name, options.verdict, options.since)
    if options.json:
        print(json.dumps([asdict(each) for each in found], indent=1, ensure_ascii=False))
    else:
        print("\n".join(as_lines(found)) if found else f"no such run has a report at {store.uri('report')}")
    return 0


def compare(options: argparse.Namespace) -> int:
    from tasks.policy import store_of
    from tasks.scoring.html import render_comparison  # here: jiwer and pyarrow take a while to import
    from tasks.scoring.runs import compare_runs
    from tasks.scoring.summary import comparison_lines
    from tasks.store.objects import Store

    reports, pairs = compare_runs(Store(store_of(Recipe(store=options.store))), options.runs)
    if options.json:
        print(json.dumps({"runs": reports, "pairs": pairs}, indent=1, ensure_ascii=False))
        return 0
    Path(options.page).write_text(render_comparison(reports, pairs), encoding="utf-8")
    print("\n".join([*comparison_lines(reports, pairs), f"page    {Path(options.page).absolute()}"]))
    return 0


def prune(options: argparse.Namespace) -> int:
    from tasks.policy import store_of
    from tasks.store.objects import Store
    from tasks.store.prune import leftovers

    store = Store(store_of(Recipe(store=options.store)))
    found = leftovers(store, options.older_than * 3600, options.forget)
    for each in found:
        print(f"{each.n_bytes:>14,}  {each.path}  ({each.why})")
        if options.remove:
            store.delete(each.path)
    done = "removed" if options.remove else "can go; --remove removes them"
    print(f"{len(found)} objects with {sum(each.n_bytes for each in found) / 1e6:.1f} MB {done}")
    return 0


def demo(options: argparse.Namespace) -> int:
    """Open the page on which people try a model, or withdraw what a visitor sent from there."""
    from tasks.hub.space.app import serve  # here: Gradio takes seconds to import
    from tasks.hub.space.keep import Keeper, withdraw
    from tasks.model.transcribe import open_model
    from tasks.policy import store_of
    from tasks.store.objects import Store

    store = Store(store_of(Recipe(store=options.store)))
    if options.withdraw:
        print(f"{withdraw(store, options.keep, options.withdraw)} corrections withdrawn from {store.uri(f'visitors/{options.keep}')}")
        return 0
    logging.getLogger("httpx").setLevel(logging.WARNING)
    model = Path(options.model).resolve()
    name = (model.parent.name if model.is_dir() else options.model).split("/")[-1]
    whisper = open_model(options.model, options.language)
    base = open_model(options.base, whisper.language) if options.base else None
    keep = Keeper(store, options.keep) if options.keep else None
    serve(whisper, name, options.host, options.port, base, options.base.rstrip("/").split("/")[-1], keep)
    return 0
