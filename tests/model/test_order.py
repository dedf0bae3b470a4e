"""Every example once an epoch, or as often as its weight says; any step known without the steps before it."""

import numpy as np
import pytest

from tasks.model.order import batch_numbers
from tests.support.tiny import settings


@pytest.mark.parametrize("n_clips, batch, accumulate", [(7, 2, 1), (7, 3, 2), (6, 6, 1), (5, 8, 1), (1, 4, 1), (100, 16, 2)])
def test_each_epoch_visits_each_clip_exactly_once(n_clips: int, batch: int, accumulate: int) -> None:
    section = settings(batch=batch, accumulate=accumulate)
    row = [number for step in range(3 * n_clips) for number in batch_numbers(step, n_clips, section)]
    epochs = [row[start : start + n_clips] for start in range(0, len(row), n_clips)]
    assert len(epochs) == 3 * batch * accumulate and all(sorted(epoch) == list(range(n_clips)) for epoch in epochs)
    if n_clips > 4:
        assert epochs[0] != epochs[1], "every epoch has its own order"
        assert epochs[0] != [*batch_numbers(0, n_clips, settings(batch=n_clips, seed=2))], "and so has every seed"


def test_the_clips_of_a_step_follow_from_its_number_alone() -> None:
    section = settings(batch=3, accumulate=2)
    forwards = [list(batch_numbers(step, 10, section)) for step in range(12)]
    backwards = [list(batch_numbers(step, 10, section)) for step in reversed(range(12))]
    assert forwards == backwards[::-1] and all(len(numbers) == 6 for numbers in forwards)


def test_an_epoch_has_each_clip_as_often_as_its_weight_says() -> None:
    section, weights = settings(batch=7, seed=3), np.array([2.0] * 5 + [1.0] * 10 + [0.5] * 10 + [0.25] * 8)
    row = [number for step in range(400) for number in batch_numbers(step, len(weights), section, weights)]
    epochs = [row[start : start + 27] for start in range(0, len(row) - 26, 27)]
    counts = np.array([np.bincount(epoch, minlength=len(weights)) for epoch in epochs])
    assert (counts[:, :5] == 2).all() and (counts[:, 5:15] == 1).all(), "whole numbers are kept in every epoch"
    assert counts[:, 15:].max() == 1 and abs(counts[:, 15:25].mean() - 0.5) < 0.02 and abs(counts[:, 25:].mean() - 0.25) < 0.02
    assert len({tuple(epoch[:5]) for epoch in epochs}) > 90, "in an order of their own"
    assert list(batch_numbers(300, len(weights), section, weights)) == row[2100:2107], "known without the steps before"


def test_weights_of_one_change_nothing() -> None:
    ones = np.ones(10, np.float32)
    assert [*batch_numbers(5, 10, settings(batch=4))] == [*batch_numbers(5, 10, settings(batch=4), ones)]


def test_other_weights_make_another_epoch_where_they_lie_in_the_place_of_the_last_ones() -> None:
    for number in (0, 3) * 8:
        few = np.zeros(4)
        few[number] = 4
        assert set(batch_numbers(0, 4, settings(batch=4), few)) == {number}
        del few  # the next one is put there
