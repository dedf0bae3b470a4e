"""Train a tiny Whisper in a process that is killed at random moments and started again, until it comes to its end.

`python -m tests.support.train_killed FOLDER STORE KILLS` prints, as JSON, the step after which each attempt began. Processes are forked
from one that has imported everything, so that a start takes no five seconds; each makes all its objects anew.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tasks.model.checkpoint import newest_checkpoint
from tasks.store.objects import Store
from tests.support.tiny import RUN, settings, train_tiny

SETTINGS = settings(steps=60, evaluate_every=3, batch=2, accumulate=2, mask_time=0.3, mask_bins=10, schedule="cosine")
LONGEST = 0.9  # seconds an attempt lives, at most


def main(folder: Path, store: Store, n_kills: int) -> None:
    began = []
    for attempt in range(n_kills + 1):
        newest = newest_checkpoint(store, RUN)
        began.append(newest.facts["step"] if newest else 0)
        process = os.fork()
        if process == 0:
            train_tiny(folder, store, SETTINGS)
            os._exit(0)
        if attempt < n_kills:
            time.sleep(random.uniform(0.1, LONGEST))
            os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
        assert status in (0, signal.SIGKILL), f"attempt {attempt} ended with status {status}"
    print(json.dumps(began))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Store(sys.argv[2]), int(sys.argv[3]))
