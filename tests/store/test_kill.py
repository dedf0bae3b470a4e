"""A writer that is killed at any moment leaves no seal that lies, and the next writer finishes."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tasks.store.artifacts import SEAL, Draft, find
from tasks.store.objects import Store

ROOT = Path(__file__).parents[2]
WRITER = [sys.executable, "-m", "tests.store.test_kill"]
KILLS = 25
N_KEYS = 40
SIZE = 3 * 2**20  # bytes of each of an artifact's two files
NAMES = ("a.bin", "b.bin")


def content(key: str, name: str) -> bytes:
    return hashlib.sha256(f"{key}/{name}".encode()).digest() * (SIZE // 32)


def write_all(store: Store, n_keys: int = N_KEYS) -> None:
    """Make every artifact that is not there, as a step does."""
    for number in range(n_keys):
        key = f"key-{number:02d}"
        if find(store, "thing", key) is None:
            draft = Draft(store, "thing", key)
            for name in NAMES:
                draft.write(name, content(key, name))
            draft.seal({"number": number})


def check_seals(store: Store) -> tuple[int, set[str]]:
    """Check every artifact that has a seal; return how many have one, and the objects that lie about without."""
    n_sealed, torn = 0, set()
    for key in store.names("thing"):
        names = store.names(f"thing/{key}")
        if SEAL not in names:
            torn |= {f"{key}/{name}" for name in names}
            continue
        artifact = find(store, "thing", key)
        assert artifact is not None, f"{key} has a seal, and is not whole"
        assert artifact.facts == {"number": int(key[-2:])}
        assert all(store.read(artifact.file(name).path) == content(key, name) for name in NAMES)
        shutil.rmtree(Path(store.root) / "thing" / key)  # seen to be right: the next writer makes it again
        n_sealed += 1
    return n_sealed, torn


def test_a_killed_writer_leaves_no_half_sealed_artifact(tmp_path: Path) -> None:
    store, dice = Store(str(tmp_path / "store")), random.Random(0)
    began = time.monotonic()
    write_all(store, 2)
    longest = min(max(4 * (time.monotonic() - began), 0.05), 0.6)  # seconds that a writer lives after its first words
    n_sealed, torn = check_seals(store)
    for _ in range(KILLS):
        with subprocess.Popen([*WRITER, store.root], cwd=ROOT, stdout=subprocess.PIPE) as writer:
            assert writer.stdout and writer.stdout.readline() == b"writing\n"
            time.sleep(dice.uniform(0, longest))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL, "it was done before it was killed; give it more to write"
        n_more, more_torn = check_seals(store)
        n_sealed, torn = n_sealed + n_more, torn | more_torn
    assert n_sealed > KILLS // 4 and len(torn) > KILLS // 4, f"{n_sealed} sealed, {len(torn)} torn: the kills came at the wrong moments"
    write_all(store)
    assert check_seals(store) == (N_KEYS, set())


if __name__ == "__main__":
    print("writing", flush=True)
    write_all(Store(sys.argv[1]))
