"""``enrich serve``, put together: the daemon, and the HTTP server beside it in the same process."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import uvicorn

from enrich.api.access import Access, is_loopback
from enrich.api.application import Application, make_application
from enrich.api.exchange import Backend
from enrich.api.kept import Kept
from enrich.api.loads import Loads
from enrich.api.metering import Metering
from enrich.api.numbers import Numbers, Reading
from enrich.api.performer import Performer, phrase
from enrich.api.pictures import Pictures
from enrich.api.service import Service
from enrich.api.tasklist import TaskList
from enrich.api.uploads import Uploads
from enrich.app import open_models, open_store
from enrich.catalog.writer import Writer
from enrich.errors import CatalogError, ConfigError, EnrichError
from enrich.outbound import Fetcher, Limits
from enrich.outbox import make_courier
from enrich.systemd import Notifier

if TYPE_CHECKING:
    from enrich.app import App
    from enrich.inference import Models
    from enrich.inference.scheduler import Stats

__all__ = ["serve"]

log = logging.getLogger(__name__)

_START_SECONDS = 30.0
#: What ends after the requests at work did.
_COURIER_SECONDS = 5.0
_BACKLOG = 1024


def serve(
    app: App,
    *,
    is_watching: bool,
    stop: threading.Event,
    on_ready: Callable[[str], None],
    on_stuck: Callable[[], None],
) -> None:
    """Answer HTTP, and look after the roots unless told not to, until ``stop`` is set; then drain.

    Parameters
    ----------
    app : App
        Everything else.
    is_watching : bool
        Whether the daemon runs as well, which takes roots and steps.
    stop : threading.Event
        Ends it.
    on_ready : callable
        Told the server's address once it answers.
    on_stuck : callable
        Called if not all ended in time: then threads still run.

    Raises
    ------
    ConfigError
        The address cannot be listened at, or is open to others and there is no key. Not retryable.
    EnrichError
        A part ended by itself. Not retryable.
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(app.settings.api.host, app.settings.api.port))
        backend, application = _assemble(app, stop, stack)
        _check_keys(backend, app.settings.api.host)
        server = _Server(application, listener, app.settings.drain_seconds)
        url = _url(listener)
        try:
            server.start(stop)
            log.info("serving %s", url)
            if is_watching:
                app.watch(stop=stop, on_ready=lambda: on_ready(url), on_stuck=on_stuck)
            else:
                _stand_alone(app, stop, url, on_ready)
        finally:
            stop.set()
            if not _drain(app, backend, application, server):
                log.warning("not everything ended within %.0f s", app.settings.drain_seconds)
                stack.pop_all()  # what still runs may still use it
                on_stuck()
        server.check()


