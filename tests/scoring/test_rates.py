"""Error rates against cases counted by hand."""

import math

import pytest

from tasks.scoring.normalise import normaliser_for
from tasks.scoring.rates import ErrorRates, Errors, count_characters, count_words, error_rates, rate, word_error_rate


@pytest.mark.parametrize(
    "reference, hypothesis, substituted, deleted, inserted",
    [
        ("jag heter anna", "jag heter anna", 0, 0, 0),
        ("jag heter anna", "jag heter hanna", 1, 0, 0),
        ("jag heter anna", "jag anna", 0, 1, 0),
        ("jag heter anna", "ja jag heter anna", 0, 0, 1),
        ("det är en lång väg hem", "de en lång lång väg", 1, 2, 1),  # det->de, -är, +lång, -hem
        ("ett två", "", 0, 2, 0),
        ("a b", "a\tb", 0, 0, 0),
        ("a b ", " a\nb", 0, 0, 0),
    ],
)
def test_word_errors_are_counted_as_by_hand(reference: str, hypothesis: str, substituted: int, deleted: int, inserted: int) -> None:
    errors = count_words(reference, hypothesis)
    assert errors == Errors(substituted, deleted, inserted, len(reference.split()))
    assert errors.n_edits == substituted + deleted + inserted


@pytest.mark.parametrize(
    "reference, hypothesis, errors",
    [
        ("katt", "hatt", Errors(1, 0, 0, 4)),
        ("katt", "kat", Errors(0, 1, 0, 4)),
        ("en katt", "enkatt", Errors(0, 1, 0, 7)),  # a space is a character
        ("katt", "katter", Errors(0, 0, 2, 4)),
        ("katt", "", Errors(0, 4, 0, 4)),
        (" katt ", "katt", Errors(0, 0, 0, 4)),
    ],
)
def test_character_errors_are_counted_as_by_hand(reference: str, hypothesis: str, errors: Errors) -> None:
    assert count_characters(reference, hypothesis) == errors


def test_the_rate_of_a_corpus_is_no_mean_of_its_clips() -> None:  # pitfall 32
    references, hypotheses = ["ja", "det var en gång en liten flicka"], ["nej", "det var en gång en liten flicka"]
    assert word_error_rate(references, hypotheses) == 1 / 8
    assert sum(word_error_rate([one], [other]) for one, other in zip(references, hypotheses, strict=True)) / 2 == 1 / 2


def test_what_is_heard_in_silence_counts_as_inserted() -> None:  # pitfall 32: jiwer gives an error rate of 1 whatever was heard
    assert count_words("", "tack för att ni tittade") == Errors(0, 0, 5, 0)
    assert count_words("  ", "tack") == Errors(0, 0, 1, 0) and count_characters(" ", "tack") == Errors(0, 0, 4, 0)
    assert count_words("", "") == count_characters("", "") == Errors(0, 0, 0, 0)
    rates = error_rates(["", "ett två tre fyra", "?"], ["tack så", "ett två tre fyra", "hej"])
    assert rates["wer"] == 3 / 4 and rates["n_empty_references"] == 2
    assert rates["cer"] == (7 + 3) / 16


def test_without_any_reference_the_rate_is_infinite_or_nothing() -> None:
    assert rate([count_words("", "hej")]) == math.inf
    assert rate([count_words("", "")]) == rate([]) == 0.0


def test_a_rate_may_exceed_one() -> None:
    assert word_error_rate(["hej"], ["hej hej hej hej"]) == 3.0


def test_written_and_normalised_rates_stand_side_by_side() -> None:
    rates = error_rates(["Hej, Anna!", "Nu går vi."], ["hej anna", "nu går di"])
    assert rates == {
        "wer": 1 / 5,
        "cer": 1 / 17,
        "wer_raw": 4 / 5,
        "cer_raw": 7 / 20,
        "normaliser": "viska-plain-1",
        "n_empty_references": 0,
    }


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        error_rates(["a", "b"], ["a"])


def test_the_evaluate_library_carries_the_metric_without_a_network() -> None:  # tests/conftest.py says HF_HUB_OFFLINE
    metric = ErrorRates()
    references, hypotheses = ["Jag heter Anna.", "hej", ""], ["jag heter hanna", "hej", "tack"]
    expected = error_rates(references, hypotheses)
    assert metric.compute(predictions=hypotheses, references=references) == expected
    assert expected["wer"] == 2 / 4 and expected["n_empty_references"] == 1
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        metric.add(prediction=hypothesis, reference=reference)
    assert metric.compute() == expected
    swedish = ErrorRates(normaliser_for("sv")).compute(predictions=["25 %"], references=["tjugofem procent"])
    assert (swedish["wer"], swedish["wer_raw"], swedish["normaliser"]) == (0.0, 1.0, "viska-sv-1")
