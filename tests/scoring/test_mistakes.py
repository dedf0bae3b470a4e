"""Mistakes against cases aligned by hand; they add up to the error rate."""

from tasks.scoring.mistakes import N_LISTED, mistakes
from tasks.scoring.rates import count_words
from tests.scoring.test_second_opinion import texts


def _pairs(listed: list[dict[str, object]]) -> list[tuple[object, ...]]:
    return [tuple(each.values()) for each in listed]


def test_mistakes_are_those_found_by_hand() -> None:
    references = ["det är en lång väg hem", "jag heter anna", "", "jag vet inte", "hej"]
    hypotheses = ["de en lång lång väg", "jag heter hanna", "tack så mycket", "", "hej"]
    found = mistakes(references, hypotheses)
    assert (found["n_right"], found["n_substituted"], found["n_deleted"], found["n_inserted"]) == (6, 2, 5, 4)
    assert _pairs(found["confused"]) == [("anna", "hanna", 1), ("det", "de", 1)]
    assert _pairs(found["missed"]) == [("hem", 1), ("inte", 1), ("jag", 1), ("vet", 1), ("är", 1)]
    assert _pairs(found["made_up"]) == [("lång", 1), ("mycket", 1), ("så", 1), ("tack", 1)]
    assert found["confused"][0] == {"said": "anna", "heard": "hanna", "n": 1} and found["missed"][0] == {"word": "hem", "n": 1}


def test_words_of_a_replaced_stretch_pair_up_in_order() -> None:
    assert _pairs(mistakes(["en röd katt nu"], ["en grön hatt nu"])["confused"]) == [("katt", "hatt", 1), ("röd", "grön", 1)]


def test_the_commonest_come_first_and_of_equals_the_alphabet_decides() -> None:
    found = mistakes(["b", "a", "c", "c"], ["x", "x", "x", "x"])
    assert _pairs(found["confused"]) == [("c", "x", 2), ("a", "x", 1), ("b", "x", 1)]
    assert found == mistakes(["c", "b", "c", "a"], ["x"] * 4)
    words = [f"ord{number:02d}" for number in range(N_LISTED + 5)]
    long = mistakes(words, [""] * len(words))
    assert [each["word"] for each in long["missed"]] == words[:N_LISTED] and long["n_deleted"] == N_LISTED + 5


def test_letters_are_compared_in_words_that_are_spelt_alike() -> None:
    found = mistakes(["sjön", "kattor", "hus", "på"], ["schön", "kator", "biografi", "så"])  # hus and biografi have no letter in common
    assert _pairs(found["characters"]) == [("", "c", 1), ("j", "h", 1), ("p", "s", 1), ("t", "", 1)]


def test_the_letters_of_a_missed_word_are_no_mistakes_in_letters() -> None:
    for said, heard in [("katten sov", "hatten"), ("hatten", "katten är"), ("det är bra", "de"), ("", "katten"), ("katten", "")]:
        assert set(_pairs(mistakes([said], [heard])["characters"])) <= {("k", "h", 1), ("h", "k", 1), ("t", "", 1)}


def test_a_lost_and_a_made_up_word_boundary_are_mistakes_in_a_space() -> None:
    found = mistakes(["en bilverkstad här", "i dag"], ["en bil verkstad här", "idag"])
    assert found["characters"] == [{"said": "", "heard": " ", "n": 1}, {"said": " ", "heard": "", "n": 1}]


def test_nothing_wrong_is_nothing_listed() -> None:
    found = mistakes(["hej på dig", ""], ["hej på dig", ""])
    assert found == {"n_right": 3, "n_substituted": 0, "n_deleted": 0, "n_inserted": 0,
                     "confused": [], "missed": [], "made_up": [], "characters": []}  # fmt: skip


def test_mistakes_add_up_to_the_word_error_rate() -> None:
    pairs = texts(4, 600)
    found = mistakes(*zip(*pairs, strict=True))
    errors = [count_words(*pair) for pair in pairs]
    for name in ("n_substituted", "n_deleted", "n_inserted"):
        assert found[name] == sum(getattr(each, name) for each in errors)
    assert found["n_right"] + found["n_substituted"] + found["n_deleted"] == sum(each.n_reference for each in errors)
