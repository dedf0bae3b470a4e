"""Preparing a corpus again: what changed is read, decoded and computed, and nothing else; whatever the order, the bytes are the same."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tasks import download as download_module
from tasks import index as index_module
from tasks import shard as shard_module
from tasks.contracts.values import SplitOf
from tasks.plan import make_plan
from tasks.resample import resample
from tasks.shards.dataset import open_split
from tasks.store.artifacts import find
from tasks.store.objects import STAGING, Store
from tests.steps.chain import RATE, N, Run, examples, objects, prepare, quarantine, sound, value_of, write_corpus

GROWN = [number for ten in range(20) for number in (*range(10 * ten, 10 * ten + 10), N + ten)]  # 20 new rows between the old ones


def dates() -> dict[str, int]:
    """Return when each object of sound or features was written."""
    return {str(path): path.stat().st_mtime_ns for kind in ("audio", "features") for path in Path("store", kind).rglob("*-*.*")}


def test_preparing_again_makes_nothing(first: Run, reads: list[str]) -> None:
    again = prepare()
    assert (again.made, reads, again.dataset) == ([], [], first.dataset)


def test_a_corpus_that_grows_by_a_tenth_reads_and_decodes_a_tenth(first: Run, reads: list[str]) -> None:
    before = objects()
    write_corpus(GROWN)
    grown = prepare()
    assert grown.n_decoded == len(reads) == grown.corpus.facts["n_new"] == 20
    assert before.items() <= objects().items(), "what was there is there, to the byte"
    assert set(reads) == {f"clip-{number}.wav" for number in range(N, N + 20)}
    assert sum(grown.dataset.facts["splits"].values()) == N + 20
    assert examples(first).items() <= examples(grown).items(), "no clip changed its split"


def test_the_test_means_what_it_meant_whatever_is_trained_on(first: Run) -> None:
    """Else a baseline would be transcribed anew whenever the corpus grows."""
    fewer = prepare(splits={"max_train": 50})
    assert fewer.dataset.facts["splits"]["train"] == 50 < first.dataset.facts["splits"]["train"]
    for split, is_same in (("train", False), ("dev", True), ("test", True)):
        assert (SplitOf(first.dataset, split).identity() == SplitOf(fewer.dataset, split).identity()) is is_same


def test_clips_that_are_taken_out_leave_the_index_and_no_object_is_written(first: Run, reads: list[str]) -> None:
    before = dates()
    write_corpus(number for number in range(N) if number % 4)
    less = prepare()
    assert less.kinds == {"corpus", "manifest", "dataset"} and reads == [] and dates() == before
    assert examples(less) == {id: each for id, each in examples(first).items() if int(id[5:8]) % 4}


def test_a_changed_transcript_changes_the_labels_and_no_sound(first: Run, reads: list[str]) -> None:
    write_corpus(range(N), texts={7: "något annat"})
    changed = prepare()
    assert changed.kinds == {"corpus", "manifest", "dataset"} and reads == []
    assert changed.content != first.content
    before, after = examples(first), examples(changed)
    assert [id for id in after if after[id] != before[id]] == ["clip-007.wav"]
    assert after["clip-007.wav"][1] == "något annat" and after["clip-007.wav"][2:] == before["clip-007.wav"][2:]


def test_another_recording_under_an_old_name_is_read_and_decoded(first: Run, reads: list[str]) -> None:
    soundfile.write("corpus/clip-007.wav", sound(999), RATE, subtype="PCM_16")
    changed = prepare()
    assert reads == ["clip-007.wav"] and changed.n_decoded == 1 and changed.content != first.content


def test_a_file_that_was_only_touched_is_read_and_not_decoded(first: Run, reads: list[str]) -> None:
    os.utime("corpus/clip-007.wav", (0, 0))
    touched = prepare()
    assert reads == ["clip-007.wav"] and touched.kinds == {"corpus", "manifest"} and touched.dataset == first.dataset


def test_another_split_decodes_nothing(first: Run) -> None:
    other = prepare(splits={"seed": 1})
    assert other.kinds == {"manifest", "dataset"} and other.content != first.content
    assert {id: each[1:] for id, each in examples(other).items()} == {id: each[1:] for id, each in examples(first).items()}


def test_a_larger_share_of_a_corpus_decodes_the_difference(first: Run) -> None:
    small = prepare(root="other", splits={"max_train": 50})
    large = prepare(root="other", splits={"max_train": 90})
    assert large.n_decoded == 40 == large.dataset.facts["splits"]["train"] - small.dataset.facts["splits"]["train"]
    assert prepare(root="other").content == first.content


def test_another_number_of_bins_decodes_nothing(first: Run) -> None:
    fine = prepare(model="model-128")
    assert fine.kinds == {"model", "features", "dataset"} and fine.content != first.content
    assert {each.features.shape[0] for each in open_split(Store("store"), fine.dataset, "train")} == {128}


def test_a_new_release_of_the_same_recordings_decodes_nothing(first: Run) -> None:
    write_corpus(reversed(range(N)), folder="release-2", name="{:04d}-other.wav", texts={7: "ny text"})
    release = prepare(folder="release-2")
    assert release.kinds == {"corpus", "manifest", "dataset"} and release.corpus.facts["n_new"] == 0
    assert release.corpus.facts["n_clips"] == N, "read, because their ids are new, and found in the packs of the first release"
    assert len(examples(release)) == N


def test_a_part_of_a_mix_is_read_once_whatever_its_weight_and_the_other_parts_are(first: Run, reads: list[str]) -> None:
    def mix(weight: float = 1, max_train: int = 0, *others: str) -> Run:
        parts = [{"name": name, "corpus": {"kind": "folder", "path": name}} for name in ("corpus", *others)]
        parts[0] |= {"weight": weight, "max_train": max_train}
        return prepare(corpus={"kind": "mix", "parts": parts})

    plain = mix()
    assert len(reads) == N and plain.corpus.facts["n_new"] == 0, "its ids are others, its recordings are not"
    capped = mix(1, 50)
    assert capped.corpus == plain.corpus and capped.dataset.facts["splits"]["train"] == 50
    write_corpus(range(N, N + 10), folder="more")
    heavy = mix(2, 0, "more")
    assert len(reads) == N + 10 == heavy.corpus.facts["n_clips"] and heavy.content != plain.content


def test_layout_decides_nothing_one_go_or_two_steps(first: Run) -> None:
    write_corpus(GROWN)
    grown, once = prepare(), prepare(root="other")
    assert len(grown.audio) > len(once.audio) and grown.dataset.key != once.dataset.key
    assert grown.content == once.content
    assert list(examples(grown).items()) == list(examples(once, "other").items())


def test_leftovers_of_growing_are_copied_together_on_request(first: Run) -> None:
    for n_clips in (210, 220, 230):
        write_corpus(range(n_clips))
        grown = prepare()
    compacted = prepare(compact=True)
    assert len(compacted.audio) < len(grown.audio)
    assert compacted.n_decoded == 0 and compacted.content == grown.content
    assert list(examples(compacted).items()) == list(examples(grown).items())
    before = objects()
    again = prepare(compact=True)
    assert (again.made, again.dataset, objects()) == ([], compacted.dataset, before)
    assert prepare().n_decoded == 0


def test_compacting_takes_refusals_and_new_clips_along(first: Run) -> None:
    write_corpus(range(N + 4))
    Path(f"corpus/clip-{N}.wav").write_bytes(b"no sound")
    refused = quarantine(prepare())
    write_corpus(number for number in range(N + 20) if number % 3)  # many of the old ones are gone
    compacted, once = prepare(compact=True), prepare(root="other")
    assert compacted.n_decoded == sum(1 for number in range(N + 4, N + 20) if number % 3)
    assert quarantine(compacted) == refused and len(refused) == 1
    assert compacted.content == once.content
    assert list(examples(compacted).items()) == list(examples(once, "other").items())


def test_a_run_goes_on_where_a_killed_one_stopped(first: Run) -> None:
    for kind in ("corpus", "manifest"):
        shutil.copytree(f"store/{kind}", f"other/{kind}")
    done = [resample.fn("other", part) for part in value_of(make_plan("other", first.corpus, first.manifest))[1:3]]
    rest = prepare(root="other")
    assert rest.n_decoded == N - sum(each.facts["n_decoded"] for each in done)
    assert objects("other", ["audio"]) == objects("store", ["audio"])


@pytest.mark.parametrize("how", ["deleted", "one bit flipped"])
@pytest.mark.parametrize("what", ["audio/*/audio-*.arrow", "audio/*/clips-*.parquet", "features/*/shard-*.arrow",
                                  "features/*/clips-*.parquet", "audio/*/seal.json"])  # fmt: skip
def test_what_was_damaged_is_made_again_with_the_same_bytes(first: Run, what: str, how: str) -> None:
    before = objects()
    for victim in sorted(Path("store").glob(what))[1:3]:
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 0x80
        victim.unlink() if how == "deleted" else victim.write_bytes(data)
    again = prepare()
    assert again.kinds == {what.split("/")[0]} and len(again.made) == 2 and again.dataset == first.dataset
    assert objects() == before


def test_a_damaged_pack_costs_its_own_recordings_alone(first: Run, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "PACK", 300_000)  # bytes: three packs
    prepare(root="other")
    reads.clear()
    victim = sorted(Path("other").glob("corpus/*/raw-*-00001-*.arrow"))[0]
    victim.unlink()
    again = prepare(root="other")
    assert 20 < len(reads) < N - 20 and again.n_decoded == 0
    assert again.content == first.content
    shutil.rmtree("other/audio")
    assert prepare(root="other").n_decoded == N, "and every recording is where the table says"


def test_an_old_revision_that_was_damaged_stops_nobody(first: Run) -> None:
    for victim in Path("store").glob("corpus/*/clips-*.parquet"):
        victim.write_bytes(b"")
    write_corpus(GROWN)
    for _ in range(2):
        grown = prepare()
        assert len(examples(grown)) == N + 20


def test_bytes_depend_on_neither_threads_nor_order(first: Run) -> None:
    for seed in (1, 2):
        other = prepare(root=f"other-{seed}", threads=4, dice=random.Random(seed))
        assert other.dataset == first.dataset
        assert objects(f"other-{seed}") == objects("store"), "files and seals"


def test_tables_are_handled_in_pieces_of_any_size(first: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (download_module, index_module, shard_module):
        monkeypatch.setattr(module, "ROWS", 7)
    other = prepare(root="other", gates={"max_same_text": 1})
    assert list(examples(other, "other").items()) == list(examples(first).items())


def test_two_that_prepare_the_same_at_once_end_with_one_whole_store(first: Run) -> None:
    child = [sys.executable, "-m", "tests.steps.chain"]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}) as twin:
        assert twin.stdin and twin.stdout and twin.stdout.readline() == "ready\n"
        twin.stdin.write("go\n")
        twin.stdin.flush()
        mine = prepare(root="shared")
        assert twin.stdout.readline() == f"{mine.dataset.key} {first.content}\n"
    assert twin.returncode == 0 and examples(mine, "shared") == examples(first)
    kinds = [path.name for path in Path("shared").iterdir() if path.name != STAGING]
    assert all(find(Store("shared"), kind, path.name) for kind in kinds for path in Path("shared", kind).iterdir())
    assert objects("shared") == objects("store")


def test_a_part_of_which_nothing_can_be_used_is_no_accident(first: Run) -> None:
    write_corpus(range(N + 4))
    for number in range(N, N + 4):
        Path(f"corpus/clip-{number}.wav").write_bytes(b"no sound")
    run = prepare()
    assert any(each.facts["n_clips"] == 0 for each in run.audio) and run.dataset.facts["rejected"] == {"unusable audio": 4}
    assert run.content == first.content


def test_the_same_bytes_under_two_names_are_one_recording_and_two_clips(first: Run) -> None:
    write_corpus(range(N + 1))
    shutil.copy("corpus/clip-003.wav", f"corpus/clip-{N}.wav")
    kept = prepare(gates={"same_sound": "keep"})
    assert kept.n_decoded == 0 and len(examples(kept)) == N + 1
    assert examples(kept)["clip-003.wav"][2:] == examples(kept)[f"clip-{N}.wav"][2:]
    refused = prepare()
    assert [(row["id"], row["reason"]) for row in quarantine(refused)] in ([(f"clip-{N}.wav", "double sound")],
                                                                           [("clip-003.wav", "double sound")])  # fmt: skip
