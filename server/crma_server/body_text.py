"""Whether a JSON body holds text that can be written down.

Owns: finding half a surrogate pair (`"\\ud800"`), which JSON's grammar allows and no UTF-8 can hold: whoever
echoes or tokenizes it fails. Knows nothing of requests.
"""

import json
import re

_HIGH = rb"\\u[dD][89abAB][0-9a-fA-F]{2}"
_LOW = rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# A cheap look first: nearly no body has one. An escaped backslash may look like one and is none.
_SUSPECT = re.compile(rb"%b(?!%b)|(?<!%b)%b" % (_HIGH, _LOW, _HIGH.replace(b"{2}", b"[0-9a-fA-F]"), _LOW))


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
