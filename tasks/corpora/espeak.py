"""Swedish speech made on the spot by eSpeak NG: the demonstration's corpus, with nothing to download.

The library comes in the `espeakng-loader` wheel and speaks a thousand times faster than a person. Sentences are drawn from a small grammar;
train, dev and test have sentences and voices of their own. Synthetic voices prove the chain, not the quality of a recogniser.
"""

import ctypes
import io
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Any, BinaryIO

import espeakng_loader
import numpy as np
import soundfile

from tasks.contracts.corpora import EspeakCorpus
from tasks.contracts.errors import CorpusError
from tasks.corpora import Recording

VERSION = 1  # of the grammar and the voices below
# Variants of eSpeak's Swedish voice; nobody speaks in two splits. Left out are those whose sound differs from process to process (f2,
# f3, f5, Alicia, Demonic, sandro, victor and the whisperers: they read memory that nothing has written), and robots.
VOICES = {
    "train": ("m1", "m3", "m4", "m6", "m7", "m8", "f1", "Alex", "Andy", "Annie", "Denis", "Gene", "Hugo", "Jacky", "Lee", "Marco",
              "Michael", "Mike", "adam", "anika", "aunty", "belinda", "david", "edward", "linda", "max", "michel", "paul", "pedro",
              "steph", "steph2", "steph3", "rob", "quincy", "norbert", "benjamin"),
    "dev": ("m5", "john", "Mario", "shelby"),
    "test": ("m2", "f4", "robert", "Andrea", "boris", "grandma"),
}  # fmt: skip
WHO = ("pojken", "flickan", "läkaren", "bonden", "min syster", "hans bror")
DOES = ("köper", "säljer", "hittar", "målar", "tappar", "lånar")
HOW_MANY = ("två", "tre", "fyra", "sju", "åtta", "elva")
WHICH = ("röda", "blå", "gröna", "små", "gamla", "vackra")
WHAT = ("båtar", "hästar", "äpplen", "böcker", "nycklar", "fåglar")
WHERE = ("i skogen", "på ön", "vid sjön", "hemma", "på torget", "bakom huset")
ORDERS = (  # who does what; what comes where differs, so that a model must listen and cannot count
    (WHO, DOES, HOW_MANY, WHICH, WHAT),
    (WHO, DOES, HOW_MANY, WHAT, WHERE),
    (WHERE, DOES, WHO, HOW_MANY, WHAT),
    (HOW_MANY, WHICH, WHAT, DOES, WHO),
)
PAUSE = 0.2  # seconds at most; a model that has heard only recordings that begin with a word is lost when one does not
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
RETRIEVAL, UTF8, RATE, PITCH = 1, 1, 1, 3  # of eSpeak's speak_lib.h


def revision(spec: EspeakCorpus) -> Any:
    """Return what decides the sound: our grammar, and the library's version."""
    return {"grammar": VERSION, "espeakng-loader": version("espeakng-loader")}


def recordings(spec: EspeakCorpus) -> Iterator[Recording]:
    """Yield the sentences with their sound as 22.05 kHz WAV, equal on every call.

    eSpeak carries state from one utterance to the next, so all are spoken by a fresh process, in order.

    Raises:
        CorpusError: if the library cannot be used on this machine.
    """
    script = _script(spec)
    with subprocess.Popen([sys.executable, "-m", "tasks.corpora.espeak"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as speaker:
        assert speaker.stdin and speaker.stdout
        speaker.stdin.write(json.dumps(script).encode())
        speaker.stdin.close()
        for line in script:
            size = speaker.stdout.read(8)
            if len(size) < 8:
                raise CorpusError(f"eSpeak NG stopped at {line['id']}: exit code {speaker.wait()}; see its words above")
            audio = speaker.stdout.read(int.from_bytes(size, "big"))
            yield Recording(line["id"], partial(bytes, audio), line["text"], line["voice"], line["split"])


def _script(spec: EspeakCorpus) -> list[dict[str, Any]]:
    """Return who says what, how fast and how high."""
    dice = random.Random(spec.seed)
    sizes = {"train": spec.n_train, "dev": spec.n_dev, "test": spec.n_test}
    unused = iter(_sentences(dice, sum(sizes.values())))
    return [
        {
            "id": f"{split}/{number:05d}",
            "split": split,
            "text": next(unused),
            "voice": VOICES[split][number % len(VOICES[split])],
            "speed": dice.randint(150, 205),  # words a minute
            "pitch": dice.randint(35, 65),  # of 99
            "pauses": [round(dice.uniform(0, PAUSE), 3) for _ in range(2)],  # seconds before and after
        }
        for split, size in sizes.items()
        for number in range(size)
    ]


def _sentences(dice: random.Random, n: int) -> list[str]:
    """Return different sentences of the grammar."""
    sentences: dict[str, None] = {}
    while len(sentences) < n:
        sentences[" ".join(dice.choice(words) for words in dice.choice(ORDERS))] = None
    return list(sentences)


def _speak(script: list[dict[str, Any]], out: BinaryIO) -> None:
    """Speak each line, and write its WAV after its size in eight bytes."""
    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    data = str(espeakng_loader.get_data_path()).encode()
    sample_rate = library.espeak_Initialize(RETRIEVAL + 1, 0, data, 0)  # AUDIO_OUTPUT_SYNCHRONOUS: sound through the callback
    if sample_rate <= 0:
        raise CorpusError(f"eSpeak NG does not start: espeak_Initialize gave {sample_rate}")
    pieces: list[np.ndarray] = []

    def keep(samples: Any, n_samples: int, _events: int) -> int:
        if samples and n_samples > 0:
            pieces.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        return 0

    callback = CALLBACK(keep)  # kept in a name: C would call a collected one
    library.espeak_SetSynthCallback(callback)
    for line in script:
        pieces.clear()
        if library.espeak_SetVoiceByName(f"sv+{line['voice']}".encode()) != 0:
            raise CorpusError(f"eSpeak NG has no voice sv+{line['voice']}")
        library.espeak_SetParameter(RATE, line["speed"], 0)
        library.espeak_SetParameter(PITCH, line["pitch"], 0)
        text = line["text"].encode() + b"\0"
        library.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, 1, 0, UTF8, None, None)
        before, after = (np.zeros(int(seconds * sample_rate), np.int16) for seconds in line["pauses"])
        wav = io.BytesIO()
        soundfile.write(wav, np.concatenate([before, *pieces, after]), sample_rate, format="WAV", subtype="PCM_16")
        out.write(len(wav.getvalue()).to_bytes(8, "big") + wav.getvalue())
    out.flush()


if __name__ == "__main__":
    _speak(json.load(sys.stdin.buffer), sys.stdout.buffer)
