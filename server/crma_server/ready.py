"""The message that ends a start: where the server is, and one request to try.

Owns: its wording. The example's expected adapter is what this release's own router says, not a promise.
"""

import json

from crma_server.routing.catalog import AUTO
from crma_server.routing.selector import Live

EXAMPLES = (
    "What are the symptoms of iron deficiency anemia?",
    "What makes a contract legally binding?",
    "What is the difference between a stock and a bond?",
    "How do I reverse a linked list in Python?",
    "Why is the sky blue?",
)


def ready_message(address: str, live: Live, *, needs_key: bool = False) -> str:
    """Several lines for the terminal; `address` is like `http://127.0.0.1:8000`."""
    question, adapter = example(live)
    body = json.dumps({"model": AUTO, "messages": [{"role": "user", "content": question}], "max_tokens": 64})
    key = '  -H "Authorization: Bearer $YOUR_KEY" \\\n' if needs_key else ""
    return (
        f"crma ready on {address}\n\n"
        f"Try it (expect x-crma-adapter: {adapter}):\n\n"
        f"curl -si {address}/v1/chat/completions -H 'Content-Type: application/json' \\\n{key}"
        f"  -d '{body}'\n"
    )


def example(live: Live) -> tuple[str, str]:
    """A question this release routes to one of its adapters, and that adapter; else one for the fallback."""
    for question in EXAMPLES if live.router else ():
        domain = live.router.route(question).domain if live.router else None
        if domain and (entry := live.catalog.entry(domain)):
            return question, entry.with_crma.adapter
    return EXAMPLES[-1], live.catalog.fallback.with_crma.adapter
