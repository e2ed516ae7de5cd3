"""The loaded models of this process: each one once, whoever asks."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from enrich.errors import InferenceError
from enrich.inference.devices import parse_device
from enrich.inference.families import open_model
from enrich.inference.handle import Model
from enrich.inference.store import ModelStore

__all__ = ["Models"]


class Models:
    """Loads models on first use; its sessions and schedulers serve all callers.

    Parameters
    ----------
    store : ModelStore
        Where they lie.
    device : str
        ``auto``, ``cpu``, ``openvino``, ``cuda`` or ``cuda:N``; all but ``auto`` strict.
    threads : int or None
        Threads within one operation on the CPU; None: one per core.

    Raises
    ------
    ConfigError
        ``device`` is none of these words. Not retryable.
    """

    def __init__(self, store: ModelStore, device: str = "auto", *, threads: int | None = None) -> None:
        self._store = store
        self._device = parse_device(device)
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: dict[str, Future[Model]] = {}
        self._is_closed = False

    def open(self, name: str) -> Model:
        """Return the model of this name, loaded by whoever asks first; others wait for it.

        Raises
        ------
        UsageError, ModelMissing, ManifestError, ExtraMissing, ProviderError, InferenceError
            It cannot be loaded; every later call says the same. Not retryable.
        """
        with self._lock:
            if self._is_closed:
                raise InferenceError(f"the model {name} cannot be loaded: the models are closed")
            is_first = name not in self._loaded
            future = self._loaded.setdefault(name, Future())
        if is_first:
            try:
                future.set_result(open_model(self._store.get(name), self._device, threads=self._threads))
            # Even an interrupt: others wait for this future, and it must not stay open.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
        return future.result()

    def loaded(self) -> list[Model]:
        """Return the models that are loaded now."""
        with self._lock:
            futures = list(self._loaded.values())
        return [one.result() for one in futures if one.done() and one.exception() is None]

    def close(self) -> None:
        """Close every loaded model: what waits is finished, later calls are refused."""
        with self._lock:
            self._is_closed = True
            futures = list(self._loaded.values())
        for future in futures:
            if future.exception() is None:
                future.result().close()
