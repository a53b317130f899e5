"""How a reply says what answered it: `x-crma-*` headers and the `crma` object of its body.

Owns: their names and form. Knows nothing of how bodies travel.
"""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from crma_server.routing.selector import Choice

DEBUG_HEADER = b"x-crma-debug"
MEMBER = "crma"
_FACTS = ("adapter", "version", "backbone", "path", "domain", "confidence", "release")
EXPOSED = (*(f"x-crma-{fact}" for fact in _FACTS), "x-request-id", "retry-after")


def show_marks_to_pages(app: Starlette) -> None:
    """Let pages of other origins read the marks, where `app` lets them ask at all."""
    for layer in app.user_middleware:
        known: object = layer.cls
        if known is CORSMiddleware:
            layer.kwargs["expose_headers"] = EXPOSED


def mark_headers(choice: Choice) -> list[tuple[bytes, bytes]]:
    """The `x-crma-*` headers; those without a value (no backbone in effect, no decision) are left out."""
    return [
        (f"x-crma-{name}".encode("ascii"), str(value).encode("ascii"))
        for name, value in _facts(choice).items()
        if value is not None
    ]


def mark_object(choice: Choice, *, debug: bool) -> bytes:
    """The `crma` object as JSON; if `debug`, with all scores, distances and how the conversation is known."""
    document = _facts(choice) | {"reason": choice.reason} | ({"canary": True} if choice.canary else {})
    if debug and choice.decision is not None:
        document |= {
            "scores": {name: round(score, 6) for name, score in choice.decision.scores.items()},
            "ood_distance": choice.decision.ood_distance,
            "ood_threshold": choice.decision.ood_threshold,
            "cause": choice.decision.cause,
        }
    if debug and choice.memory is not None:
        document |= {"session": {"key": choice.memory.key, "known": choice.memory.known}}
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def _facts(choice: Choice) -> dict[str, Any]:
    target, decision = choice.target, choice.decision
    # An explicit name is its own domain; the base model and the backbone have none.
    domain = decision.domain if decision else (target.adapter if choice.path == "explicit" else None)
    return {
        "adapter": target.adapter,
        "version": target.version,
        "backbone": target.backbone,
        "path": choice.path,
        "domain": domain if domain not in ("base", "backbone") else None,
        "confidence": round(decision.confidence, 4) if decision else None,
        "release": choice.release,
    }
