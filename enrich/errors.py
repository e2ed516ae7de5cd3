"""Everything enrich raises on purpose.

    EnrichError
    ├── UsageError                 wrong use or wrong config        exit 2
    │   └── ConfigError            a key or line of config.yaml
    ├── MissingError               a needed thing is not there      exit 3
    │   ├── ModelMissing
    │   ├── PluginMissing
    │   ├── ExtraMissing           a Python package of an extra
    │   └── CatalogMissing         no database, or an older schema
    ├── FileError                  one file cannot be ingested
    │   ├── FileVanished           gone or replaced while read      retryable
    │   ├── FileUnreadable         no permission, or an I/O error
    │   ├── NotRegularFile         a pipe, socket or device
    │   ├── EmptyFile
    │   ├── NotAPicture            named like one, but is not one
    │   ├── BrokenPicture          truncated or damaged
    │   ├── PictureTooLarge        over our own pixel limit
    │   └── DecoderMissing         a known format without a decoder here
    ├── PluginError                a plugin did not do its part
    │   ├── PluginFailed           it raised
    │   └── PluginContract         its result has the wrong shape
    ├── ModelError                 a model did not do its part
    │   ├── ManifestError          its manifest or files are wrong
    │   ├── ProviderError          the asked execution provider is not in use
    │   ├── InferenceError         ONNX Runtime refused a run
    │   ├── StoreError             the model store cannot be written
    │   └── ConversionRefused      an export or a smaller form does not say what its original says
    ├── CatalogError               the database refused something
    │   ├── CatalogBusy            locked, restarting or unreachable  retryable
    │   └── QueryError             a user's SQL statement is wrong or refused
    ├── OutboundError              something out there was not reached
    │   ├── FetchRefused           the URL, its port or its address is not to be used
    │   ├── FetchTooLarge          it is larger than it may be
    │   └── FetchFailed            it did not answer, or not well
    └── LeaseLost                  the job now belongs to another worker

A message says what is wrong and what to do, on one line. ``kind`` is the stable word stored
in ``error_kind``; ``retryable`` says whether the same call may succeed later unchanged;
``exit_code`` is what a command that ends with the error returns.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BrokenPicture",
    "CatalogBusy",
    "CatalogError",
    "CatalogMissing",
    "ConfigError",
    "ConversionRefused",
    "DecoderMissing",
    "EmptyFile",
    "EnrichError",
    "ExtraMissing",
    "FetchFailed",
    "FetchRefused",
    "FetchTooLarge",
    "FileError",
    "FileUnreadable",
    "FileVanished",
    "InferenceError",
    "LeaseLost",
    "ManifestError",
    "MissingError",
    "ModelError",
    "ModelMissing",
    "NotAPicture",
    "NotRegularFile",
    "OutboundError",
    "PictureTooLarge",
    "PluginContract",
    "PluginError",
    "PluginFailed",
    "PluginMissing",
    "ProviderError",
    "QueryError",
    "StoreError",
    "UsageError",
]


class EnrichError(Exception):
    """The root of the tree: whatever enrich raises on purpose."""

    kind: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    retryable: bool = False


class UsageError(EnrichError):
    """The command or an argument is wrong."""

    kind = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """config.yaml, an ENRICH_* variable or a plugin option is wrong; the message names the key."""

    kind = "config"


class MissingError(EnrichError):
    """A needed thing is not there; the message holds the command that gets it."""

    kind = "missing"
    exit_code = 3


class ModelMissing(MissingError):
    """No model of that name in the model store."""

    kind = "model_missing"


class PluginMissing(MissingError):
    """No plugin of that name is loaded."""

    kind = "plugin_missing"


class ExtraMissing(MissingError):
    """A Python package of an optional extra is not installed."""

    kind = "extra_missing"


class CatalogMissing(MissingError):
    """The catalog's database cannot be opened, or its schema is older than this version."""

    kind = "catalog_missing"


class FileError(EnrichError):
    """One file cannot be ingested or decoded; other files are not concerned."""

    kind = "file"


class FileVanished(FileError):
    """The file was removed or replaced while it was read."""

    kind = "vanished"
    retryable = True


class FileUnreadable(FileError):
    """The file may not be read, or reading failed; retryable where the I/O error may pass."""

    kind = "unreadable"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class NotRegularFile(FileError):
    """A pipe, socket, device or folder stands where a file was expected."""

    kind = "not_regular"


class EmptyFile(FileError):
    """The file holds no bytes."""

    kind = "empty"


class NotAPicture(FileError):
    """The name promises a picture and the content is none."""

    kind = "not_a_picture"


class BrokenPicture(FileError):
    """The content starts like a picture and cannot be decoded."""

    kind = "broken"


class PictureTooLarge(FileError):
    """The picture has more pixels than ``max_pixels`` allows."""

    kind = "too_large"


class DecoderMissing(FileError):
    """The format is known and no decoder for it is installed."""

    kind = "decoder_missing"


class PluginError(EnrichError):
    """A plugin did not do its part; only its own step is concerned."""

    kind = "plugin"


class PluginFailed(PluginError):
    """The plugin raised; retryable where what it raised is a passing trouble of the machine."""

    kind = "plugin_failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class PluginContract(PluginError):
    """The plugin's result has the wrong length or type."""

    kind = "plugin_contract"


class ModelError(EnrichError):
    """A model did not do its part."""

    kind = "model"


class ManifestError(ModelError):
    """A model's manifest, or a file it names, is wrong."""

    kind = "manifest"


class ProviderError(ModelError):
    """The execution provider asked for is not the one in use."""

    kind = "provider"
    exit_code = 3


class InferenceError(ModelError):
    """ONNX Runtime refused a run."""

    kind = "inference"


class StoreError(ModelError):
    """The model store has no room, or may not be written."""

    kind = "store"


class ConversionRefused(ModelError):
    """A model cannot be exported or quantised, or what came out does not say what its original says."""

    kind = "conversion"


class CatalogError(EnrichError):
    """The database refused something."""

    kind = "catalog"


class CatalogBusy(CatalogError):
    """The database is locked, restarting or unreachable for now."""

    kind = "catalog_busy"
    retryable = True


class QueryError(CatalogError):
    """A user's SQL statement is wrong, refused, or over its limits."""

    kind = "query"
    exit_code = 2


class OutboundError(EnrichError):
    """Something outside was not reached; the message holds no more of its URL than scheme, host and port."""

    kind = "outbound"


class FetchRefused(OutboundError):
    """The URL, its port or the address behind it is not to be used; nothing was sent there."""

    kind = "fetch_refused"


class FetchTooLarge(OutboundError):
    """What came is larger than it may be, as sent or when unpacked."""

    kind = "fetch_too_large"


class FetchFailed(OutboundError):
    """Nothing came, too late, or not what was asked for; retryable where that may pass."""

    kind = "fetch_failed"

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable


class LeaseLost(EnrichError):
    """The job was given to another worker meanwhile; this result is not recorded."""

    kind = "lease_lost"
