"""What a secret looks like, and words without it: for all that is written where others read, such as logs and states of runs.

Must not be taken for a reason to write secrets down: what is encoded, cut in two or of a shape that nobody has published is not known here.
Shapes: the pages of the Hugging Face Hub, AWS, Google Cloud, Azure, GitHub, GitLab, Slack, OpenAI and Prefect on their keys; RFC 3986,
section 3.2.1; RFC 6750; RFC 7468; RFC 7519.
"""

import os
import re
from collections.abc import Iterator
from functools import lru_cache

GONE = "[redacted]"
SHORTEST = 8  # letters of a value of the environment; a shorter one is a word that stands in many lines
_given: set[str] = set()  # secrets that this process was given, of whatever shape

# Letters, small, that a secret of this shape comes with, so that few lines are searched; the shape, and first what is left of it.
_SHAPES = tuple((hint, re.compile(shape)) for hint, shape in (
    ("hf_", r"\b(hf_(?:oauth_|jwt_)?)[A-Za-z0-9]{20,}[\w.-]*"),
    ("api_org_", r"\b(api_org_)[A-Za-z]{20,}"),
    ("akia", r"\b(AKIA)[A-Z0-9]{16}\b"),
    ("asia", r"\b(ASIA)[A-Z0-9]{16}\b"),
    ("ya29.", r"\b(ya29\.)[\w.-]{20,}"),
    ("aiza", r"\b(AIza)[\w-]{35}"),
    ("gocspx-", r"\b(GOCSPX-)[\w-]{20,}"),
    ("private key", r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(?:[A-Za-z0-9+/=\s]|\\+[nr])*(?:-----END [A-Z ]*PRIVATE KEY-----)?"),
    ("gh", r"\b(gh[pousr]_)[A-Za-z0-9]{30,}"),
    ("github_pat_", r"\b(github_pat_)\w{30,}"),
    ("glpat-", r"\b(glpat-)[\w-]{20,}"),
    ("xox", r"\b(xox[abeprs]-)[\w-]{20,}"),
    ("pn", r"\b(pn[ub]_)[A-Za-z0-9]{20,}"),
    ("sk-", r"(?<![\w-])(sk-)(?:(?:proj|svcacct|admin|ant)-[\w-]{20,}|[A-Za-z0-9]{20,})"),
    ("eyj", r"\b(eyJ)[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"),  # a JSON Web Token
    ("authorization", r"(?i)(\bauthorization[\\\"']*\s*[:=]\s*(?:b(?=[\"']))?[\\\"']*(?:(?:bearer|basic|token)\s+)?)[^\s\\\"',;)}\]]{4,}"),
    ("bearer", r"(?i)(\bbearer\s+)(?=[A-Za-z]*[\d._~+/=-])[\w.~+/=-]{16,}"),
    ("://", r"(://[^\s/?#:@\"'<>]*:)[^\s/?#\"'<>]+(?=@)"),  # of RFC 3986, userinfo with a password
    ("sig", r"(?i)([?&;](?:x-(?:goog|amz)-)?sig(?:nature)?=)[\w%.~+/=-]+"),
    ("token", r"(?i)([?&;](?:x-amz-security-token|(?:access_|refresh_|id_)?token)=)[\w%.~+/=-]+"),
    ("key", r"(?i)([?&;](?:api_?|access_?|secret_?)?key=)[\w%.~+/=-]+"),
    ("secret", r"(?i)((?:secret_?(?:access_?)?key|client_?secret)[\\\"']*\s*[:=]\s*[\\\"']*)[\w+/=.~-]{16,}"),
    ("token", r"(?i)((?:access|refresh|session|id)_?token[\\\"']*\s*[:=]\s*[\\\"']*)[\w+/=.~-]{16,}"),
    ("passw", r"(?i)(\bpassw(?:or)?d[\\\"']*\s*=\s*[\\\"']*)(?:[^\s\\\"',;&]|\\+[^\s\\\"']){4,}"),
))  # fmt: skip
_SAYS_SECRET = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|AUTH|API_?KEY|ACCESS_KEY|PRIVATE_KEY)(?:_|$)", re.IGNORECASE)
_SAYS_WHERE = re.compile(r"_(?:FILE|PATH|DIR|URL|URI|HOST|SOCK|NAME|TYPE|METHOD|ID)$", re.IGNORECASE)


def redact(text: str) -> str:
    """Return the text without the secrets in it; the very same object if there are none."""
    low = text.lower()
    for hint, shape in _SHAPES:
        if hint in low:
            text = shape.sub(rf"\1{GONE}", text)
    for value in _values():
        if value in text:
            text = text.replace(value, GONE)
    return text


def remember(secret: str) -> str:
    """Return a secret that this process was given, and know it from now on, whatever its shape is."""
    if len(secret) >= SHORTEST:
        _given.add(secret)
    return secret


def _values() -> Iterator[str]:
    """Yield the secrets that are known by heart: what was given, and what the environment holds under a name that says so."""
    yield from tuple(_given)
    for name in os.environ:
        if _is_secret(name) and len(value := os.environ.get(name, "")) >= SHORTEST:
            yield value
            password = value.partition(":")[2]  # of a user and a password, as Prefect's server wants them
            if len(password) >= SHORTEST:
                yield password


@lru_cache(4096)
def _is_secret(name: str) -> bool:
    return bool(_SAYS_SECRET.search(name)) and not _SAYS_WHERE.search(name)
