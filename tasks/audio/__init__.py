"""Sound to features: decode, resample, log-Mel. Arrays in, arrays out; no store, no recipe, no Prefect."""

SAMPLE_RATE = 16_000  # Hz, what every Whisper hears
