"""Every word of the demo's page, in English and in Swedish. `{...}` are filled in where they are shown."""

TEXTS: dict[str, dict[str, str]] = {
    "intro": {
        "en": "Speak {language}, or choose a recording or a video of any format, and read what {name} hears.",
        "sv": "Tala {language}, eller välj en inspelning eller en video i vilket format som helst, och läs vad {name} hör.",
    },
    "page_language": {"en": "Language of this page", "sv": "Sidans språk"},
    "microphone": {"en": "Microphone", "sv": "Mikrofon"},
    "file": {"en": "File", "sv": "Fil"},
    "record": {"en": "Record with the microphone", "sv": "Spela in med mikrofonen"},
    "choose": {"en": "Recording or video, at most {megabytes} MB", "sv": "Inspelning eller video, högst {megabytes} MB"},
    "compare": {"en": "Compare with {base}, from which it was trained", "sv": "Jämför med {base}, som den tränades från"},
    "transcribe": {"en": "Transcribe", "sv": "Transkribera"},
    "stop": {"en": "Stop", "sv": "Avbryt"},
    "empty": {"en": "The text appears here, piece by piece, as it is heard.", "sv": "Texten visas här, bit för bit, medan den hörs."},
    "reading": {"en": "Reading the recording …", "sv": "Läser inspelningen …"},
    "progress": {"en": "Listening: {done} of {all}", "sv": "Lyssnar: {done} av {all}"},
    "stopped": {"en": "Stopped at {done} of {all}.", "sv": "Avbrutet vid {done} av {all}."},
    "done": {"en": "Done: {words} words in {all}, {unsure} of them unsure.", "sv": "Klart: {words} ord på {all}, {unsure} av dem osäkra."},
    "nobody": {"en": "Done. Nobody speaks in it, as far as the model can hear.", "sv": "Klart. Ingen talar, såvitt modellen kan höra."},
    "player": {"en": "The recording", "sv": "Inspelningen"},
    "pieces": {"en": "What is said", "sv": "Det som sägs"},
    "play": {"en": "Play from {time}", "sv": "Spela från {time}"},
    "sure": {"en": "{percent} % sure", "sv": "{percent} % säker"},
    "legend": {
        "en": "Underlined words are unsure: <u>a little</u>, <b>very</b>. A click on a time plays the piece.",
        "sv": "Understrukna ord är osäkra: <u>något</u>, <b>mycket</b>. Ett klick på en tid spelar upp biten.",
    },
    "differs": {"en": "marked: what it hears otherwise", "sv": "markerat: det som den hör annorlunda"},
    "downloads": {"en": "Take it with you", "sv": "Ta med texten"},
    "text_file": {"en": "Text", "sv": "Text"},
    "subtitles": {"en": "Subtitles", "sv": "Undertexter"},
    "copy": {"en": "Copy", "sv": "Kopiera"},
    "copied": {"en": "Copied", "sv": "Kopierat"},
    "wrong": {"en": "Wrong?", "sv": "Fel?"},
    "wrong_at": {"en": "Wrong? Correct the piece at {time}", "sv": "Fel? Rätta biten vid {time}"},
    "correct_title": {"en": "What is said at {time}?", "sv": "Vad sägs vid {time}?"},
    "correct_help": {
        "en": "Listen, write what is really said, and send it: the model can learn from it.",
        "sv": "Lyssna, skriv vad som verkligen sägs och skicka: modellen kan lära sig av det.",
    },
    "correct_text": {"en": "What is really said", "sv": "Det som verkligen sägs"},
    "consent": {
        "en": "I agree that this piece of the recording and my text are stored and used to train and test speech recognition. Whoever "
        "speaks in it agrees too. Nothing else about me is stored.",
        "sv": "Jag samtycker till att den här biten av inspelningen och min text sparas och används för att träna och pröva "
        "taligenkänning. Den som talar i den samtycker också. Inget annat om mig sparas.",
    },
    "send": {"en": "Send the correction", "sv": "Skicka rättelsen"},
    "close": {"en": "Close", "sv": "Stäng"},
    "thanks": {
        "en": "Thank you. To have it deleted again, give whoever runs this page the number {receipt}.",
        "sv": "Tack. Vill du ha den raderad igen, uppge numret {receipt} för den som driver sidan.",
    },
    "corrected": {"en": "corrected", "sv": "rättad"},
    "privacy": {
        "en": "Recordings are decoded and heard where this page runs, go to no other service, and are deleted there within two hours; "
        "at most {minutes} minutes each.",
        "sv": "Inspelningar avkodas och avlyssnas där den här sidan körs, skickas inte till någon annan tjänst och raderas där inom två "
        "timmar; högst {minutes} minuter vardera.",
    },
    "privacy_kept": {
        "en": "What you send as a correction, and only that, is kept.",
        "sv": "Det som du skickar som rättelse, och bara det, sparas.",
    },
    "no_recording": {"en": "Record something, or choose a file first.", "sv": "Spela in något eller välj en fil först."},
    "broken": {
        "en": "This cannot be heard: it is no recording, or it is damaged.",
        "sv": "Det här går inte att höra: det är ingen inspelning, eller så är den skadad.",
    },
    "silent": {"en": "There is no sound in it. Is the microphone switched on?", "sv": "Det finns inget ljud i den. Är mikrofonen på?"},
    "too_long": {"en": "It is longer than {minutes} minutes; cut it first.", "sv": "Den är längre än {minutes} minuter; dela den först."},
    "accident": {"en": "Something went wrong here. Please try again.", "sv": "Något gick fel här. Försök gärna igen."},
    "no_consent": {"en": "Nothing was sent: tick the box if you agree.", "sv": "Inget skickades: kryssa i rutan om du samtycker."},
    "no_change": {"en": "Nothing was sent: the text is still the model's.", "sv": "Inget skickades: texten är fortfarande modellens."},
    "no_words": {"en": "Nothing was sent: write what is said.", "sv": "Inget skickades: skriv vad som sägs."},
    "too_much": {"en": "Nothing was sent: the text is too long.", "sv": "Inget skickades: texten är för lång."},
    "gone": {
        "en": "The recording is not here any more; transcribe it again.",
        "sv": "Inspelningen finns inte kvar här; transkribera den igen.",
    },
}
LANGUAGES = {"en": "English", "sv": "Svenska"}


def texts(language: str) -> dict[str, str]:
    """Return all texts in a language of the page; what it does not have is English."""
    return {key: each[language if language in LANGUAGES else "en"] for key, each in TEXTS.items()}


def preferred(accept_language: str) -> str:
    """Return the first language of the page that a browser asks for (RFC 9110, section 12.5.4), English if it asks for none."""
    wishes: list[tuple[float, str]] = []
    for part in accept_language.split(","):
        tag, _, quality = part.partition(";")
        try:
            wishes.append((float(quality.strip().removeprefix("q=") or 1), tag.strip().lower()))
        except ValueError:
            continue
    ours = [tag.split("-")[0] for wish, tag in sorted(wishes, key=lambda each: -each[0]) if wish > 0]
    return next((tag for tag in ours if tag in LANGUAGES), "en")
