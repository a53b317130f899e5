"""Whether a JSON body can be read by whoever stands behind.

Owns: finding half a surrogate pair (`"\\ud800"`), which JSON's grammar allows and no UTF-8 can hold: whoever
echoes or tokenizes it fails; and nesting that exhausts Python's stack. Knows nothing of requests.
"""

import json
import re

_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# A cheap look first: nearly no body has one. An escaped backslash may look like one and is none.
_SUSPECT = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH.replace(b"{2}", b"[0-9a-fA-F]"), _LOW))

DEEPEST = 200  # levels of objects and arrays; schemas of tools and answers need a few dozen
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[{]|[\]}]")


def is_too_deep(body: bytes) -> bool:
    """Whether `body` nests objects and arrays deeper than `DEEPEST`."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            return True
    return False


def has_broken_text(body: bytes) -> bool:
    """Whether `body` is JSON with such text in it. What is no JSON is somebody else's to refuse."""
    if _SUSPECT.search(body) is None:
        return False
    try:
        json.dumps(json.loads(body), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False
