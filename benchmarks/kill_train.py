"""Kill a training at random moments, and look whether it ends as if it had been left alone.

    python benchmarks/kill_train.py [--kills 100] [--stores folder,gcs,naive] [--seed 0] [--steps 40] [--share 0.015] [--work FOLDER]

A row for each store, until as many SIGKILLs have fallen: one training after another of a Whisper of a hundred thousand weights on 18 tones,
with dropout, SpecAugment, BPE-dropout, sounds without speech, two passes to a step and checkpoints every 0.3 s in the background, besides
those at two looks. A killed attempt is started again at once, until one comes to its end. Moments are uniform over the seconds that an
attempt took that nobody killed; three kills in ten wait from there until a checkpoint is being written, and come then at a uniform moment
of the time that one takes. Half of the kills take the machine's disk too, cache and temporary files; what the others leave in the making
is filled with noise.

`folder` is a folder. `gcs` is a bucket: the real gcsfs over HTTP on the stand-in of tests/support/fake_gcs.py, and --share of the requests
meets each of 503, 429, a 503 after the request was carried out, a broken connection before and after it was, and one in the middle of a
body, a flipped byte and a body silently cut short. The waits between tries are shortened twenty times, ours and gcsfs', so that kills fall
into work. `asked` is a folder, and SIGTERM, always while a checkpoint is being written; it kills only whoever has taken no step yet, or the
last one. `naive` is a folder too, but a checkpoint is written over the one before, file after file at 20 MB/s, and whoever goes on believes
what stands there; after an error a human empties the folder. It shows that violations are seen.

Each of these is one violation: an attempt that ends by itself before its time; one whose losses or clips differ, to the last bit, from
those of the training that was left alone; more steps taken again than the newest sealed checkpoint explains; a step that is missing; a clip
that comes twice before all others came; and in the end, other weights or moments in memory, in the last checkpoint or in the best one, or
other looks. `lost` is how many steps were taken again after a kill, in the middle and at most, and `at risk` how many had been taken since
the newest sealed checkpoint. `waits` is the share of the time in which trainings waited for checkpoints, which come two thousand times as
often here as by default.
"""

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.fake_gcs import FakeGcs
from tests.support.train_killed import Order, Tally, torture

TITLES = ("store", "trainings", "kills", "writing", "wiped", "errors", "faults", "lost", "at risk", "waits", "violations", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs in each row")
    parser.add_argument("--stores", default="folder,gcs,naive", help="of folder, gcs, asked, naive")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40, help="of a training")
    parser.add_argument("--share", type=float, default=0.015, help="of the requests that meets each kind of fault")
    parser.add_argument("--work", type=Path, help="a folder for stores and disks; else a temporary one")
    options = parser.parse_args()
    print(*(f"{title:>10}" for title in TITLES), flush=True)
    tallies = [run(kind, options) for kind in options.stores.split(",")]
    if any(tally.violations for tally in tallies if tally.store != "naive"):
        sys.exit(1)


def run(kind: str, options: argparse.Namespace) -> Tally:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.work) as folder, FakeGcs() as gcs:
        gcs.buckets["kill"] = {}
        gcs.bad_weather(options.share, options.seed)
        [tally] = torture(Order(folder, {kind: options.kills}, options.seed, options.steps, gcs.url))
    row = (kind, tally.n_trainings, tally.n_kills, tally.n_writing, tally.n_wiped, tally.n_raised, gcs.met.total(), _spread(tally.lost),
           _spread(tally.at_risk), f"{tally.waited:.1%}", len(tally.violations), round(time.monotonic() - began))  # fmt: skip
    print(*(f"{cell:>10}" for cell in row), flush=True)
    print(f"           left alone: {tally.longest:.1f} s, {tally.n_checkpoints} checkpoints; it waited {1000 * tally.wait:.1f} ms for each")
    if tally.stopping:
        print(f"           after SIGTERM: {median(tally.stopping):.2f} s, at most {max(tally.stopping):.2f} s")
    if gcs.met:
        faults = ", ".join(f"{n} {fault}" for fault, n in sorted(gcs.met.items()))
        print(f"           {len(gcs.requests)} requests: {faults}")
    for violation, n in Counter(re.sub(r"\d+", "N", each) for each in tally.violations).most_common(8):
        print(f"           {n} times {violation:.150}", flush=True)
    return tally


def _spread(numbers: list[int]) -> str:
    """Return the middle and the largest."""
    return f"{median(numbers):g}, {max(numbers)}" if numbers else "-"


if __name__ == "__main__":
    main()
