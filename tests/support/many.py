"""A flow of many small steps: what a corpus of hundreds of thousands of clips asks of Prefect, without its clips."""

from typing import Any

from prefect import flow, unmapped

from flows.prepare import THREADS
from tasks.policy import step
from tasks.store.artifacts import Draft


@step("small", version=1, task_run_name="small-{number}")
def write_small(draft: Draft, number: int) -> dict[str, Any]:
    draft.write("small.bin", number.to_bytes(4, "big") * 1000)
    return {"number": number}


@flow(task_runner=THREADS, persist_result=False)
def many(root: str, n: int) -> None:
    """Write `n` artifacts.

    Args:
        root: of the store.
        n: how many.
    """
    write_small.map(unmapped(root), list(range(n))).result()
