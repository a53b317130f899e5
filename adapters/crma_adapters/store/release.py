"""What a release is: one consistent set of backbones, adapters and router, named by versions and digests.

These are the documents `releases/NNNN.json` and `release.json`. In format 1 every adapter runs on the
release's one backbone; in format 2 each says which backbone it runs on, and why.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from crma_adapters.errors import IntegrityError
from crma_adapters.io.document import (
    STRICT,
    Finite,
    Positive,
    parse_document,
    parse_format,
    render_document,
)
from crma_adapters.store.names import is_domain_name

RELEASE_FORMATS = (1, 2)
POINTER_FORMAT = 1

State = Literal["pinned", "refreshed"]
PINNED: State = "pinned"
REFRESHED: State = "refreshed"


def _domain(name: str) -> str:
    if not is_domain_name(name):
        raise ValueError("not a domain name")
    return name


Version = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[a-z_]+\.(json|jsonl|safetensors)$")]
DomainName = Annotated[str, AfterValidator(_domain)]
Weight = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Part:
    """A versioned folder: an adapter, a backbone or a router. `files` maps file name to sha256 hex."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    version: Version
    files: dict[FileName, Sha256]


@dataclass(frozen=True)
class ValidationLosses:
    """An adapter's mean loss on its validation rows under two backbones, nats per answer token.

    `own` is under the backbone it was trained on, `newest` under `backbone`, the newest one when this was
    measured; `standard_error` is that of the mean of the `rows` paired differences.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    backbone: Version
    own: Finite
    newest: Finite
    standard_error: NonNegative
    rows: Positive

    @property
    def is_not_worse(self) -> bool:
        """The one-standard-error rule: whether the newest backbone costs no more than chance explains."""
        return self.newest - self.own <= self.standard_error


@dataclass(frozen=True)
class RunsOn:
    """The backbone an adapter runs on, None for the bare base model, and why it is that one.

    `pinned`: the one it was trained on, so that its drift is 0 by construction. `refreshed`: a newer one;
    `validation` then says what that changed. A pinned adapter keeps what was measured under a newer backbone,
    if anything was.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    backbone: Version | None
    state: State
    validation: ValidationLosses | None = None


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
    runs_on: RunsOn | None = None


