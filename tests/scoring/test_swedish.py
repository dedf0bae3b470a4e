"""Written and spoken forms of Swedish are the same; forms that sound different are not."""

import random
import time

import pytest

from tasks.scoring.normalise import normaliser_for, plain

swedish = normaliser_for("sv")

SAME = [  # as written, as said, as compared
    ("25", "tjugofem", "25"),
    ("25", "tjugo fem", "25"),
    ("125", "hundratjugofem", "125"),
    ("125", "etthundratjugofem", "125"),
    ("1999", "nittonhundranittionio", "1999"),
    ("1984", "nittonåttiofyra", "1984"),
    ("2024", "tvåtusentjugofyra", "2024"),
    ("2024", "tjugohundratjugofyra", "2024"),
    ("2024", "tjugotjugofyra", "2024"),
    ("1900", "ett tusen nio hundra", "1900"),
    ("1 000", "ettusen", "1000"),
    ("1.000", "tusen", "1000"),
    ("10 000", "tio tusen", "10000"),
    ("21\u00a0000", "tjugoettusen", "21000"),
    ("1 000 000", "en miljon", "1000000"),
    ("2 miljoner", "två miljoner", "2000000"),
    ("5 miljarder", "fem miljarder", "5000000000"),
    ("2 500 000", "två miljoner femhundra tusen", "2500000"),
    ("2,5 miljoner", "två komma fem miljoner", "2 komma 5 miljoner"),
    ("3,5", "tre komma fem", "3 komma 5"),
    ("3,14", "tre komma fjorton", "3 komma 14"),
    ("0,05", "noll komma noll fem", "0 komma 0 5"),
    ("2,1", "två komma ett", "2 komma ett"),
    ("1 hus", "ett hus", "ett hus"),
    ("1, 2, 3", "ett två tre", "ett 2 3"),
    ("10 i 3", "tio i tre", "10 i 3"),
    ("007", "noll noll sju", "0 0 7"),
    ("kl. 14.30", "klockan fjorton trettio", "klockan 14 30"),
    ("Kl 14:30", "klockan fjorton trettio", "klockan 14 30"),
    ("08:30", "åtta trettio", "8 30"),
    ("kl. 08.05", "klockan åtta noll fem", "klockan 8 0 5"),
    ("20:24", "tjugo tjugofyra", "20 24"),
    ("den 25 maj", "den tjugofemte maj", "den tjugofemte maj"),
    ("1 maj", "första maj", "första maj"),
    ("den 1:e maj", "den första maj", "den första maj"),
    ("1:a", "första", "första"),
    ("2:a", "andra", "andra"),
    ("3:e", "tredje", "tredje"),
    ("21:a", "tjugoförsta", "tjugoförsta"),
    ("20:e", "tjugonde", "tjugonde"),
    ("1:e styrman", "förste styrman", "förste styrman"),
    ("100:e", "hundrade", "hundrade"),
    ("80-talet", "åttiotalet", "80talet"),
    ("2000-talet", "tjugohundratalet", "2000talet"),
    ("en 18-åring", "en artonåring", "en 18åring"),
    ("en 1-årig", "en ettårig", "en 1årig"),
    ("vid 9-tiden", "vid niotiden", "vid 9tiden"),
    ("50 %-ig", "femtioprocentig", "50procentig"),
    ("50 %", "femtio procent", "50 procent"),
    ("1 %", "en procent", "en procent"),
    ("100 kr", "hundra kronor", "100 kronor"),
    ("100:-", "hundra kronor", "100 kronor"),
    ("100,-", "hundra kronor", "100 kronor"),
    ("100 SEK", "hundra kronor", "100 kronor"),
    ("1 kr", "en krona", "en krona"),
    ("1,1 kr", "ett komma ett kronor", "ett komma ett kronor"),
    ("€50", "femtio euro", "50 euro"),
    ("50 €", "femtio euro", "50 euro"),
    ("$1 000 000", "en miljon dollar", "1000000 dollar"),
    ("5 km", "fem kilometer", "5 kilometer"),
    ("1 km", "en kilometer", "en kilometer"),
    ("5km", "fem kilometer", "5 kilometer"),
    ("10 km/h", "tio kilometer i timmen", "10 kilometer i timmen"),
    ("2,1 m", "två komma ett meter", "2 komma ett meter"),
    ("30 m²", "trettio kvadratmeter", "30 kvadratmeter"),
    ("2 dl", "två deciliter", "2 deciliter"),
    ("5 kg", "fem kilo", "5 kilo"),
    ("1 kg", "ett kilo", "ett kilo"),
    ("3 st.", "tre stycken", "3 stycken"),
    ("20 °C", "tjugo grader", "20 grader"),
    ("1°", "en grad", "en grad"),
    ("−5 grader", "minus fem grader", "minus 5 grader"),
    ("det är -5 grader", "det är minus fem grader", "det är minus 5 grader"),
    ("du & jag", "du och jag", "du och jag"),
    ("2 + 2", "två plus två", "2 plus 2"),
    ("§ 5", "paragraf fem", "paragraf 5"),
    ("t.ex. hon", "till exempel hon", "till exempel hon"),
    ("bl.a.", "bland annat", "bland annat"),
    ("d.v.s.", "det vill säga", "det vill säga"),
    ("m.m.", "med mera", "med mera"),
    ("osv.", "och så vidare", "och så vidare"),
    ("p.g.a.", "på grund av", "på grund av"),
    ("fr.o.m. 3 maj t.o.m. 5 maj", "från och med tredje maj till och med femte maj", "från och med tredje maj till och med femte maj"),
    ("m.fl.", "med flera", "med flera"),
    ("f.d.", "före detta", "före detta"),
    ("300 f.Kr.", "trehundra före Kristus", "300 före kristus"),
    ("etc.", "et cetera", "etcetera"),
    ("ca 10", "cirka tio", "cirka 10"),
    ("c:a 10", "cirka tio", "cirka 10"),
    ("resp.", "respektive", "respektive"),
    ("nr 7", "nummer sju", "nummer 7"),
    ("tel. 112", "telefon hundratolv", "telefon 112"),
    ("dr. Berg", "doktor Berg", "doktor berg"),
    ("kap. 4", "kapitel fyra", "kapitel 4"),
    ("S:t Erik", "Sankt Erik", "sankt erik"),
    ("e-post", "epost", "epost"),
    ("Nord-Syd", "nordsyd", "nordsyd"),
    ("sön- och helgdagar", "sön och helgdagar", "sön och helgdagar"),
    ("covid-19", "covid nitton", "covid 19"),
    ("TV:n", "tvn", "tvn"),
    ("U.S.A.", "USA", "usa"),
    ("hem\u00adbygd", "hembygd", "hembygd"),
]
ALIKE = [  # written in several ways
    ("t.ex.", "t. ex.", "t ex", "tex"),
    ("d.v.s.", "dvs", "dvs.", "d v s"),
    ("p.g.a.", "pga", "p g a", "P.g.a."),
    ("s.k.", "s k", "sk", "s. k."),
    ("10\u202f000", "10 000", "10.000", "10000"),
]
DIFFERENT = [
    ("dom", "dem"),
    ("de", "dem"),
    ("nåt", "något"),
    ("sa", "sade"),
    ("en", "ett"),
    ("1 bil", "en bil"),
    ("för", "får"),
    ("a", "å"),
]
LEFT_ALONE = [  # words that look like what they are not
    "en bil och ett hus", "en entré", "tom var from", "bla bla", "mm jaha", "en halv miljon", "miljarden och miljonen",
    "han kan komma ett tag", "de andra", "ett a ett g", "min är bred", "så kallade vänner", "trehundratalsvis",
]  # fmt: skip
PROSE = [
    "På ön bodde en gammal fiskare, och han åt ål varje kväll.",
    "Vi såg idén växa – långsamt – ”som ett träd”, sa hon.",
    "Har du hört att Åsa och Örjan ska gifta sig? Nej!",
    "Det var en gång ett hus som ingen ville ha; det låg vid sjön.",
]


