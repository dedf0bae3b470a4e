"""A clip's split depends on the clip and the seed, so a corpus that grows keeps what was made of it; parts have a size people can use."""

import pytest

from tasks.shards.plan import choose_split, draw, part_size, sample

IDS = [f"clip-{number:05d}.wav" for number in range(3000)]


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


@pytest.mark.parametrize(("n_clips", "size"), [(1, 64), (511, 64), (800, 100), (8_192, 1_024), (100_000, 1_024), (1_000_000, 3_906)])
def test_parts_are_many_enough_for_several_cores_and_few_enough_to_handle(n_clips: int, size: int) -> None:
    assert part_size(n_clips) == size
    assert n_clips / size <= 257
