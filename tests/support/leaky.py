"""A run that says secrets in every way it can: `python -m tests.support.leaky`. What comes of them is for its test to find.

It stands for a mistake in our code, or in a library's: an exception that quotes a request, a line with an address that is signed.
"""

import logging
import os

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed, Failed

from tasks.contracts.errors import ReleaseError
from tasks.contracts.secrets import remember
from tasks.policy import task_of
from tasks.redact import install
from tests.support.canaries import canaries

TRACER = "tracer-4c1e77"  # stands beside each secret, and must be found wherever one was said
log = logging.getLogger("tasks.leaky")


class Quoting(Exception):
    """An exception whose words are not its arguments."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f"{TRACER} quoting {self.text}"


def say(text: str) -> None:
    """Say it in each kind of log, and in an exception that somebody logs."""
    log.info("%s module %s", TRACER, text)
    log.warning(f"{TRACER} formatted {text}")
    log.info("%s mapping %r", TRACER, {"a": [text]})
    get_run_logger().info("%s run logger %s", TRACER, text)
    logging.getLogger("somebody.else").error("%s foreign %s", TRACER, text)
    print(f"{TRACER} print {text}")
    try:
        try:
            raise Quoting(text)
        except Quoting as error:
            raise RuntimeError(f"{TRACER} {text}") from error
    except RuntimeError:
        log.exception("%s traceback", TRACER)
        log.error("%s stack", TRACER, stack_info=True)


def show(text: str) -> None:
    """Make artifacts of it."""
    create_markdown_artifact(f"{TRACER} markdown {text}", key="markdown", description=f"{TRACER} {text}")
    create_table_artifact([{"tracer": TRACER, "table": text}], key="table", description=text)
    create_link_artifact("https://host.example/", key="link", link_text=f"{TRACER} {text}", description=text)


def refuse(text: str) -> None:
    """End as a step of ours does."""
    raise ReleaseError(f"{TRACER} refused {text}")


def end_well(text: str) -> State[str]:
    """End with words of its own."""
    return Completed(name="Cached", message=f"{TRACER} well {text}", data="")


refused, well = task_of(refuse, "refused"), task_of(end_well, "well")


@task(persist_result=False)
def fail(text: str) -> None:
    """End as a library does."""
    raise Quoting(text)


@flow(log_prints=True, persist_result=False)
def leak() -> State[None]:
    """Say every secret. None is a parameter: those are what a run is told, and a recipe refuses them."""
    texts = [text for text, _ in canaries().values()] + [os.environ["LEAKY_PASSWORD"], remember("given-by-a-block-77ae")]
    for text in texts:
        say(text)
    show(together := " | ".join(texts))
    for step in (refused, well, fail):
        step(together, return_state=True)
    return Failed(message=f"{TRACER} flow {together}")


@flow(persist_result=False)
def crash() -> None:
    """Fail with all of them, and let nobody catch it."""
    raise Quoting(" ".join(text for text, _ in canaries().values()))


if __name__ == "__main__":
    install()
    leak(return_state=True)
    crash()
