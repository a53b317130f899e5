"""A CRMA's two files, as far as they can be read without torch: what it is and belongs to, and whether they
agree.

A backbone has `crma.json` and `crma.safetensors`; a mixer, a CRMA of one domain's own, has the same documents
as `mixer.json` and `mixer.safetensors` in the adapter's folder. Format 1 is a CRMA of form 1 in the spelling
of the first releases, format 2 everything since; what was read is written again with the same bytes.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict

from crma_adapters.crma.config import CrmaConfig, Form1Config
from crma_adapters.errors import ConfigError, IntegrityError
from crma_adapters.io.document import STRICT, parse_document, parse_format, render_document
from crma_adapters.io.regular_files import read_document, sha256_file
from crma_adapters.io.tensor_file import TensorInfo, check_finite

_FORMATS = (1, 2)


@dataclass(frozen=True)
class CrmaFiles:
    """The names of a CRMA's two files in its folder."""

    card: str
    tensors: str

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.card, self.tensors})


BACKBONE_FILES = CrmaFiles("crma.json", "crma.safetensors")
MIXER_FILES = CrmaFiles("mixer.json", "mixer.safetensors")


@dataclass(frozen=True)
class CrmaCard:
    """What `crma.json` says: the base model this CRMA was trained on, its form, the digest of its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base_model: str
    base_fingerprint: str
    config: CrmaConfig
    tensors_sha256: str

    def to_json(self) -> bytes:
        """The bytes of the document."""
        if self.config.form == 1:
            return render_document(self, format=1, config=asdict(Form1Config.of(self.config)))
        return render_document(self, format=2)

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "CrmaCard":
        """Read what `to_json` wrote. Raises as `parse_document`, and `IntegrityError` for a form that cannot
        be."""
        try:
            if parse_format(data, where, _FORMATS) == 2:
                return parse_document(cls, data, where, format_number=2)
            card = parse_document(_Form1Card, data, where, format_number=1)
            return cls(card.base_model, card.base_fingerprint, card.config.current(), card.tensors_sha256)
        except ConfigError as error:
            raise IntegrityError(f"{where}: {error}; restore the file, or train it again") from None


@dataclass(frozen=True)
class _Form1Card:
    """`crma.json` as the first releases wrote it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    base_model: str
    base_fingerprint: str
    config: Form1Config
    tensors_sha256: str


def read_crma_card(folder: Path, files: CrmaFiles = BACKBONE_FILES) -> CrmaCard:
    """What the CRMA in `folder` says of itself, without reading its tensors.

    Raises `StoreError` if missing, `IntegrityError` if malformed, `IncompatibleError` for an unknown format.
    """
    path = folder / files.card
    return CrmaCard.from_json(read_document(path), str(path))


def check_crma(folder: Path, files: CrmaFiles = BACKBONE_FILES) -> CrmaCard:
    """Check both files of the CRMA in `folder` against each other and return its card.

    Raises as `read_crma_card`, and `IntegrityError` if the tensors are not those it names, not finite, or of
    other shapes than its form has.
    """
    card, path = read_crma_card(folder, files), folder / files.tensors
    infos = check_finite(path)
    given = sha256_file(path)
    if given != card.tensors_sha256:
        raise IntegrityError(
            f"{path}: sha256 is {given}, {files.card} says {card.tensors_sha256}; take both from one training"
        )
    _check_shapes(infos, card.config, path, files.card)
    return card


def tensor_shapes(config: CrmaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a CRMA of that form, float32, by its name in the file."""
    size, rank = config.hidden_size, config.rank
    block: dict[str, tuple[int, ...]] = {"write": (size, rank), "logits": (rank, rank)}
    if config.mode != "nonexpansive":
        block["read"] = (rank, size)
    if config.form == 1:
        block["log_alpha"] = ()
    return {
        f"blocks.{index}.{name}": shape for index in range(config.num_layers) for name, shape in block.items()
    }


def _check_shapes(infos: dict[str, TensorInfo], config: CrmaConfig, path: Path, card: str) -> None:
    given = {name: f"{info.dtype} {list(info.shape)}" for name, info in infos.items()}
    expected = {name: f"F32 {list(shape)}" for name, shape in tensor_shapes(config).items()}
    for name in sorted(given.keys() | expected.keys()):
        if given.get(name) != expected.get(name):
            raise IntegrityError(
                f"{path}: tensor {name} is {given.get(name, 'missing')}, {card} makes it "
                f"{expected.get(name, 'none')}; take both files from one training"
            )
