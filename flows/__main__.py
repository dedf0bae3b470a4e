"""The command line: `viska retrain --recipe FILE --training.steps 400`. Its flags are the fields of the recipe, read from the model itself.

    viska prepare | train | release | retrain     run a flow, here, or on the server that PREFECT_API_URL names
    viska sweep FILE                              train with other settings, and say which are the best, and how sure that is
    viska plan                                    what a run would use and take, before anything heavy runs
    viska audit                                   labels that are probably wrong, on a page to judge them
    viska runs                                    what was trained so far: data, WER before and after, verdict, cost
    viska compare RUN RUN...                      runs side by side, with the interval of each difference, as a page
    viska approve | reject KEY                    say whether a model that waits for a person is published
    viska deploy                                  register a recipe on the server: by schedule, by events, from the UI
    viska arrived NAME                            start the deployed recipe of this name: there are new recordings
    viska rollback VERSION                        make an older release the current one again
    viska prune                                   list what no data set needs, or remove it
    viska transcribe MODEL FILE...                print the words of recordings
    viska demo MODEL                              open the Gradio app

Errors that viska means are one message and exit code 2, a network that does not answer is one and 1; anything else shows its traceback.
"""

import argparse
import os
import sys
from datetime import datetime

from flows import commands
from flows.flags import add_recipe
from tasks.contracts.errors import ViskaError
from tasks.contracts.secrets import redact