@dataclass(frozen=True)
class AdapterEntry:
    """A domain's adapter in a release, and the canary beside it if there is one.

    `drift` is the relative change of its holdout loss under the backbone it runs on, when that is not the
    backbone it was trained on; None means the same backbone, or not measured. `runs_on` is None in format 1,
    where every adapter runs on the release's backbone.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    part: Part
    trained_on_backbone: Version | None
    drift: Finite | None
    canary: Canary | None = None
    runs_on: RunsOn | None = None

    @classmethod
    def pinned(cls, part: Part, trained_on_backbone: str | None) -> "AdapterEntry":
        """An adapter that runs on the backbone it was trained on."""
        return cls(part, trained_on_backbone, None, runs_on=RunsOn(trained_on_backbone, PINNED))


@dataclass(frozen=True)
class Release:
    """One consistent set. `created` is ISO 8601 in UTC; `base_fingerprint` is that of the base model.

    `backbone` is the newest: what the model names `backbone` and the fallback mean. `other_backbones` are
    those besides it that adapters run on, by version.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    number: Positive
    created: str
    base_model: str
    base_fingerprint: str
    backbone: Part | None
    adapters: dict[DomainName, AdapterEntry]
    router: Part | None
    note: str = ""
    other_backbones: dict[Version, Part] = field(default_factory=dict)

    @property
    def format(self) -> int:
        """1 where every adapter runs on the release's backbone without saying so, as in old releases; else
        2."""
        return 2 if self.other_backbones or any(it.runs_on for it in self.served()) else 1

    def served(self) -> Iterator[AdapterEntry | Canary]:
        """Every adapter it serves: those of the domains, and their canaries."""
        for entry in self.adapters.values():
            yield entry
            if entry.canary is not None:
                yield entry.canary

    def backbone_of(self, entry: AdapterEntry | Canary) -> str | None:
        """The version of the backbone that one of its adapters runs on; None for the bare base model."""
        if entry.runs_on is not None:
            return entry.runs_on.backbone
        return self.backbone.version if self.backbone else None

    def state_of(self, entry: AdapterEntry | Canary) -> State:
        """Whether one of its adapters runs on the backbone it was trained on (pinned) or not (refreshed)."""
        return PINNED if self.backbone_of(entry) == entry.trained_on_backbone else REFRESHED

    def backbones(self) -> dict[str, Part]:
        """Every backbone it names, by version, the newest first."""
        newest = {self.backbone.version: self.backbone} if self.backbone else {}
        return newest | self.other_backbones

    def parts(self) -> Iterator[tuple[str, Part]]:
        """Every part it names, canaries too, with the folder of the store that holds its versions."""
        for backbone in self.backbones().values():
            yield "backbone", backbone
        if self.router is not None:
            yield "router", self.router
        for name, entry in self.adapters.items():
            yield name, entry.part
            if entry.canary is not None:
                yield name, entry.canary.part

    def placed(self) -> "Release":
        """The same release with what every adapter runs on written down, as format 2 has it."""
        adapters = {}
        for name, entry in self.adapters.items():
            canary = entry.canary and replace(entry.canary, runs_on=self._place(entry.canary))
            adapters[name] = replace(entry, canary=canary, runs_on=self._place(entry))
            if self.state_of(entry) == PINNED:
                adapters[name] = replace(adapters[name], drift=None)
        return replace(self, adapters=adapters)

    def same_content(self, other: "Release") -> bool:
        """Whether both serve the same thing, whatever their numbers, dates and notes."""
        return replace(self, number=other.number, created=other.created, note=other.note) == other

    def to_json(self) -> bytes:
        """The bytes of `releases/NNNN.json`. What format 1 can say is written as it was before there was
        another, and an entry without a canary as before there were canaries, so that older readers take
        it."""
        adapters = {name: _entry(entry) for name, entry in self.adapters.items()}
        omit = () if self.format > 1 else ("other_backbones",)
        return render_document(self, omit=omit, format=self.format, adapters=adapters)

    @classmethod
    def from_json(cls, data: bytes, where: str = "release") -> "Release":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        number = parse_format(data, where, RELEASE_FORMATS)
        release = parse_document(cls, data, where, format_number=number)
        if number == 1 and release.format > 1:
            raise IntegrityError(
                f"{where}: says which backbone an adapter runs on, which format 1 does not; restore the file"
            )
        for name, entry in release.adapters.items() if number > 1 else ():
            if entry.runs_on is None or (entry.canary is not None and entry.canary.runs_on is None):
                raise IntegrityError(
                    f"{where}: adapters.{name}.runs_on: missing; format 2 names the backbone of every "
                    f"adapter; "
                    "restore the file"
                )
        return release

    def _place(self, entry: AdapterEntry | Canary) -> RunsOn:
        return entry.runs_on or RunsOn(self.backbone_of(entry), self.state_of(entry))


@dataclass(frozen=True)
class Pointer:
    """`release.json`: which release is live, and the sha256 of its document."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    release: Positive
    sha256: Sha256

    def to_json(self) -> bytes:
        """The bytes of `release.json`."""
        return render_document(self, format=POINTER_FORMAT)

    @classmethod
    def from_json(cls, data: bytes, where: str = "release.json") -> "Pointer":
        """Read what `to_json` wrote. Raises as `parse_document`."""
        return parse_document(cls, data, where, format_number=POINTER_FORMAT)


def _entry(entry: AdapterEntry) -> dict[str, Any]:
    document = asdict(entry)
    if document["canary"] is not None:
        document["canary"] = _without_none(document["canary"], "runs_on")
    return _without_none(document, "canary", "runs_on")


def _without_none(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys or value is not None}
