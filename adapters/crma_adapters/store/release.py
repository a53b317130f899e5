"""What a release is: one consistent set of backbone, adapters and router, named by versions and digests.

Owns: the documents `releases/NNNN.json` and `release.json`. Knows nothing of where the files lie.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, ConfigDict, Field

from crma_adapters.io.document import STRICT, Finite, Positive, parse_document, render_document
from crma_adapters.store.names import is_domain_name

RELEASE_FORMAT = 1


def _domain(name: str) -> str:
    if not is_domain_name(name):
        raise ValueError("not a domain name")
    return name


Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z_]+\.(json|jsonl|safetensors)$")]
DomainName = Annotated[str, AfterValidator(_domain)]
Weight = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class Part:
    """A versioned folder: an adapter, a backbone or a router. `files` maps file name to sha256 hex."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Version
    files: dict[FileName, Sha256]


@dataclass(frozen=True)
class Canary:
    """A second version of a domain's adapter, tried on the share `weight` of the domain's sessions.

    The rest is as in `AdapterEntry`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    part: Part
    trained_on_backbone: Version | None
    drift: Finite | None
    weight: Weight


@dataclass(frozen=True)
class AdapterEntry:
    """A domain's adapter in a release, and the canary beside it if there is one.

    `drift` is the relative change of its holdout loss under the release's backbone, when that is not the
    backbone it was trained on; None means the same backbone, or not measured.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    part: Part
    trained_on_backbone: Version | None
    drift: Finite | None
    canary: Canary | None = None


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

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Every part it names, canaries too, with the folder of the store that holds its versions."""
        if self.backbone is not None:
            yield "backbone", self.backbone
        if self.router is not None:
            yield "router", self.router
        for name, entry in self.adapters.items():
            yield name, entry.part
            if entry.canary is not None:
                yield name, entry.canary.part

    def same_content(self, other: "Release") -> bool:
        """Whether both serve the same thing, whatever their numbers, dates and notes."""
        return replace(self, number=other.number, created=other.created, note=other.note) == other

    def to_json(self) -> bytes:
        """The bytes of `releases/NNNN.json`. An entry without a canary is written as it was before there were
        canaries, so that older readers take it."""
        adapters = {name: _without_absent_canary(asdict(entry)) for name, entry in self.adapters.items()}
        return render_document(self, format=RELEASE_FORMAT, adapters=adapters)

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


def _without_absent_canary(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "canary" or value is not None}
