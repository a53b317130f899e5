"""What a check has to say about one place of a dataset."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]

LEAK_KINDS = frozenset({"leak", "near-leak"})  # what training refuses, if the severity is error


@dataclass(frozen=True)
class Finding:
    """`kind` groups findings in the table; `where` is `file:line`, or the file or folder it is about."""

    kind: str
    severity: Severity
    domain: str
    where: str
    detail: str

    @property
    def refuses_training(self) -> bool:
        """Whether this is a leak between training and holdout rows of one domain."""
        return self.severity == "error" and self.kind in LEAK_KINDS

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def masked(secret: str) -> str:
    """Enough to recognise a secret that one knows, too little to use it."""
    shown = secret[:2] if len(secret) >= 8 else ""
    return f"{shown}… ({len(secret)} characters)"
