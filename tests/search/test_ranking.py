"""Who is the best, and how sure that is: the luck that chose a trial does not count for it, and seeds are compared with the same seeds."""

from typing import Any

from tasks.search.ranking import lines, ranking, verdict
from tasks.search.study import Tried


def tried(
    number: int, wer: float | None, values: dict[str, Any], seed: int = 0, repeats: int | None = None, state: str = "complete"
) -> Tried:
    return Tried(number, values, seed, repeats, state, wer, {}, 1.0, "", "loss is not finite" if state == "fail" else "")


def again(first: Tried, *wers: float) -> list[Tried]:
    return [tried(100 + 10 * first.number + seed, wer, first.values, seed, first.number) for seed, wer in enumerate(wers, 1)]


BASE, A, B, C = (
    tried(0, 0.3, {}),
    tried(1, 0.1, {"training.batch": 4}),
    tried(2, 0.2, {"training.batch": 8}),
    tried(3, 0.5, {"training.batch": 2}),
)


def test_the_training_for_which_a_trial_was_chosen_does_not_count_for_it() -> None:
    result = ranking([BASE, A, B, C, *again(BASE, 0.3, 0.3, 0.3), *again(A, 0.3, 0.3, 0.3), *again(B, 0.2, 0.22, 0.21)])
    best, *_ = result["places"]
    assert [each["number"] for each in result["places"]] == [2, 0, 1, 3]
    assert best["seeds"] == [0.2, 0.22, 0.21] and best["with_seed"] == [1, 2, 3]
    assert result["gain"]["n_seeds"] == 3 and round(result["gain"]["value"], 4) == 0.09
    assert "more than the luck of a seed" in verdict(result)


def test_where_all_were_repeated_nothing_was_chosen_and_every_training_counts() -> None:
    result = ranking([BASE, A, *again(BASE, 0.32, 0.34), *again(A, 0.2, 0.3)])
    assert result["places"][0]["seeds"] == [0.1, 0.2, 0.3] and result["gain"]["n_seeds"] == 3


def test_a_seed_is_compared_with_the_same_seed_where_another_is_missing() -> None:
    missing = [each for each in again(BASE, 0.1, 0.6, 0.8) if each.seed != 1]
    result = ranking([BASE, A, C, *missing, *again(A, 0.4, 0.5, 0.7)])
    assert result["best"] == 1 and result["gain"]["n_seeds"] == 2 and round(result["gain"]["value"], 4) == 0.1


def test_one_seed_is_never_called_more_than_luck() -> None:
    assert "may be luck" in verdict(ranking([BASE, A]))
    assert "did not come to its end" in verdict(ranking([tried(0, None, {}, state="fail"), A]))
    assert "nothing that was tried is better" in verdict(ranking([BASE, C]))
    assert verdict(ranking([tried(0, None, {}, state="fail")])) == "no trial came to its end"


def test_what_was_ended_early_or_failed_stands_behind_with_its_reason() -> None:
    table = lines(
        ranking([BASE, tried(1, 0.05, {"training.batch": 4}, state="pruned"), tried(2, None, {"training.batch": 8}, state="fail")])
    )
    assert "the recipe as it is" in table[0] and "ended early" in table[1] and "failed: loss is not finite" in table[2]
