"""The three kinds of versioned folder, and whether a folder is, byte for byte, the part a release names."""

from dataclasses import dataclass
from pathlib import Path

from crma_adapters.crma.crma_card import BACKBONE_FILES, MIXER_FILES
from crma_adapters.errors import IntegrityError, StoreError
from crma_adapters.io.regular_files import check_no_symlink, list_folder, open_regular, sha256_file
from crma_adapters.lora.lora_files import CONFIG_FILE, WEIGHTS_FILE
from crma_adapters.store.card import CARD_FILE
from crma_adapters.store.names import version_of
from crma_adapters.store.release import Part

_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib"})


@dataclass(frozen=True)
class PartKind:
    """A kind of part: what messages call it, the files it has, and those it may have."""

    noun: str
    files: frozenset[str]
    optional: frozenset[str] = frozenset()

    def present(self, folder: Path) -> list[str]:
        """Its files, those it may have only if `folder` has them."""
        return sorted(self.files | (self.optional & set(list_folder(folder))))


ROUTER_FILE = "router.json"
ROUTER_EXAMPLES_FILE = "examples.jsonl"

# Which of them an adapter must have follows from its card.
ADAPTER = PartKind(
    "adapter",
    frozenset({CARD_FILE}),
    optional=frozenset({CONFIG_FILE, WEIGHTS_FILE}) | MIXER_FILES.names,
)
BACKBONE = PartKind("backbone", BACKBONE_FILES.names)
ROUTER = PartKind(
    "router", frozenset({ROUTER_FILE, "router.safetensors"}), optional=frozenset({ROUTER_EXAMPLES_FILE})
)


def describe_part(folder: Path, kind: PartKind) -> Part:
    """The part a folder holds: digests of its files and the version they give. Other files do not count.

    Raises `StoreError` if a file is missing, `IntegrityError` if one is a symlink or no regular file.
    """
    files = {name: sha256_file(folder / name) for name in kind.present(folder)}
    return Part(version=version_of(files), files=files)


def check_part(root: Path, folder: Path, part: Part, kind: PartKind) -> None:
    """Raise `StoreError` or `IntegrityError` unless `folder` holds exactly the files of `part`, unchanged."""
    check_no_symlink(root, folder)
    names = set(list_folder(folder))
    refuse_pickles(folder, names)
    if not kind.files <= set(part.files) <= kind.files | kind.optional:
        raise IntegrityError(
            f"release names {sorted(part.files)} for {folder}; expected {sorted(kind.files)}"
        )
    if extra := sorted(names - set(part.files)):
        raise IntegrityError(f"{folder / extra[0]}: has no place in a published {kind.noun}; remove it")
    for name, expected in sorted(part.files.items()):
        given = sha256_file(folder / name)
        if given != expected:
            raise IntegrityError(
                f"{folder / name}: sha256 is {given}, the release says {expected}; "
                "restore it, or publish it again"
            )
    if version_of(part.files) != part.version:
        raise IntegrityError(f"{folder}: version {part.version} is not that of its files; publish it again")


def check_source(folder: Path, kind: PartKind) -> None:
    """Raise `StoreError` or `IntegrityError` unless `folder` can be taken into a store as such a part."""
    names = set(list_folder(folder))
    refuse_pickles(folder, names)
    if missing := sorted(kind.files - names):
        raise StoreError(
            f"{folder}: has no {missing[0]}; expected an {kind.noun} folder with "
            f"{', '.join(sorted(kind.files))}"
        )
    for name in kind.present(folder):
        open_regular(folder / name).close()


def refuse_pickles(folder: Path, names: set[str]) -> None:
    """Raise `IntegrityError` if a name in `folder` is that of a file that may run code when loaded."""
    for name in sorted(names):
        if Path(name).suffix.lower() in _PICKLES:
            raise IntegrityError(
                f"{folder / name}: is a pickle by its name and may run code when loaded; "
                "remove it, and save weights as safetensors"
            )
