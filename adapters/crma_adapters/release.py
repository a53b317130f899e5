"""What a release is: one consistent set of backbone, adapters and router, named by versions and digests.

Owns: the documents `releases/NNNN.json` and `release.json`. Knows nothing of where the files lie.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from crma_adapters.document import STRICT, Finite, Positive, parse_document, render_document
from crma_adapters.names import is_domain_name

RELEASE_FORMAT = 1


def _domain(name: str) -> str:
    if not is_domain_name(name):
        raise ValueError("not a domain name")
    return name


Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z_]+\.(json|jsonl|safetensors)$")]
DomainName = Annotated[str, AfterValidator(_domain)]


@dataclass(frozen=True)
class Part:
    """A versioned folder: an adapter, a backbone or a router. `files` maps file name to sha256 hex."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Version
    files: dict[FileName, Sha256]


@dataclass(frozen=True)
class AdapterEntry:
    """A domain's adapter in a release.

    `drift` is the relative change of its holdout loss under the release's backbone, when that is not the
    backbone it was trained on; None means the same backbone, or not measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    part: Part
    trained_on_backbone: Version | None
    drift: Finite | None


@dataclass(frozen=True)
class Release:
    """One consistent set. `created` is ISO 8601 in UTC; `base_fingerprint` is that of the base model."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    number: Positive
    created: str
    base_model: str
    base_fingerprint: str
    backbone: Part | None
    adapters: dict[DomainName, AdapterEntry]
    router: Part | None
    note: str = ""

    def same_content(self, other: "Release") -> bool:
        """Whether both serve the same thing, whatever their numbers, dates and notes."""
        return replace(self, number=other.number, created=other.created, note=other.note) == other

    def to_json(self) -> bytes:
        """The bytes of `releases/NNNN.json`."""
        return render_document(self, format=RELEASE_FORMAT)

    @classmethod
    def from_json(cls, data: bytes, where: str = "release") -> "Release":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        return parse_document(cls, data, where, format_number=RELEASE_FORMAT)


@dataclass(frozen=True)
class Pointer:
    """`release.json`: which release is live, and the sha256 of its document."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    release: Positive
    sha256: Sha256

    def to_json(self) -> bytes:
        """The bytes of `release.json`."""
        return render_document(self, format=RELEASE_FORMAT)

    @classmethod
    def from_json(cls, data: bytes, where: str = "release.json") -> "Pointer":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        return parse_document(cls, data, where, format_number=RELEASE_FORMAT)
