"""Secrets of every shape that are none: each has a body that nothing else holds, so that a search for it is a proof."""

import base64
import string

LETTERS = string.ascii_letters + string.digits


def body(number: int, length: int, letters: str = LETTERS) -> str:
    """Return `length` letters that belong to this number alone, and look as random as a key's."""
    return "".join(letters[(number * 37 + place * (17 + 2 * number) + place * place) % len(letters)] for place in range(length))


def canaries() -> dict[str, tuple[str, str]]:
    """Return by shape: a text with a secret in it, and the part of it that nobody may read."""
    found: dict[str, tuple[str, str]] = {}

    def add(shape: str, before: str, secret: str, after: str = "") -> None:
        found[shape] = before + secret + after, secret

    for number, (shape, before, length) in enumerate((
        ("Hub", "hf_", 34), ("Google, access", "ya29.", 60), ("Google, key", "AIza", 35), ("Google, client", "GOCSPX-", 28),
        ("Prefect", "pnu_", 36), ("GitHub", "ghp_", 36), ("GitHub, fine", "github_pat_", 60), ("GitLab", "glpat-", 20),
        ("OpenAI", "sk-", 48), ("OpenAI, project", "sk-proj-", 64), ("header", "Authorization: Bearer ", 30),
        ("header as a mapping", "{'Authorization': 'Bearer ", 30), ("bearer", "sent bearer 1", 30),
        ("signed, Google", "https://storage.example/a.tar?X-Goog-Date=1&X-Goog-Signature=", 64),
        ("signed, AWS", "https://s3.example/a.tar?X-Amz-Date=1&X-Amz-Signature=", 64),
        ("signed, older", "https://s3.example/a.tar?Expires=1&Signature=", 28), ("signed, Azure", "https://b.example/a.tar?se=1&sig=", 44),
        ("AWS, session", "https://s3.example/a?X-Amz-Security-Token=", 90), ("query", "https://h.example/?a=1&access_token=", 24),
        ("AWS, secret", "aws_secret_access_key = ", 40), ("client", '"client_secret": "', 32), ("password", "host=h password=", 12),
    )):  # fmt: skip
        add(shape, before, body(number, length))
    upper = string.ascii_uppercase + string.digits
    add("AWS", "AKIA", body(40, 16, upper))
    add("AWS, for a while", "ASIA", body(41, 16, upper))
    add("address", "https://somebody:", body(42, 16), "@host.example/path")
    add("database", "postgresql+asyncpg://viska:", body(43, 16), "@db:5432/prefect")
    add("header, basic", "authorization=Basic ", base64.b64encode(f"viska:{body(44, 12)}".encode()).decode())
    add("JSON Web Token", f"eyJ{body(45, 20)}.", f"{body(46, 40)}.{body(47, 40)}")
    lines = "\n".join(body(50 + row, 64) for row in range(3))
    add("key", "-----BEGIN PRIVATE KEY-----\n", lines, "\n-----END PRIVATE KEY-----\n")
    add("key in JSON", '{"private_key": "-----BEGIN RSA PRIVATE KEY-----\\n', body(60, 64), '\\n-----END RSA PRIVATE KEY-----\\n"}')
    return found


INNOCENT = (  # what viska says every day, and what looks like a secret at first
    "shard 00017: 120 clips, 34.5 MB in 12.3 s",
    "release.token: there is no Prefect Secret 'our-hub-token'; make it in the UI, under Blocks",
    "set HF_TOKEN to a token with write access",
    "huggingface_hub.hf_hub_download(hf_transfer_is_not_installed=True)",
    "task-run-1234567890abcdef",
    "sk-SK/clips/common_voice_sk_20000001.mp3",
    "token: there, password: required, secret: our-hub-token",
    "Bearer authentication required",
    "https://host.example:8080/a/b?page=2&key_figures=1",
    "http://127.0.0.1:4200/api, then a@b.example",
    "git@github.com:team/viska.git",
    "ssh://git@host.example/team/viska",
    "gs://bucket/viska/models/whisper-tiny-sv/latest",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0bde8a2d5bd7a5d2f5a5c1",
    "<|startoftranscript|><|sv|><|transcribe|>",
    "448 tokens, the model takes at most 448; tokens=448",
    "åäö 🦉",
    "",
)
