"""Plan: which recordings the store has at 16 kHz already, and which are still to be decoded, in which parts."""

import json
import logging
import random
from dataclasses import astuple, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.client.schemas import State

from tasks.contracts.values import Artifact, Part, fingerprint
from tasks.policy import found, task_of
from tasks.resample import VERSION
from tasks.shards.library import PLAN, Shelf, name_of, places, share_out, shelves, write_plan
from tasks.shards.plan import SPLITS, part_size
from tasks.store.artifacts import Draft, fetch_file
from tasks.store.objects import Store

log = logging.getLogger(__name__)
LEFTOVER = 2  # a shelf that gives less than one LEFTOVERth of a part is a leftover


def make_plan(root: str, corpus: Artifact, manifest: Artifact, compact: bool = False) -> list[Part] | State[list[Part]]:
    """Return parts that together hold all of the manifest's recordings, each once.

    What the store holds decides, so the parts may differ from run to run; the examples that come of them do not. With `compact`, shelves of
    which little is used are copied together.
    """
    store = Store(root)
    clips = pq.read_table(fetch_file(store, manifest.file("manifest.parquet")), columns=["recording", "split"])
    wanted = pc.unique(clips["recording"])
    size = part_size(len(clips))
    held = shelves(store, VERSION, wanted)
    owner = share_out(held, wanted, size // LEFTOVER if compact else 0)

    # Parts are cut inside a split, one after the other. When some of them are done the rest is cut as it was before: a run that goes on
    # after a kill makes what it would have made, and two runs at once make the same.
    first = pc.index_in(wanted, value_set=clips["recording"])
    split_of = pc.index_in(clips["split"].take(first), value_set=pa.array(SPLITS)).to_numpy()
    groups = [np.flatnonzero((owner < 0) & (split_of == number)) for number in range(len(SPLITS))]
    cuts = [group[start : start + size] for group in groups for start in range(0, len(group), size)]

    where = _places(store, corpus, wanted, held)
    plan = _seal(store, corpus, where, cuts) if cuts else None
    parts = {
        int(cut[0]): Part("", len(cut), name_of(wanted.take(pa.array(cut)).to_pylist()), plan, number) for number, cut in enumerate(cuts)
    }
    for number, place in zip(*(each.tolist() for each in np.unique(owner, return_index=True)), strict=True):
        if number >= 0:
            parts[place] = Part("", len(held[number].recordings), held[number].audio.facts["recordings"])
    log.info("%d parts are in the store, %d with %d recordings are to be made", len(parts) - len(cuts), len(cuts), sum(map(len, cuts)))
    named = [replace(parts[place], name=f"part-{number:05d}") for number, place in enumerate(sorted(parts))]
    if not cuts:
        return found(f"every recording in {store.uri('audio')}", named)
    start = random.randrange(len(named))  # two runs that begin at different places find half of the parts done by the other
    return named[start:] + named[:start]


def _places(store: Store, corpus: Artifact, wanted: pa.Array, held: list[Shelf]) -> pa.Table:
    """Return where each wanted recording lies: on a shelf if it is on one, else in a pack."""
    raw = pq.read_table(fetch_file(store, corpus.file("clips.parquet")), columns=["recording", "pack", "row"], read_dictionary=["pack"])
    raw = raw.take(pc.index_in(wanted, value_set=raw["recording"]))
    number, place = places(held, wanted)
    first = np.cumsum([0, *(len(shelf.recordings) for shelf in held)])
    keys = np.array([*(shelf.audio.key for shelf in held), None], object)
    shelf_of, row_of = np.full(len(wanted), len(held)), raw["row"].to_numpy().copy()
    rows = np.flatnonzero(place >= 0)
    shelf_of[place[rows]], row_of[place[rows]] = number[rows], rows - first[number[rows]]
    return pa.table([wanted, raw["pack"], pa.array(keys[shelf_of], pa.string()), pa.array(row_of, pa.int32())], PLAN.names).cast(PLAN)


def _seal(store: Store, corpus: Artifact, where: pa.Table, cuts: list[np.ndarray]) -> Artifact:
    rows = (where.take(cut) for cut in cuts)  # one after the other: a million clips have to fit into memory
    made_from = {"corpus": corpus.digest, "rows": [name_of(map(str, part.to_pylist())) for part in rows]}
    draft = Draft(store, "plan", fingerprint(made_from))
    with draft.staged("plan.parquet") as path:
        write_plan(path, (where.take(cut) for cut in cuts))
    packs = {file.name: astuple(file) for file in corpus.files if file.name.startswith("raw-")}
    draft.write("packs.json", json.dumps(packs).encode())
    return draft.seal({"n_parts": len(cuts)}, made_from)


plan = task_of(make_plan, "plan", name="plan", task_run_name="plan")


def in_order(audio: list[Artifact], features: list[Artifact]) -> tuple[list[Artifact], list[Artifact]]:
    """Return shelves and their shards by address: in which order they were made decides nothing."""
    order = sorted(range(len(features)), key=lambda number: features[number].key)
    return [audio[number] for number in order], [features[number] for number in order]
