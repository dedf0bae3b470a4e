"""The command line: `viska retrain --recipe FILE --training.steps 400`. Its flags are the fields of the recipe, read from the model itself.

    viska prepare | train | release | retrain     run a flow, here, or on the server that PREFECT_API_URL names
    viska plan                                    what a run would use and take, before anything heavy runs
    viska audit                                   labels that are probably wrong, on a page to judge them
    viska compare RUN RUN...                      runs side by side, with the interval of each difference, as a page
    viska prune                                   list what no data set needs, or remove it
    viska transcribe MODEL FILE...                print the words of recordings
    viska demo MODEL                              open the Gradio app

Errors that viska means are one message and exit code 2, a network that does not answer is one and 1; anything else shows its traceback.
"""

import argparse
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.contracts.errors import RecipeError, ViskaError
from tasks.contracts.recipe import Recipe, read_recipe

FLOWS = {
    "prepare": "corpus to sealed shards of log-Mel features",
    "train": "shards to a checkpoint, scored before and after",
    "release": "checkpoint and report to a model page with a demo",
    "retrain": "the three in order; what is done already is not repeated",
}
NUMBER = re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$")
QUIET = {  # Prefect's own lines away, the steps' lines short; each can be set otherwise in the environment
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "INFO",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s %(flow_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s   %(task_run_name)s: %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",  # the temporary server is told to stop mid-sentence, and complains
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        return code
    except ViskaError as error:
        print(f"viska: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of `viska plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ConnectionError as error:  # tried again already; where in the code it gave up helps nobody
        print(f"viska: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("viska: interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="viska", description="Retrain Whisper for a language, a domain or a team's own voices.",
                                     epilog="viska COMMAND --help lists the flags of a command.")  # fmt: skip
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, help in FLOWS.items():
        command = commands.add_parser(name, help=help, description=f"viska {name}: {help}.", argument_default=argparse.SUPPRESS,
                                      usage=f"viska {name} [--recipe FILE] [--FIELD VALUE ...]")  # fmt: skip
        _add_recipe(command)
        command.set_defaults(run=_run_flow, flow=name)
        if name == "prepare":
            command.add_argument("--compact", action="store_true", help="copy shards of which little is used together")
    words = "which clips a recipe would use, why not the others, and what a run would take"
    command = commands.add_parser("plan", help=f"{words}; nothing is written into the store", description=f"viska plan: {words}.",
                                  argument_default=argparse.SUPPRESS,
                                  usage="viska plan [--recipe FILE] [--device NAME] [--price X] [--FIELD VALUE ...]")  # fmt: skip
    _add_recipe(command)
    command.add_argument("--device", default="cpu", help="where it would train: cpu, T4, L4, A100-40, H100, H200, ...; default cpu")
    command.add_argument("--price", type=float, default=None, metavar="X", help="of an hour on the device, in any currency")
    command.set_defaults(run=_plan)
    words = "rank the labels that are probably wrong, and open a page to judge them"
    command = commands.add_parser("audit", help=words, description=f"viska audit: {words}.", argument_default=argparse.SUPPRESS,
                                  usage="viska audit [--recipe FILE] [--checkpoint KEY --dataset KEY] [--list] [--FIELD X]")  # fmt: skip
    _add_recipe(command)
    command.add_argument("--checkpoint", default="", metavar="KEY", help="which listens; default: the recipe's, trained first")
    command.add_argument("--dataset", default="", metavar="KEY", help="to which it listens; default: the recipe's")
    command.add_argument("--list", action="store_true", default=False, help="write the list and open no page")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine only: it asks for no password")
    command.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    command.set_defaults(run=_audit)
    command = commands.add_parser("compare", help="compare runs with the first of them, with the interval of each difference")
    command.add_argument(
        "runs", metavar="RUN", nargs="+", help="key of a report or a checkpoint, as viska train prints it, or a run's name"
    )
    command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument("--page", default="comparison.html", metavar="FILE", help="where the page is written; default comparison.html")
    command.add_argument("--json", action="store_true", help="print JSON and write no page")
    command.set_defaults(run=_compare)
    command = commands.add_parser("prune", help="list prepared data that no data set refers to, or remove it")
    command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument(
        "--older-than", type=float, default=24.0, metavar="HOURS", help="leave younger objects, a run may need them; default 24"
    )
    command.add_argument(
        "--forget", nargs="+", default=[], metavar="KEY", help="data sets that are not wanted any more, with what only they need"
    )
    command.add_argument("--remove", action="store_true", help="remove them; without it they are only listed")
    command.set_defaults(run=_prune)
    command = commands.add_parser("transcribe", help="print the words of recordings")
    command.add_argument("model", metavar="MODEL", help="a folder, such as STORE/models/NAME/latest, or a Hub id")
    command.add_argument("files", metavar="FILE", nargs="+", help="recordings of any format and length")
    command.add_argument("--language", default="", help="what is spoken; default: what the model says")
    command.add_argument("--times", action="store_true", help="a line per piece, with its seconds")
    command.set_defaults(run=_transcribe)
    command = commands.add_parser("demo", help="open the Gradio app: microphone and upload")
    command.add_argument("model", metavar="MODEL", help="a folder, or a Hub id")
    command.add_argument("--language", default="", help="what is spoken; default: what the model says")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine only")
    command.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    command.set_defaults(run=_demo)
    return parser


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("--recipe", metavar="FILE", help="settings as YAML; flags come on top of it")
    for path, field in _fields(Recipe).items():
        command.add_argument(f"--{path}", dest=path, metavar=_kind(field), help=_help(field), type=_value)


def _told(options: argparse.Namespace) -> Recipe:
    flags = {path: value for path, value in vars(options).items() if path in _fields(Recipe)}
    return recipe_from(getattr(options, "recipe", ""), flags)


def _plan(options: argparse.Namespace) -> int:
    from flows.foresight import foresee  # here: pyarrow takes a while to import

    for line in foresee(_told(options), options.device, options.price):
        print(line)
    return 0


def _run_flow(options: argparse.Namespace) -> int:
    """Run a flow and say in the end what was done, what was found, and where to look."""
    recipe = _told(options)
    from flows.run import run_flow  # here: Prefect takes a second to import, which --help need not wait for

    run_flow(options.flow, recipe, **({"compact": True} if getattr(options, "compact", False) else {}))
    return 0


def _audit(options: argparse.Namespace) -> int:
    """List the labels that are probably wrong, and open the page on which they are judged."""
    recipe = _told(options)
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


def recipe_from(file: str, flags: dict[str, Any]) -> Recipe:
    """Return the recipe of a YAML file with flags on top; a flag of a section's field keeps the section's kind.

    Raises:
        RecipeError: naming the field, what was got and what is allowed.
    """
    values: dict[str, Any] = {}
    if file:
        try:
            values = yaml.safe_load(Path(file).read_text()) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise RecipeError(f"recipe {file}: {error}") from error
        if not isinstance(values, dict):
            raise RecipeError(f"recipe {file}: a {type(values).__name__}, expected settings by name")
    for path, value in sorted(flags.items(), key=lambda flag: not flag[0].endswith(".kind")):
        values = _with(values, path.split("."), value)
    return read_recipe(values)


def _with(values: Any, path: list[str], value: Any, above: str = "") -> Any:
    """Return nested values with the one at `path` set; what is no section where one is meant is left to be refused, with its path."""
    first, *rest = path
    if not isinstance(values, dict):
        return values
    if not rest:
        if first == "kind" and values.get("kind") != value:
            return {"kind": value}  # another kind has other fields
        return values | {first: value}
    inner = values.get(first) or (_default_kind(first) if not above else {})
    return values | {first: _with(inner, rest, value, first)}


def _default_kind(section: str) -> dict[str, Any]:
    kind = getattr(getattr(Recipe(), section, None), "kind", None)
    return {"kind": kind} if kind else {}


def _transcribe(options: argparse.Namespace) -> int:
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


def _compare(options: argparse.Namespace) -> int:
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


def _prune(options: argparse.Namespace) -> int:
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


def _demo(options: argparse.Namespace) -> int:
    from tasks.hub.space.app import serve  # here: Gradio takes seconds to import
    from tasks.model.transcribe import open_model

    logging.getLogger("httpx").setLevel(logging.WARNING)
    model = Path(options.model).resolve()
    name = (model.parent.name if model.is_dir() else options.model).split("/")[-1]
    serve(open_model(options.model, options.language), name, options.host, options.port)
    return 0


def _fields(model: type[BaseModel], above: str = "") -> dict[str, FieldInfo]:
    """Return each setting that holds a value, by its path; a section of several kinds gives the fields of all of them."""
    found: dict[str, FieldInfo] = {}
    for name, field in model.model_fields.items():
        types = (field.annotation,) if get_origin(field.annotation) is tuple else get_args(field.annotation) or (field.annotation,)
        sections = [each for each in types if isinstance(each, type) and issubclass(each, BaseModel)]
        for section in sections:
            found = found | {path: inner for path, inner in _fields(section, f"{above}{name}.").items() if path not in found}
        if len(sections) > 1:
            kinds = tuple(get_args(section.model_fields["kind"].annotation)[0] for section in sections)
            found[f"{above}{name}.kind"] = FieldInfo(annotation=Literal[kinds], description=f"which of these the {name} is")  # type: ignore[arg-type]
        if not sections:
            found[f"{above}{name}"] = field
    return found


def _kind(field: FieldInfo) -> str:
    """Return what a flag takes, for the help: its choices, or the name of its type."""
    if get_origin(field.annotation) is Literal:
        return "|".join(map(str, get_args(field.annotation)))
    if get_origin(field.annotation) is tuple:
        return "[A, B]"
    return getattr(field.annotation, "__name__", "VALUE").upper()


def _help(field: FieldInfo) -> str:
    words = [field.description] if field.description else []
    words += [f"default {field.default}"] if not field.is_required() and field.default != "" else []
    return "; ".join(words).replace("%", "%%")


def _value(text: str) -> Any:
    """Read a flag as YAML does, and 1e-4 as the number it is, and - as the word it is."""
    if text == "-":
        return text
    try:
        value = yaml.safe_load(text)
        return float(value) if isinstance(value, str) and NUMBER.match(value) else value
    except yaml.YAMLError:
        return text


if __name__ == "__main__":
    sys.exit(main())
