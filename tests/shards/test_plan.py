"""A clip's split and part depend on the clip and the seed, so a corpus that grows keeps what was made of it."""

import random

import pytest

from tasks.shards.plan import MOST_PARTS, choose_split, cut, draw, sample

IDS = [f"clip-{number:05d}.wav" for number in range(3000)]


def parts(ids: list[str], smallest: int = 16) -> list[list[str]]:
    return list(cut(ids, ids, smallest))


def test_a_draw_is_the_same_for_ever() -> None:
    assert draw(0, "split", "Anna") == 0.16700593381033024
    assert draw(7, "cut", "blåbär.wav", 3) == 0.13842022040910396


def test_a_draw_is_even_and_depends_on_seed_and_words() -> None:
    drawn = [draw(0, "x", id) for id in IDS]
    assert all(0 <= each < 1 for each in drawn) and len(set(drawn)) == len(drawn)
    assert all(abs(sum(low <= each < low + 0.1 for each in drawn) / len(drawn) - 0.1) < 0.03 for low in (0.0, 0.4, 0.9))
    assert len({draw(0, "a", "b"), draw(1, "a", "b"), draw(0, "ab"), draw(0, "a, b"), draw(0, "b", "a")}) == 5


def test_shares_are_kept_and_a_given_split_is_believed() -> None:
    splits = [choose_split(id, "", "", 0.1, 0.2, "clip", 0) for id in IDS]
    for split, share in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
        assert abs(splits.count(split) / len(IDS) - share) < 0.03
    assert choose_split("any", "", "test", 0.0, 0.0, "clip", 0) == "test"
    assert {choose_split(id, "", "", 0.0, 0.0, "clip", 0) for id in IDS} == {"train"}


def test_a_speaker_never_straddles_splits() -> None:
    for number in range(100):
        assert len({choose_split(id, f"speaker {number}", "", 0.2, 0.2, "speaker", 3) for id in IDS[:20]}) == 1
    assert len({choose_split(id, "speaker", "", 0.2, 0.2, "clip", 3) for id in IDS[:50]}) == 3
    assert len({choose_split(id, "", "", 0.2, 0.2, "speaker", 3) for id in IDS[:50]}) == 3, "clips without a speaker are their own"


def test_a_clip_stays_in_its_split_whatever_else_the_shares_and_the_corpus_do() -> None:
    before = {id: choose_split(id, "", "", 0.1, 0.1, "clip", 0) for id in IDS[:1000]}
    after = {id: choose_split(id, "", "", 0.1, 0.1, "clip", 0) for id in reversed(IDS)}
    assert before.items() <= after.items()
    larger = {id: choose_split(id, "", "", 0.2, 0.1, "clip", 0) for id in before}
    assert all(larger[id] == "test" for id in before if before[id] == "test"), "a larger dev split takes no test clips"


def test_a_sample_is_stable_when_the_corpus_grows() -> None:
    few, more = sample(IDS[:1000], 100, 0), sample(IDS, 100, 0)
    assert len(few) == len(more) == 100
    assert more & set(IDS[:1000]) <= few, "old clips leave for new ones, and no old clip comes in"
    assert sample(IDS[:1000], 50, 0) < few
    assert sample(list(reversed(IDS)), 100, 0) == more != sample(IDS, 100, 1)


@pytest.mark.parametrize("most", [0, 10, 11])
def test_a_sample_of_all_is_all(most: int) -> None:
    assert sample(IDS[:10], most, 0) == set(IDS[:10])


@pytest.mark.parametrize("n_rows", [0, 1, 15, 16, 17, 500, 3000])
def test_all_rows_are_kept_in_order(n_rows: int) -> None:
    rows = [{"id": id} for id in IDS[:n_rows]]
    cuts = list(cut(iter(rows), IDS[:n_rows], 16))
    assert [row for part in cuts for row in part] == rows
    assert all(16 <= len(part) <= 64 for part in cuts[:-1]) and all(0 < len(part) <= 64 for part in cuts)


def test_appended_rows_change_only_the_last_part() -> None:
    for n_rows in (100, 777, 1500):
        before, after = parts(IDS[:n_rows]), parts(IDS[: n_rows + 300])
        assert after[: len(before) - 1] == before[:-1]


def test_a_row_removed_or_put_in_changes_few_parts() -> None:
    dice = random.Random(0)
    before = {tuple(part) for part in parts(IDS)}
    changes = []
    for place in (dice.randrange(len(IDS)) for _ in range(30)):
        changes.append(len({tuple(part) for part in parts(IDS[:place] + IDS[place + 1 :])} - before))
        changes.append(len({tuple(part) for part in parts([*IDS[:place], "new.wav", *IDS[place:]])} - before))
    assert sum(changes) / len(changes) < 6 and max(changes) < len(before) / 3, changes


def test_a_large_corpus_has_a_few_hundred_parts() -> None:
    ids = [str(number) for number in range(40_000)]
    assert len(parts(ids, 1)) < 1.2 * MOST_PARTS
    assert len(parts(ids, 64)) > MOST_PARTS / 2


def test_every_row_needs_an_id() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        list(cut([1, 2, 3], ["a", "b"], 16))