@pytest.mark.parametrize("written, said, compared", SAME)
def test_a_form_is_the_same_written_and_said(written: str, said: str, compared: str) -> None:
    assert (swedish(written), swedish(said)) == (compared, compared)


@pytest.mark.parametrize("forms", ALIKE)
def test_ways_of_writing_are_one(forms: tuple[str, ...]) -> None:
    assert len({swedish(form) for form in forms}) == 1


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_what_sounds_different_stays_different(one: str, other: str) -> None:
    assert swedish(one) != swedish(other)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_other_words_are_left_alone(text: str) -> None:
    assert swedish(text) == text


@pytest.mark.parametrize("text", PROSE)
def test_text_without_such_forms_is_plain_word_for_word(text: str) -> None:
    assert swedish(text) == plain(text)


def test_swedish_letters_stay_also_when_they_come_decomposed() -> None:  # pitfall 33
    assert swedish("Å Ä Ö É") == swedish("A\u030a A\u0308 O\u0308 E\u0301") == "å ä ö é"


def test_normalising_twice_changes_nothing() -> None:
    forms = [form for triple in SAME for form in triple] + [form for forms in ALIKE for form in forms] + LEFT_ALONE
    parts = [part for form in forms for part in form.split()]
    dice = random.Random(6)
    mixed = ["".join(dice.choice(parts) + dice.choice("  -,./:") for _ in range(dice.randint(2, 7))) for _ in range(4000)]
    for text in [*forms, *mixed, ""]:
        once = swedish(text)
        assert swedish(once) == once, text


def test_a_thousand_sentences_take_a_second() -> None:
    sentence = "Den 25 maj kl. 14.30 kom tvåhundratjugofem personer, bl.a. sön- och helgdagar, till e-postens 80-tal nummer {} för 3,5 kr."
    start = time.perf_counter()
    for number in range(1000):
        swedish(sentence.format(number))
    assert time.perf_counter() - start < 5  # half a second; the rest is for a busy machine


def test_what_a_model_repeats_without_end_is_read_at_once() -> None:
    start = time.perf_counter()
    for part in ("en", "hundra ", "1,", "1", "t o m ", "kl. ", "års", "tusen"):
        swedish(part * 2000)
    assert time.perf_counter() - start < 10
