"""A fingerprint names a value, equal in every process; a digest names what an artifact holds, however it was made."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.contracts.recipe import Recipe
from tasks.contracts.values import Artifact, File, Part, fingerprint

FILES = (File("a.bin", "kind/key/a-12.bin", 2, "12" * 32), File("b.bin", "kind/key/b-34.bin", 3, "34" * 32))
ARTIFACT = Artifact("kind", "key", FILES, {"n_clips": 2})
PART = Part("part-00000", 2, "fingerprint of its recordings", ARTIFACT, 3)
VALUE = {"b": [1, 2.5, None, True, "blåbär"], "a": (Recipe(), ARTIFACT, PART), "nested": {"é": {"z": 1, "y": -0.1}}}

IN_A_CHILD = """
from tests.contracts.test_values import VALUE, fingerprint
print(fingerprint(VALUE))
"""


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


def test_a_fingerprint_is_equal_in_every_process() -> None:
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):  # of the hashes behind sets and dicts
        child = [sys.executable, "-c", IN_A_CHILD]
        said = subprocess.run(child, cwd=root, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == fingerprint(VALUE)


def test_a_fingerprint_is_pinned_for_ever() -> None:
    assert fingerprint({"b": [1, 2.5, None, True, "blåbär"], "a": ("x",)}) == "5d8115adb8ad29d99531ed03"
    assert len(fingerprint(None)) == 24


def test_order_of_keys_and_kind_of_sequence_do_not_matter() -> None:
    assert fingerprint({"a": 1, "b": [2, 3]}) == fingerprint({"b": (2, 3), "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_values_that_differ_have_different_fingerprints() -> None:
    values = [0, 1, "1", 1.0, True, None, "", [], {}, [1], [[1]], {"1": 1}, {"1": None}, "None", [None], "é", "e\u0301"]
    assert len({fingerprint(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [{1, 2}, frozenset("ab"), b"bytes", Path("x"), object(), lambda: 0, {"deep": [{"er": {1}}]}, Pair(1, {2}),
                                   {frozenset("ab"): 1}, {("a", "b"): 1}, {b"key": 1}])  # fmt: skip
def test_what_could_differ_between_processes_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be part of a fingerprint"):
        fingerprint(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_refused(value: float) -> None:
    with pytest.raises(ValueError):
        fingerprint([value])


def test_an_artifacts_digest_is_what_it_holds() -> None:
    same = [replace(ARTIFACT, files=FILES[::-1]), replace(ARTIFACT, facts={"n_clips": 3}), replace(ARTIFACT, key="other"),
            replace(ARTIFACT, files=(replace(FILES[0], path="elsewhere"), FILES[1]))]  # fmt: skip
    other = [replace(ARTIFACT, kind="other"), replace(ARTIFACT, files=FILES[:1]),
             replace(ARTIFACT, files=(replace(FILES[0], name="c.bin"), FILES[1])),
             replace(ARTIFACT, files=(replace(FILES[0], sha256=FILES[1].sha256), FILES[1]))]  # fmt: skip
    assert {each.digest for each in same} == {ARTIFACT.digest}
    assert len({each.digest for each in [ARTIFACT, *other]}) == 5


@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: [each], lambda each: {"x": each}, lambda each: Pair(each, [each])])
def test_an_artifact_made_again_with_equal_bytes_changes_nothing_downstream(wrap: Any) -> None:
    again = replace(ARTIFACT, key="other", facts={}, files=FILES[::-1])
    assert fingerprint(wrap(again)) == fingerprint(wrap(ARTIFACT))


def test_a_part_is_its_recordings_wherever_its_rows_stand() -> None:
    moved = [
        replace(PART, name="part-00007"),
        replace(PART, plan=replace(ARTIFACT, files=FILES[:1]), row_group=0),
        replace(PART, plan=None),
    ]
    assert {fingerprint(each) for each in moved} == {fingerprint(PART)}
    assert fingerprint(replace(PART, recordings="other")) != fingerprint(PART)


def test_what_says_what_it_means_is_that_whatever_it_holds() -> None:
    data = replace(ARTIFACT, facts={"content": "the same examples"})
    assert fingerprint(replace(data, files=FILES[:1], key="other")) == fingerprint(data) != fingerprint(ARTIFACT)
    assert fingerprint(replace(data, facts={"content": "other examples"})) != fingerprint(data)
    assert fingerprint(replace(data, facts={"content": ""})) == fingerprint(ARTIFACT)


def test_a_missing_file_is_named_with_what_is_there() -> None:
    assert ARTIFACT.file("b.bin") is FILES[1]
    with pytest.raises(KeyError, match=r"kind/key has no 'c\.bin', only \['a\.bin', 'b\.bin'\]"):
        ARTIFACT.file("c.bin")
