"""Ask a server that runs ``featherlight serve``; Python's own library is enough.

    featherlight serve cifar10
    python examples/ask_server.py photo.jpg other.jpg
    python examples/ask_server.py photo.jpg --server https://example.org --key "$(cat keys.txt)"

A server that has no room says when to come again; this client does.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRIES = 5
NO_ROOM = 503


def ask(server: str, images: Sequence[Path], key: str | None = None, top: int = 1) -> list[dict[str, Any]]:
    """The rows of all images, in their order: ``label``, ``probability``, ``rejected``, or ``error``."""
    body = {"images": [base64.b64encode(image.read_bytes()).decode() for image in images]}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(f"{server}/v1/predict?top={top}", json.dumps(body).encode(), headers)
    answered: list[dict[str, Any]] = json.loads(_send(request))["predictions"]
    return answered


def _send(request: urllib.request.Request) -> bytes:
    """The answer. A refusal becomes an error that says what the server said."""
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as refusal:
            if refusal.code != NO_ROOM or not left:
                raise SystemExit(f"{refusal.code}: {_reason(refusal)}") from None
            time.sleep(float(refusal.headers.get("Retry-After", 1)))
    raise AssertionError("the last try returns or raises")


def _reason(refusal: urllib.error.HTTPError) -> str:
    """What the server says to do; something between it and us may have answered in its place."""
    try:
        return str(json.load(refusal)["detail"])
    except (ValueError, KeyError, TypeError):
        return str(refusal.reason)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--key")
    given = parser.parse_args()
    for image, row in zip(given.images, ask(given.server, given.images, given.key), strict=True):
        print(f"{image}: {row.get('error') or row['label']}")
