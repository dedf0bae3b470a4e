"""Kill `prepare` at random moments, and look whether anything was lost, doubled, half-written or changed.

    python benchmarks/kill.py [--kills 50] [--stores naive,local,gcs] [--share 0.015] [--seed 0] [--work FOLDER]

Two rows for each store, each until as many SIGKILLs have fallen: one writer, and two that race. A corpus of 80 clips and four rows that
must be refused goes through download, index, plan, resample, a tiny model, log-Mel and shard, in parts of eight clips, by the steps' own
functions without Prefect's engine. A killed writer is started again at once; when all have come to their end the next round begins in a
new store. Moments are uniform over the time that one uninterrupted round takes.

`local` is a folder, `gcs` a bucket. `naive` is a folder too, but files are opened, written at 5 MB/s and closed, and what stands there
already is believed: it shows that violations are seen.

The bucket is the real gcsfs over HTTP on the stand-in of tests/support/fake_gcs.py, and --share of the requests meets each of 503, 429,
a 503 after the request was carried out, a broken connection before and after it was, and one in the middle of a body, a flipped byte and a
body silently cut short. The waits between tries are shortened twenty times, ours and gcsfs', so that kills fall into work.

Meanwhile a reader, without faults of its own, looks again and again at every address where a seal may stand. A poll is a look at one
address. Where it finds a seal, all files must be there with the bytes that the seal says, and all rows true: ids, splits, texts,
recordings, samples, features, against what was computed from the corpus without a store. In the end every seal and every object of corpus,
manifest, model, audio, features and data set must equal, byte by byte, those of a run that was left alone in a folder. Each deviation from
all this is one violation.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.fake_gcs import FakeGcs
from tests.support.prepare_killed import Place, Processes, Tally, make_corpus, recipe, snapshot, torture, work

TITLES = ("store", "writers", "rounds", "kills", "errors", "faults", "polls", "seals", "violations", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="SIGKILLs in each row")
    parser.add_argument("--stores", default="naive,local,gcs")
    parser.add_argument("--share", type=float, default=0.015, help="of the requests that meets each kind of fault")
    parser.add_argument("--bodies", default="GET .*alt=media", help="regular expression: whose replies may be cut, flipped and truncated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="a folder for the stores; else a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        tallies = run(Path(folder), options)
    if any(tally.violations for kind, tally in tallies if kind != "naive"):
        sys.exit(1)


def run(folder: Path, options: argparse.Namespace) -> list[tuple[str, Tally]]:
    truth = make_corpus(folder / "corpus")
    processes = Processes()
    undisturbed = Place(str(folder / "undisturbed"), {"VISKA_CACHE": str(folder / "cache")})
    processes.start(work, undisturbed, recipe(truth.folder)).join()
    expected = snapshot(undisturbed.store())
    print(f"{truth.n_rows} rows, {len(truth.clips)} clips in the data set, {len(expected)} seals and objects that must be equal\n")
    print(*(f"{title:>10}" for title in TITLES))
    tallies = []
    for kind in options.stores.split(","):
        for n_writers in (1, 2):
            with FakeGcs() as gcs:
                gcs.bad_weather(options.share, options.seed, bodies=options.bodies)
                began = time.monotonic()
                tally = torture(processes, truth, expected, Stores(folder, kind, n_writers, gcs), options.kills, options.seed)
                row = (kind, n_writers, tally.n_rounds, tally.n_kills, tally.n_refused + tally.n_broken, gcs.met.total(), tally.n_polls,
                       tally.n_seals, len(tally.violations), round(time.monotonic() - began))  # fmt: skip
                print(*(f"{cell:>10}" for cell in row), flush=True)
                for violation, n in Counter(tally.violations).most_common(5):
                    print(f"           {n} times {violation:.150}")
                if gcs.met:
                    faults = ", ".join(f"{n} {fault}" for fault, n in sorted(gcs.met.items()))
                    print(f"           {len(gcs.requests)} requests: {faults}")
                tallies.append((kind, tally))
    return tallies


@dataclass(frozen=True)
class Stores:
    """Gives each round a new store: as its writers reach it, and as the reader does."""

    folder: Path
    kind: str
    n_writers: int
    gcs: FakeGcs

    def __call__(self, number: int) -> tuple[list[Place], Place]:
        name = f"{self.kind}-{self.n_writers}-{number}"
        self.gcs.buckets[name] = {}
        root = f"gs://{name}/viska" if self.kind == "gcs" else str(self.folder / name)
        writers = [Place(root, {"VISKA_CACHE": f"{self.folder}/cache-{name}-{writer}", "STORAGE_EMULATOR_HOST": self.gcs.url},
                         naive=self.kind == "naive") for writer in range(self.n_writers)]  # fmt: skip
        return writers, Place(root, {"STORAGE_EMULATOR_HOST": self.gcs.calm_url})


if __name__ == "__main__":
    main()
