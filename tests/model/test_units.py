"""Every clip is in one unit, with its own speaker's, and what fits is a matter of samples; shares are kept."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from tasks.model.augment import GRID, PAUSES, join
from tasks.model.units import add_no_speech, make_units, unit_weights

SECOND = 16_000  # samples
WINDOW = 30 * SECOND
SINGLES = [(number,) for number in range(1_000)]


class Corpus:
    """A thousand clips of 1 to 12 s, of forty speakers in two languages and some unknown ones."""

    def __init__(self, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.ids = [f"clip-{number}" for number in range(1_000)]
        self.n_samples = random.integers(SECOND, 12 * SECOND, 1_000).tolist()
        self.speakers = [f"speaker-{number}" if number < 40 else "" for number in random.integers(0, 44, 1_000)]
        self.languages = random.choice(["sv", "fi"], 1_000).tolist()
        self.weights = random.choice([1.0, 2.0], 1_000)

    def units(self, share: float, longest: int = WINDOW, seed: int = 0) -> list[tuple[int, ...]]:
        return make_units(self.ids, self.n_samples, self.speakers, self.languages, self.weights, share, longest, seed)

    def kind(self, number: int) -> tuple[str, str, float]:
        return self.speakers[number], self.languages[number], self.weights[number]


def units_of(*n_samples: int, share: float = 1, longest: int = WINDOW) -> list[tuple[int, ...]]:
    """Return the units of one speaker's clips."""
    n_clips = len(n_samples)
    return make_units([str(n) for n in range(n_clips)], n_samples, ["anna"] * n_clips, ["sv"] * n_clips, None, share, longest, 0)


def together(units: list[tuple[int, ...]]) -> Counter[int]:
    """Return how many units there are of each length."""
    return Counter(map(len, units))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_every_clip_is_in_exactly_one_unit(corpus: Corpus, share: float) -> None:
    units = corpus.units(share)
    assert sorted(number for unit in units for number in unit) == list(range(1_000))
    assert [unit[0] for unit in units] == sorted(unit[0] for unit in units), "in the order of their first clips"


def test_without_a_share_every_clip_is_by_itself_in_order(corpus: Corpus) -> None:
    assert corpus.units(0) == SINGLES


def test_clips_are_joined_only_with_those_of_their_speaker_language_and_weight(corpus: Corpus) -> None:
    units = corpus.units(1)
    assert together(units)[1] < 200 and all(len({corpus.kind(number) for number in unit}) == 1 for unit in units)
    assert all(corpus.speakers[number] for unit in units if len(unit) > 1 for number in unit), "nobody knows whether unknown ones are one"


def test_so_many_clips_are_joined_as_the_share_says(corpus: Corpus) -> None:
    n_known = sum(map(bool, corpus.speakers))
    for share in (0.3, 0.6):
        n_joined = sum(len(unit) for unit in corpus.units(share) if len(unit) > 1)
        assert share * n_known - 120 < n_joined < share * n_known + 40


@pytest.mark.parametrize("longest", [SECOND, 15 * SECOND + 7, WINDOW])
def test_units_fit_into_the_window_with_pauses_and_grid(corpus: Corpus, longest: int) -> None:
    random = np.random.default_rng(0)
    for unit in corpus.units(1, longest):
        if len(unit) > 1 and unit[0] % 3 == 0:
            pieces = [np.ones(corpus.n_samples[number], np.float32) for number in unit]
            sound, _ = join(pieces, random, longest)
            assert sound.size <= longest
            gaps = np.diff(np.flatnonzero(sound)) - 1
            assert (gaps >= PAUSES[0] * GRID).sum() == (gaps > 0).sum() == len(unit) - 1


def test_a_window_may_be_filled_exactly() -> None:
    one = 100 * GRID
    pair = 2 * one + PAUSES[0] * GRID
    assert units_of(one, one, longest=pair) in ([(0, 1)], [(1, 0)])
    assert units_of(one, one, longest=pair - 1) == units_of(one, one + 1, longest=pair) == [(0,), (1,)]
    assert len(units_of(one - 1, one - GRID + 1, longest=pair)) == 1, "what begins on the grid takes whole steps of it"


