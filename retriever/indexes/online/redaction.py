"""Secrets taken out of text before anything else is done with it, whatever a peer made of them."""

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

REDACTED = "[secret]"


def redact(text: str, secrets: Iterable[str]) -> str:
    """Put ``[secret]`` in the place of every secret: as it is, in JSON, in a url, or escaped.

    Do it before text is cut: of a secret that was cut the beginning would stay.
    """
    forms = {
        form
        for secret in secrets
        if secret
        for form in (
            secret,
            secret.strip(),
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
            quote(secret, safe=""),
            quote_plus(secret),
        )
    }
    for form in sorted(forms - {""}, key=len, reverse=True):  # one may be a part of another
        text = text.replace(form, REDACTED)
    return text
