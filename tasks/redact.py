"""Keep secrets out of what a run leaves behind: its log, its states, its artifacts, its results, and the terminal.

One call, `install`, covers this process. It changes where text is born, not where it is shown: a filter on a logger does not see the
lines of those below it, one on a handler not those of other handlers, and Prefect makes states and artifacts without any logger.
What is printed by hand, and what other processes say, stays as it is; so does what belongs to a run: its parameters.
"""

import functools
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any

from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate, LogCreate
from prefect.client.schemas.objects import State
from prefect.results import ResultStore, should_persist_result
from pydantic import BaseModel

from tasks.contracts.secrets import redact

TEXTS: tuple[tuple[type[BaseModel], tuple[str, ...]], ...] = (  # what Prefect keeps in its database, and where in it words of ours stand
    (State, ("message",)),  # of a failed run: the words of its exception
    (LogCreate, ("message",)),  # whoever has formatted it
    (ArtifactCreate, ("data", "description")),
    (ArtifactUpdate, ("data", "description")),
)
Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]


def install() -> None:
    """Have this process keep secrets to itself from now on; a second call does nothing."""
    if not hasattr(logging.getLogRecordFactory(), "redacts"):
        logging.setLogRecordFactory(_redacting(logging.getLogRecordFactory()))
    if not hasattr(sys.excepthook, "redacts"):
        sys.excepthook = _quiet(sys.excepthook)
    for model, fields in TEXTS:
        if not hasattr(model.__init__, "redacts"):
            model.__init__ = _washing(model.__init__, fields)  # type: ignore[method-assign]
    if not hasattr(ResultStore.apersist_result_record, "redacts"):
        ResultStore.apersist_result_record = _obedient(ResultStore.apersist_result_record)  # type: ignore[method-assign, assignment]


def _redacting(plain: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """Return a factory of log records, of whichever logger, that hold no secret; one without a secret is left alone."""

    @functools.wraps(plain)
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = plain(*args, **kwargs)
        said = _said(record)
        if (clean := redact(said)) is not said:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0]:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (clean := redact(told)) is not told:
                record.exc_info, record.exc_text = None, clean  # formatters add the text; the exception they would ask again
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return record

    make.redacts = True  # type: ignore[attr-defined]
    return make


def _said(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit: logging complains in its own way, and shows them
        return f"{record.msg} {record.args!r}"


def _quiet(plain: Hook) -> Hook:
    """Return a hook that shows an exception nobody has caught, without secrets."""

    def show(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        told = "".join(traceback.format_exception(kind, error, where))
        if (clean := redact(told)) is told:
            plain(kind, error, where)
        else:
            sys.stderr.write(clean)

    show.redacts = True  # type: ignore[attr-defined]
    return show


def _washing(plain: Callable[..., None], fields: tuple[str, ...]) -> Callable[..., None]:
    """Return a constructor that redacts some of its texts."""

    @functools.wraps(plain)  # with pydantic's own mark, or it would take this for a constructor of another kind
    def init(self: BaseModel, /, **values: Any) -> None:
        plain(self, **values | {name: _wash(values[name]) for name in fields if name in values})

    init.redacts = True  # type: ignore[attr-defined]
    return init


def _obedient(plain: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return a writer of results that writes none of a run that keeps none.

    Prefect 3.8.8 keeps the exception of a failed flow whatever `persist_result` says: a pickle, with all its words, in a place that the
    settings may have put on a shared disk, and whoever can write there runs code where it is read.
    """

    @functools.wraps(plain)
    async def write(self: ResultStore, *args: Any, **kwargs: Any) -> None:
        if should_persist_result():
            await plain(self, *args, **kwargs)

    write.redacts = True  # type: ignore[attr-defined]
    return write


def _wash(value: Any) -> Any:
    """Return words without secrets, also those in lists and mappings; anything else as it is."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _wash(each) for name, each in value.items()}
    return [_wash(each) for each in value] if isinstance(value, list) else value