class _Server:
    """uvicorn in a thread of its own: signals are the command line's."""

    def __init__(self, application: Application, listener: socket.socket, drain_seconds: float) -> None:
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="asyncio",
            ws="none",
            server_header=False,
            # Nobody's word is taken for an address.
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=max(1, int(drain_seconds)),
        )
        self._server = uvicorn.Server(config)
        self._listener = listener
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="http-server", daemon=True)
        self._stop: threading.Event | None = None

    def start(self, stop: threading.Event) -> None:
        """Come back once requests are answered; ``stop`` is set should the server end by itself."""
        self._stop = stop
        self._thread.start()
        end = time.monotonic() + _START_SECONDS
        while not self._server.started:
            self.check()
            if time.monotonic() > end:
                raise EnrichError("the HTTP server did not start")
            time.sleep(0.01)

    def check(self) -> None:
        """Raise what the server ended by."""
        if self._failure is not None:
            raise EnrichError("the HTTP server ended by itself, which is a bug") from self._failure

    def stop(self, within_seconds: float) -> bool:
        """Accept nothing more, let what is under way end, and return whether it did in time."""
        self._server.should_exit = True
        self._thread.join(within_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        # In a thread nobody else would hear of it.
        except BaseException as error:  # noqa: BLE001
            self._failure = error
        finally:
            if self._stop is not None:
                self._stop.set()


def _assemble(app: App, stop: threading.Event, stack: contextlib.ExitStack) -> tuple[Backend, Application]:
    settings, engine, host = app.settings, app.engine, app.host
    writer = Writer(engine)
    stack.callback(writer.close)
    store, models = open_store(settings), app.models
    if models is None:
        models = open_models(settings, app.recycling)
        stack.callback(models.close)
    uploads = Uploads(settings.api, engine, writer)
    fetcher = Fetcher(settings.api.allow_hosts, limits=Limits(max_bytes=settings.api.max_upload_bytes))
    opener = host.open_original if host.implementing("enrich_open") else None
    pictures = Pictures(settings, uploads, fetcher.fetch, opener=opener)
    kept = Kept(settings, engine, writer, opener=opener)
    stack.callback(kept.close)
    service = Service(settings, host, models, store, pictures, kept)
    numbers = Numbers()
    access = Access(engine, writer, settings.api.rate_limit, is_local=is_loopback(settings.api.host))
    metering = Metering(writer, access, service, numbers, settings.api)
    courier = make_courier(settings, engine, writer)
    performer = Performer(pictures, service, metering, settings.api)
    tasks = TaskList(
        engine,
        writer,
        settings.api,
        perform=performer.perform,
        phrase=phrase,
        on_delivery=courier.wake,
        sweep=pictures.sweep,
    )
    loads = Loads(settings.api.max_queue)
    backend = Backend(
        settings, engine, access, service, pictures, kept, metering, tasks, numbers, loads,
        is_ready=lambda: not stop.is_set(),
    )  # fmt: skip
    numbers.add(lambda: _of_queues(backend))
    numbers.add(lambda: _of_models(models))
    application = make_application(backend, host)
    courier.start()
    stack.callback(courier.stop, _COURIER_SECONDS)
    tasks.start()
    return backend, application


def _of_queues(backend: Backend) -> Iterator[Reading]:
    yield _one("enrich_http_at_work", "Requests at work or waiting.", backend.loads.requests)
    yield _one("enrich_http_refused_total", "Requests refused for want of room.", backend.loads.refused)
    yield _one("enrich_tasks_open", "Tasks accepted and not done.", backend.tasks.open_count())


def _of_models(models: Models) -> Iterator[Reading]:
    """Yield what the schedulers did, for requests and folder work alike."""
    runs: dict[tuple[str, ...], float] = {}
    waiting: dict[tuple[str, ...], float] = {}
    for model in models.loaded():
        writer: Stats | None = getattr(model, "writer_stats", None)
        for stage, stats in (("pictures", model.stats), ("words", writer)):
            if stats is not None:
                waiting[model.name, stage] = stats.waiting
                runs.update(((model.name, stage, str(size)), count) for size, count in stats.runs.items())
    labels = ("model", "stage")
    yield "enrich_model_batches_total", "Batches by their size.", (*labels, "size"), runs
    yield "enrich_model_waiting", "Items that wait for a model.", labels, waiting
    numbers = models.numbers()
    yield _one("enrich_models_loaded", "Models in memory.", numbers["models_loaded"])
    yield _one(
        "enrich_models_unloaded_total",
        "How often a model that nobody asked left the memory.",
        numbers["models_unloaded_total"],
    )
    yield _one(
        "enrich_models_given_back_bytes_total",
        "Memory that came back by that.",
        numbers["models_given_back_bytes_total"],
    )


def _one(name: str, said: str, value: float) -> Reading:
    values: Mapping[tuple[str, ...], float] = {(): value}
    return name, said, (), values


def _check_keys(backend: Backend, host: str) -> None:
    if not backend.access.is_keyless:
        return
    if not is_loopback(host):
        raise ConfigError(
            f"api.host: {host} can be reached by others, and no key is configured: "
            "make one (enrich keys create NAME), or serve 127.0.0.1"
        )
    log.warning("no key is configured: only this machine is served, and pages of other origins are refused")


def _stand_alone(app: App, stop: threading.Event, url: str, on_ready: Callable[[str], None]) -> None:
    notifier = Notifier.from_environment(os.environ, comes_back=app.comes_back)
    app.host.notify("enrich_startup")
    notifier.ready(f"serving {url}")
    on_ready(url)
    while not stop.wait(notifier.ping_seconds):
        notifier.ping()
    notifier.stopping(app.settings.drain_seconds + _COURIER_SECONDS)
    app.host.notify("enrich_shutdown")


def _drain(app: App, backend: Backend, application: Application, server: _Server) -> bool:
    end = time.monotonic() + max(1.0, app.settings.drain_seconds)
    is_drained = server.stop(end - time.monotonic() + 2.0)
    is_drained &= backend.loads.close(max(0.0, end - time.monotonic()))
    try:
        is_drained &= backend.tasks.stop(max(0.0, end - time.monotonic()))
    except CatalogError as error:
        log.warning("tasks could not be given back, the next start takes them over: %s", error)
    application.close()
    return is_drained


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(f"api: {host}:{port} cannot be listened at: {error.strerror or error}") from error
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
