"""Whisper: where a training starts, labels, batches, the loop, checkpoints, decoding. Needs torch, transformers and pyarrow, nothing else.

Everything that depends on the model is read from the model: bins, window, special tokens, the longest label. 3,000 frames, 50,258 and
448 are nowhere written down.
"""
