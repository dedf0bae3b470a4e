"""Serve: Prefect's server on this machine, for `make up`. The same as `prefect server start`, but for how it uses SQLite.

Prefect 3.8.8 begins its transactions as readers. One that writes later is refused at once, *database is locked*, if another has written
meanwhile; after four such tries an event is lost, and with it that a run waits for a person, or has crashed (measured: most runs on a busy
machine). A transaction that begins as a writer waits for its turn instead. https://sqlite.org/lang_transaction.html
"""

import sys
from typing import Any

import sqlalchemy
import uvicorn


def begin_as_writer(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
    """Return the statement that is executed; PostgreSQL knows no such BEGIN."""
    return ("BEGIN IMMEDIATE" if statement == "BEGIN DEFERRED" else statement), parameters


if __name__ == "__main__":
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", begin_as_writer, retval=True)
    uvicorn.run("prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