FLOWS = {
    "prepare": "corpus to sealed shards of log-Mel features",
    "train": "shards to a checkpoint, scored before and after",
    "release": "checkpoint and report to a model page with a demo, if it beats what is published",
    "retrain": "the three in order; what is done already is not repeated",
}
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
        print(f"viska: {redact(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of `viska plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ConnectionError as error:  # tried again already; where in the code it gave up helps nobody
        print(f"viska: {redact(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("viska: interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="viska", description="Retrain Whisper for a language, a domain or a team's own voices.",
                                     epilog="viska COMMAND --help lists the flags of a command.")  # fmt: skip
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, help in FLOWS.items():
        command = subparsers.add_parser(name, help=help, description=f"viska {name}: {help}.", argument_default=argparse.SUPPRESS,
                                      usage=f"viska {name} [--recipe FILE] [--FIELD VALUE ...]")  # fmt: skip
        add_recipe(command)
        command.set_defaults(run=commands.run_flow, flow=name)
        if name == "prepare":
            command.add_argument("--compact", action="store_true", help="copy shards of which little is used together")
    words = "train with other settings, rank them by dev WER, and score the best on the test"
    command = subparsers.add_parser("sweep", help=words, description=f"viska sweep: {words}.", argument_default=argparse.SUPPRESS,
                                  usage="viska sweep FILE [--trials N] [--FIELD VALUE ...]")  # fmt: skip
    command.add_argument("file", metavar="FILE", help="YAML with two parts: recipe (or its file's name), and search")
    command.add_argument("--trials", type=int, default=0, metavar="N", help="at most so many; default: as the file says")
    add_recipe(command)
    command.set_defaults(run=commands.sweep)
    words = "which clips a recipe would use, why not the others, and what a run would take"
    command = subparsers.add_parser("plan", help=f"{words}; nothing is written into the store", description=f"viska plan: {words}.",
                                  argument_default=argparse.SUPPRESS,
                                  usage="viska plan [--recipe FILE] [--device NAME] [--price X] [--FIELD VALUE ...]")  # fmt: skip
    add_recipe(command)
    command.add_argument("--device", default="cpu", help="where it would train: cpu, T4, L4, A100-40, H100, H200, ...; default cpu")
    command.add_argument("--price", type=float, default=None, metavar="X", help="of an hour on the device, in any currency")
    command.set_defaults(run=commands.plan)
    words = "rank the labels that are probably wrong, and open a page to judge them"
    command = subparsers.add_parser("audit", help=words, description=f"viska audit: {words}.", argument_default=argparse.SUPPRESS,
                                  usage="viska audit [--recipe FILE] [--checkpoint KEY --dataset KEY] [--list] [--FIELD X]")  # fmt: skip
    add_recipe(command)
    command.add_argument("--checkpoint", default="", metavar="KEY", help="which listens; default: the recipe's, trained first")
    command.add_argument("--dataset", default="", metavar="KEY", help="to which it listens; default: the recipe's")
    command.add_argument("--list", action="store_true", default=False, help="write the list and open no page")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine only: it asks for no password")
    command.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    command.set_defaults(run=commands.audit)
    command = subparsers.add_parser("runs", help="list past runs: data, WER before and after, verdict, cost; newest first")
    command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument("--name", default="*", metavar="PATTERN", help="only recipes of such a name, such as 'swedish-*'")
    command.add_argument("--verdict", default="", choices=("current", "released", "refused", "open"), help="only such; open: not judged")
    command.add_argument("--since", type=datetime.fromisoformat, metavar="DATE", help="only runs since this day, such as 2026-11-01 (UTC)")
    command.add_argument("--json", action="store_true", help="print JSON, with all that is known of each")
    command.set_defaults(run=commands.runs)
    command = subparsers.add_parser("compare", help="compare runs with the first of them, with the interval of each difference")
    command.add_argument(
        "runs", metavar="RUN", nargs="+", help="key of a report or a checkpoint, as viska train prints it, or a run's name"
    )
    command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument("--page", default="comparison.html", metavar="FILE", help="where the page is written; default comparison.html")
    command.add_argument("--json", action="store_true", help="print JSON and write no page")
    command.set_defaults(run=commands.compare)
    command = subparsers.add_parser("prune", help="list prepared data that no data set refers to, or remove it")
    command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument(
        "--older-than", type=float, default=24.0, metavar="HOURS", help="leave younger objects, a run may need them; default 24"
    )
    command.add_argument(
        "--forget", nargs="+", default=[], metavar="KEY", help="data sets that are not wanted any more, with what only they need"
    )
    command.add_argument("--remove", action="store_true", help="remove them; without it they are only listed")
    command.set_defaults(run=commands.prune)
    words = "make an older release the current one again"
    command = subparsers.add_parser("rollback", help=words, description=f"viska rollback: {words}.", argument_default=argparse.SUPPRESS,
                                    usage="viska rollback [--recipe FILE] VERSION [--comment WHY] [--FIELD VALUE ...]")  # fmt: skip
    add_recipe(command)
    command.add_argument("version", type=int, metavar="VERSION", help="number of the release, such as 3")
    command.add_argument("--comment", default="", metavar="WHY", help="for the log, and for the next card")
    command.set_defaults(run=commands.rollback)
    words = "register a recipe on the server that PREFECT_API_URL names, to run by schedule, by events and from the UI"
    command = subparsers.add_parser("deploy", help=words, description=f"viska deploy: {words}.", argument_default=argparse.SUPPRESS,
                                    usage="viska deploy [--recipe FILE] [--cron CRON] [--timezone NAME] [--pool NAME]")  # fmt: skip
    add_recipe(command)
    command.add_argument("--cron", default="", metavar="CRON", help="when it runs by itself, such as '0 3 * * 0'; default: it does not")
    command.add_argument("--timezone", default="UTC", metavar="NAME", help="of the cron, such as Europe/Stockholm; default UTC")
    command.add_argument("--pool", default="cpu", metavar="NAME", help="work pool that runs it; default cpu. GPU legs go to cuda anyway")
    command.set_defaults(run=commands.deploy)
    command = subparsers.add_parser("arrived", help="tell the server of new recordings: the recipe that was deployed for them runs")
    command.add_argument("name", metavar="NAME", help="of the recipe")
    command.set_defaults(run=commands.arrived)
    for decision in ("approve", "reject"):
        command = subparsers.add_parser(decision, help=f"{decision} a release that waits for a person")
        command.add_argument("question", metavar="KEY", help="of the question, as the run has said it")
        command.add_argument("--store", default="", help="a folder or a gs://, s3:// address; default: VISKA_STORE, or ~/.viska/store")
        command.add_argument("--comment", default="", metavar="WHY", help="for the log, and for the card")
        command.set_defaults(run=commands.answer, decision=decision)
    command = subparsers.add_parser("transcribe", help="print the words of recordings")
    command.add_argument("model", metavar="MODEL", help="a folder, such as STORE/models/NAME/latest, or a Hub id")
    command.add_argument("files", metavar="FILE", nargs="+", help="recordings of any format and length")
    command.add_argument("--language", default="", help="what is spoken; default: what the model says")
    command.add_argument("--times", action="store_true", help="a line per piece, with its seconds")
    command.set_defaults(run=commands.transcribe)
    command = subparsers.add_parser("demo", help="open the Gradio app: microphone and upload")
    command.add_argument("model", metavar="MODEL", help="a folder, or a Hub id")
    command.add_argument("--language", default="", help="what is spoken; default: what the model says")
    command.add_argument("--base", default="", metavar="MODEL", help="a second model, to show both side by side")
    command.add_argument("--keep", default="", metavar="NAME", help="keep what visitors correct, for the recipe of this name")
    command.add_argument("--withdraw", default="", metavar="NUMBER", help="with --keep: delete what the visitor with this number sent")
    command.add_argument("--store", default="", help="where corrections are kept; default: VISKA_STORE, or ~/.viska/store")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; default: this machine only")
    command.add_argument("--port", type=int, default=None, help="default: the first free one from 7860")
    command.set_defaults(run=commands.demo)
    return parser


if __name__ == "__main__":
    sys.exit(main())
