"""The one exception tree of the project.

Owns: what can go wrong, by kind. Every message names what was given, what was expected and what to do.
Command-line tools print a `CrmaError` as one line on stderr and exit with status 2; anything else is a bug.
"""


class CrmaError(Exception):
    """Root of every error this project raises on purpose."""


class ConfigError(CrmaError):
    """A flag, option or configuration value that cannot be used."""


class DataError(CrmaError):
    """A dataset that is missing, empty, badly encoded or has a row that cannot be used."""


class BaseModelError(CrmaError):
    """A base model that cannot be found, fetched, converted or adapted."""


class StoreError(CrmaError):
    """A store, or something in it, that is missing or malformed."""


class IntegrityError(StoreError):
    """Store content that is not what its release says, or is unsafe: digest, truncation, NaN, pickle."""


class IncompatibleError(StoreError):
    """Sound content that does not fit: another base model, another backbone, too high a rank."""


class StoreAwayError(StoreError):
    """A store elsewhere that cannot be reached just now; what was read of it before still holds."""


class ConflictError(StoreError):
    """Another publisher was faster: nothing of this publication is live; it may be made again."""


class UnknownModelError(CrmaError):
    """A model name that no adapter, alias or base answers to."""


class RouterError(CrmaError):
    """A router that cannot be fitted, loaded or used."""


class TrainingError(CrmaError):
    """Training that cannot start, resume or be trusted (frozen weights changed, loss not finite)."""
