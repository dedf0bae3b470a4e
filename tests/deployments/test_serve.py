"""How the server of `make up` uses SQLite: transactions wait for their turn. Less than a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from deployments.serve import begin_as_writer

WRITE = "INSERT INTO bucket VALUES (1)"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    """A database as Prefect's, in which whoever would have to wait is refused at once."""
    made = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/prefect.db", connect_args={"timeout": 0, "isolation_level": None})
    with made.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        connection.exec_driver_sql("CREATE TABLE bucket (n INTEGER)")
    yield made
    made.dispose()


def test_prefects_transactions_are_refused_half_way_if_another_one_has_written(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        first.exec_driver_sql("BEGIN DEFERRED")
        first.exec_driver_sql("SELECT n FROM bucket").all()
        second.exec_driver_sql(WRITE)
        with pytest.raises(OperationalError, match="database is locked"):  # and no time-out would help
            first.exec_driver_sql(WRITE)


def test_ours_have_their_turn_and_the_other_one_waits(engine: sqlalchemy.Engine) -> None:
    sqlalchemy.event.listen(engine, "before_cursor_execute", begin_as_writer, retval=True)
    with engine.connect() as first, engine.connect() as second:
        first.exec_driver_sql("BEGIN DEFERRED")
        first.exec_driver_sql("SELECT n FROM bucket").all()
        with pytest.raises(OperationalError, match="database is locked"):  # would wait, if it might
            second.exec_driver_sql(WRITE)
        first.exec_driver_sql(WRITE)
        first.exec_driver_sql("COMMIT")
        second.exec_driver_sql(WRITE)
        assert second.exec_driver_sql("SELECT count(*) FROM bucket").scalar() == 2
