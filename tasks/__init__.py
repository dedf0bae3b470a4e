"""The work of viska: a file here is a verb, a folder is a noun.

A verb (`train.py`) is a thin Prefect step: it reads, calls plain code, writes, and returns a reference. A noun (`audio/`) is plain
Python that never imports Prefect, a verb or a flow, and works in a bare REPL. Imports run one way: flows -> verbs -> nouns;
`tests/test_architecture.py` holds that.
"""
