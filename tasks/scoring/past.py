"""Past runs of a store, newest first: each report with its data, error rates, what became of its model, and what the training cost."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from tasks.contracts.values import Artifact
from tasks.hub.releases import current, read_events
from tasks.scoring.summary import limits
from tasks.store.artifacts import SEAL, peek, peek_all
from tasks.store.objects import Store

READERS = 16  # requests at once
VERDICTS = ("current", "released", "refused", "open")
OPEN: dict[str, Any] = {"verdict": "open", "model_name": "", "version": 0, "reasons": []}
COLUMNS = ("date", "report", "name", "clips", "hours", "steps", "WER before, %", "after, %", "verdict", "training")


@dataclass(frozen=True)
class PastRun:
    """A run that came as far as its report."""

    at: str  # when its report was written, as the store's clock has it
    report: str  # key
    checkpoint: str  # key
    name: str  # of its recipe
    language: str
    model: str  # that it started from
    n_clips: int | None  # of its train split; None: the data set is gone, or an earlier viska wrote the report
    hours: float | None
    steps: int | None  # that were taken; None: the checkpoint is gone
    n_test: int
    before: dict[str, Any]  # WER of the test: value, low and high
    after: dict[str, Any]
    gain: dict[str, Any]
    normaliser: str
    verdict: str  # current, released, refused; open: nobody has judged it
    model_name: str  # the name that it was judged under
    version: int  # of its release; 0: none
    reasons: list[str]  # what the gate, or a person, had against it
    seconds: float | None  # of training
    gpu_hours: float | None  # None: it had no GPU
    device: str


def past_runs(store: Store, name: str = "*", verdict: str = "", since: datetime | None = None) -> list[PastRun]:
    """Return the runs that have a report, newest first.

    Args:
        store: where they lie.
        name: a pattern for the names of their recipes, such as `swedish-*`.
        verdict: one of VERDICTS; empty: any. What is current is released too.
        since: when reports begin to matter; without a time zone it is UTC; None: always.
    """
    wanted = {verdict, "current"} if verdict == "released" else {verdict} if verdict else set(VERDICTS)
    first = (since if since.tzinfo else since.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds") if since else ""
    judged = _judged(store)
    there = [pair for pair in peek_all(store, "report") if fnmatchcase(pair[0].facts.get("name", ""), name)]
    with ThreadPoolExecutor(READERS) as pool:
        runs = list(pool.map(lambda pair: _read(store, pair[0], pair[1], judged.get(pair[0].key, OPEN)), there))
    found = [each for each in runs if each.verdict in wanted and each.at >= first]
    return sorted(found, key=lambda each: (each.at, each.report), reverse=True)


def _judged(store: Store) -> dict[str, dict[str, Any]]:
    """Return what became of each report, by its key: the last that was said of it."""
    said = []
    for name in store.names("releases"):
        events = read_events(store, name)
        newest = current(events)
        for event in events:
            verdict = "refused" if event.what == "rejection" else "current" if event is newest else "released"
            told = {"verdict": verdict, "model_name": name, "version": event.version, "reasons": event.reasons}
            said += [(verdict == "current", event.at, event.report, told)] if event.what != "rollback" else []
    return {report: told for _, _, report, told in sorted(said, key=lambda each: each[:2])}


def _read(store: Store, report: Artifact, made_from: Any, judged: dict[str, Any]) -> PastRun:
    facts, told = report.facts, made_from["told"]
    learnt, data = (_facts(store, kind, facts.get(kind, "")) for kind in ("checkpoint", "dataset"))
    return PastRun(
        at=datetime.fromtimestamp(store.written(f"report/{report.key}/{SEAL}"), UTC).isoformat(timespec="seconds"),
        report=report.key,
        checkpoint=facts["checkpoint"],
        name=facts["name"],
        language=told["language"],
        model=told["model"].get("name") or told["model"]["kind"],
        n_clips=data.get("splits", {}).get("train"),
        hours=data.get("hours", {}).get("train"),
        steps=learnt.get("steps"),
        n_test=facts["n_clips"],
        before=facts["before"]["wer"],
        after=facts["after"]["wer"],
        gain=facts["gain"]["wer"],
        normaliser=facts["normaliser"],
        **judged,
        seconds=learnt.get("seconds"),
        gpu_hours=learnt.get("gpu_hours"),
        device=learnt.get("device_name") or learnt.get("device", ""),
    )


def _facts(store: Store, kind: str, key: str) -> dict[str, Any]:
    sealed = peek(store, kind, key) if key else None
    return sealed[0].facts if sealed else {}


def as_lines(runs: Sequence[PastRun]) -> Iterator[str]:
    """Yield a table of text: a heading, and a line for each run."""
    rows = [COLUMNS, *(_row(each) for each in runs)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(run: PastRun) -> tuple[str, ...]:
    def told(value: float | None, form: str = ",") -> str:
        return "?" if value is None else f"{value:{form}}"

    verdict = f"v{run.version}, current" if run.verdict == "current" else f"v{run.version}" if run.version else run.verdict
    return (
        run.at[:16].replace("T", " "), run.report, run.name, told(run.n_clips), told(run.hours, ".2f"), told(run.steps),
        told(100 * run.before["value"], ".1f"), f"{100 * run.after['value']:.1f} {limits(run.after)}", verdict, _cost(run),
    )  # fmt: skip


def _cost(run: PastRun) -> str:
    """Return how long it trained, and on what."""
    if run.seconds is None:
        return "?"
    if run.gpu_hours is not None:
        return f"{run.gpu_hours:.2f} GPU-hours, {run.device}"
    seconds = run.seconds
    return f"{seconds:.0f} s, {run.device}" if seconds < 120 else f"{seconds / 3600:.2f} hours, {run.device}"