def test_a_clip_that_finds_no_partner_stays_by_itself() -> None:
    assert units_of(SECOND) == [(0,)] and units_of(29 * SECOND, 29 * SECOND, 2 * WINDOW) == [(0,), (1,), (2,)]
    assert make_units([], [], [], [], None, 1, WINDOW, 0) == []


def test_a_clip_is_not_left_alone_beside_a_window_that_it_fits_into() -> None:
    for seed in range(30):
        n_samples = np.random.default_rng(seed).integers(SECOND, 30 * SECOND, 12).tolist()
        alone = sorted(n_samples[unit[0]] for unit in units_of(*n_samples) if len(unit) == 1)
        assert all(one + other + 6 * GRID > WINDOW for one, other in pairwise(alone))
    assert together(units_of(SECOND, 29 * SECOND, SECOND, 29 * SECOND, 29 * SECOND, SECOND)) == {1: 3, 3: 1}


def test_whether_a_clip_is_joined_does_not_depend_on_the_others(corpus: Corpus) -> None:
    longest = 100 * WINDOW  # everybody finds a partner
    joined = {number for unit in corpus.units(0.3, longest) if len(unit) > 1 for number in unit}
    some = slice(None, 500)
    units = make_units(
        corpus.ids[some], corpus.n_samples[some], corpus.speakers[some], ["sv"] * 500, None, 0.3, longest, 0
    )  # fmt: skip
    fewer = {number for unit in units if len(unit) > 1 for number in unit}
    assert len(fewer) > 100 and len(fewer ^ {number for number in joined if number < 500}) < 40, "all but those without a partner"


def test_units_follow_from_the_ids_and_the_seed_wherever_a_clip_stands(corpus: Corpus) -> None:
    assert corpus.units(0.5) == Corpus().units(0.5) != corpus.units(0.5, seed=1)
    order = np.random.default_rng(1).permutation(1_000).tolist()
    moved = make_units(
        [corpus.ids[n] for n in order], [corpus.n_samples[n] for n in order], [corpus.speakers[n] for n in order],
        [corpus.languages[n] for n in order], [corpus.weights[n] for n in order], 0.5, WINDOW, 0,
    )  # fmt: skip
    assert sorted(tuple(order[n] for n in unit) for unit in moved) == corpus.units(0.5)


def test_clips_are_joined_in_an_order_of_their_own(corpus: Corpus) -> None:
    pairs = [pair for unit in corpus.units(1) for pair in pairwise(unit)]
    assert 0.4 < np.mean([one < other for one, other in pairs]) < 0.6
    assert 0.4 < np.mean([corpus.n_samples[one] < corpus.n_samples[other] for one, other in pairs]) < 0.6


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError):
        make_units(["a", "b"], [1, 1], ["anna"], ["sv"], None, 1, WINDOW, 0)


def test_a_unit_comes_up_as_often_as_its_clips(corpus: Corpus) -> None:
    units = corpus.units(1)
    weights = unit_weights(units, corpus.weights)
    assert weights is not None and weights.dtype == np.float64
    assert all(corpus.weights[number] == weight for unit, weight in zip(units, weights, strict=True) for number in unit)
    assert unit_weights(units, None) is None


def test_an_example_without_speech_has_the_mean_weight_of_the_others() -> None:
    units = add_no_speech([(0,), (1, 2), (3,)], 0.25)
    assert unit_weights(units, [1, 2.5, 2.5, 4]).tolist() == [1, 2.5, 4, 2.5]  # type: ignore[union-attr]
    assert unit_weights(units, np.ones(4, np.float32)).tolist() == [1] * 4  # type: ignore[union-attr]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.2, 0.25, 1 / 3, 0.4999, 0.5])
@pytest.mark.parametrize("n_units", [1, 2, 3, 10, 99, 1_000])
def test_examples_without_speech_are_as_near_to_their_share_as_whole_numbers_allow(share: float, n_units: int) -> None:
    units = add_no_speech(SINGLES[:n_units], share)
    assert units[:n_units] == SINGLES[:n_units] and not any(units[n_units:])
    n_empty = len(units) - n_units
    assert abs(n_empty / len(units) - share) <= min(abs(n / (n + n_units) - share) for n in range(n_units + 2)) + 1e-12
    if not share:
        assert units == SINGLES[:n_units]
