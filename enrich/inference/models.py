"""The loaded models of this process: each one once, whoever asks, and no longer than wanted."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from enrich.errors import InferenceError
from enrich.inference.devices import parse_device
from enrich.inference.families import open_model
from enrich.inference.handle import Model
from enrich.inference.idle_model import IdleModel
from enrich.inference.memory import give_back, resident_bytes
from enrich.inference.store import ModelStore
from enrich.sections import Providers

__all__ = ["Models"]

_log = logging.getLogger(__name__)

_MB = 1_000_000
#: How often is looked whether a model is idle, at most and as a part of the time it may be.
_LOOK_SECONDS = 10.0
_LOOKS = 10


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
    providers : Providers or None
        How the device is used.
    unload_after_seconds : float
        A model that nobody asked for so long leaves the memory until it is asked again; 0: never.
        Opening one lets go of those that were opened and not asked yet: as many can be opened as there are.
    recycle_above_mb : float or None
        Call ``on_kept`` when all models that were at work rest, and so much more memory is resident than
        before the first one; in millions of bytes.
    on_kept : callable
        See above; called once.

    Raises
    ------
    ConfigError
        ``device`` is none of these words. Not retryable.
    """

    def __init__(
        self,
        store: ModelStore,
        device: str = "auto",
        *,
        threads: int | None = None,
        providers: Providers | None = None,
        unload_after_seconds: float = 0,
        recycle_above_mb: float | None = None,
        on_kept: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._load = functools.partial(open_model, device=parse_device(device, providers), threads=threads)
        self._lock = threading.Lock()
        self._loaded: dict[str, Future[Model]] = {}
        self._is_closed = False
        self._unload_after = unload_after_seconds
        self._kept_bytes_max = None if recycle_above_mb is None else recycle_above_mb * _MB
        self._on_kept = on_kept
        self._is_kept_said = False
        self._floor: int | None = None
        self._unloads = 0
        self._given_back = 0
        self._closing = threading.Event()
        self._resting = threading.Thread(target=self._watch, name="idle models", daemon=True)

    def open(self, name: str) -> Model:
        """Return the model of this name, loaded by whoever asks first; others wait for it.

        Raises
        ------
        UsageError, ModelMissing, ManifestError, ExtraMissing, ProviderError, InferenceError
            It cannot be loaded; every later call says the same. Not retryable.
        """
        name = self._store.resolve(name)
        with self._lock:
            if self._is_closed:
                raise InferenceError(f"the model {name} cannot be loaded: the models are closed")
            is_first = name not in self._loaded
            future = self._loaded.setdefault(name, Future())
        if is_first:
            try:
                future.set_result(self._open(name))
            # Even an interrupt: others wait for this future, and it must not stay open.
            except BaseException as error:  # noqa: BLE001
                future.set_exception(error)
        return future.result()

    def loaded(self) -> list[Model]:
        """Return the models that were opened, also those that rest."""
        with self._lock:
            futures = list(self._loaded.values())
        return [one.result() for one in futures if one.done() and one.exception() is None]

    def numbers(self) -> Mapping[str, float]:
        """Return how many models are in memory, how often one left it, and what came back by that."""
        models = self.loaded()
        return {
            "models_loaded": sum(not isinstance(one, IdleModel) or one.is_loaded for one in models),
            "models_unloaded_total": self._unloads,
            "models_given_back_bytes_total": self._given_back,
        }

    def close(self) -> None:
        """Close every loaded model: what waits is finished, later calls are refused."""
        with self._lock:
            self._is_closed = True
            futures = list(self._loaded.values())
        self._closing.set()
        if self._resting.is_alive():
            self._resting.join()
        for future in futures:
            if future.exception() is None:
                future.result().close()

    def _open(self, name: str) -> Model:
        stored = self._store.get(name)
        if not self._unload_after:
            return self._load(stored)
        with self._lock:
            if self._floor is None:
                self._floor = resident_bytes()
                self._resting.start()
        for other in self._idle():
            if not other.is_asked:
                self._rest(other, 0)
        model = IdleModel(stored, self._load, functools.partial(self._store.get, name))
        # At once, so that what is wrong with it is said where it is configured.
        model.wake()
        return model

    def _idle(self) -> list[IdleModel]:
        return [model for model in self.loaded() if isinstance(model, IdleModel)]

    def _watch(self) -> None:
        """Put to rest what nobody asks for, from a thread."""
        while not self._closing.wait(min(_LOOK_SECONDS, self._unload_after / _LOOKS)):
            rested = [self._rest(model, self._unload_after) for model in self._idle()]
            if any(rested):
                self._look_at_memory()

    def _rest(self, model: IdleModel, idle_seconds: float) -> bool:
        before = resident_bytes()
        if not model.rest(idle_seconds):
            return False
        give_back()
        after = resident_bytes()
        # Whatever else this process does meanwhile is in it, too.
        given_back = max(0, before - after)
        with self._lock:
            self._unloads += 1
            self._given_back += given_back
        _log.info(
            "the model %s was unloaded: %.0f MB came back, %.0f MB are in use",
            model.name,
            given_back / _MB,
            after / _MB,
        )
        return True

    def _look_at_memory(self) -> None:
        """Say once that memory stays, after all that worked rests."""
        models = self._idle()
        if self._kept_bytes_max is None or self._is_kept_said or any(one.is_loaded for one in models):
            return
        kept = resident_bytes() - (self._floor or 0)
        # One that only looked at its models would do so again and again.
        if kept > self._kept_bytes_max and any(one.is_asked for one in models):
            self._is_kept_said = True
            _log.warning("all models are unloaded and %.0f MB of their memory stayed in use", kept / _MB)
            self._on_kept()
