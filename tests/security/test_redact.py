"""S3 within one process: what is changed, what is left alone, and that nothing is changed twice."""

import logging
import sys
from collections.abc import Iterator

import pytest
from prefect.client.schemas.actions import ArtifactCreate, LogCreate
from prefect.client.schemas.objects import State, StateType
from prefect.logging.formatters import JsonFormatter
from prefect.results import ResultStore
from prefect.states import Failed

from tasks.redact import install
from tests.support.canaries import canaries

TEXT, SECRET = canaries()["Hub"]


class Kept(logging.Handler):
    """Keeps records as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A handler on a logger of a library, such as no filter of ours would stand on."""
    install()
    handler, logger = Kept(), logging.getLogger("some.library")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def test_a_second_call_changes_nothing() -> None:
    install()
    before = (logging.getLogRecordFactory(), sys.excepthook, State.__init__, LogCreate.__init__, ResultStore.apersist_result_record)
    install()
    assert (logging.getLogRecordFactory(), sys.excepthook, State.__init__, LogCreate.__init__, ResultStore.apersist_result_record) == before


def test_a_record_without_a_secret_is_left_alone(kept: Kept) -> None:
    words, one, error = "%s of %d", object(), ValueError("an ordinary one")
    logging.getLogger("some.library").error(words, one, 2, exc_info=error)
    (record,) = kept.records
    assert record.msg is words and record.args == (one, 2) and record.exc_info and record.exc_info[1] is error


@pytest.mark.parametrize("formatter", [logging.Formatter(), JsonFormatter("default", None, "%")], ids=["text", "JSON"])
def test_an_exception_is_told_without_its_secret_by_whichever_formatter(kept: Kept, formatter: logging.Formatter) -> None:
    try:
        try:
            raise KeyError(TEXT)
        except KeyError as error:
            raise ConnectionError(f"no answer to {TEXT}") from error
    except ConnectionError:
        logging.getLogger("some.library").exception("failed with %s", TEXT)
    told = formatter.format(kept.records[0])
    assert SECRET not in told and "failed with hf_[redacted]" in told
    assert isinstance(formatter, JsonFormatter) or "ConnectionError: no answer to hf_[redacted]" in told


def test_arguments_that_do_not_fit_are_not_shown_with_their_secrets(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    install()
    logger = logging.getLogger("some.library")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    logger.error("two of them: %s and %s", TEXT)
    logger.removeHandler(handler)
    assert SECRET not in capsys.readouterr().err and "hf_[redacted]" in kept.records[0].getMessage()


def test_states_and_artifacts_lose_their_secrets_and_nothing_else() -> None:
    install()
    assert Failed(message=f"no answer to {TEXT}").message == "no answer to hf_[redacted]" and Failed().message is None
    kept = State(type=StateType.COMPLETED, message="fine", data=[TEXT])
    assert (kept.message, kept.data) == ("fine", [TEXT]), "what is handed on within a run is whole"
    made = ArtifactCreate(key="a-key", data={"rows": [[TEXT, 3, None]], "n": 0.5}, description=TEXT)
    assert (made.data, made.description) == ({"rows": [["hf_[redacted]", 3, None]], "n": 0.5}, "hf_[redacted]")
