"""``doctor``: what works on this machine, tried for real."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from enrich import __version__
from enrich.cli.output import print_json, seconds, visible
from enrich.cli.setup import Setup, setup_options
from enrich.errors import EnrichError

if TYPE_CHECKING:
    from enrich.host import BoundStep, Host
    from enrich.settings import Settings

#: What each extra brings, by the distribution that shows it is there.
_EXTRAS = {
    "ocr": "rapidocr",
    "api": "fastapi",
    "postgres": "psycopg",
    "heif": "pillow-heif",
    "raw": "rawpy",
    "export": "onnx",
}

#: A bundled model, small, to see whether a device works.
_PROBE = "drawings-age"

_GOOD, _NOTE, _BAD = "good", "note", "bad"


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@setup_options
@click.pass_obj
def doctor_command(setup: Setup, as_json: bool) -> int:
    """Try what work needs: the runtime, every model once, plugins, steps, the database, roots.

    Each line begins with good, note (can be done without) or bad; with a bad one the exit code is 3.
    """
    settings = setup.settings()
    checks = [
        {"check": name, "state": state, "found": found}
        for look in (_python, _extras, _runtime, _devices, _models, _plugins, _catalog, _roots)
        for name, state, found in _tried(look, settings, setup)
    ]
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            click.echo(f"{check['state']:<5} {check['check']}: {visible(str(check['found']))}")
    return 3 if any(check["state"] == _BAD for check in checks) else 0


_Check = Iterator[tuple[str, str, Any]]


def _tried(look: Callable[[Settings, Setup], _Check], settings: Settings, setup: Setup) -> _Check:
    """Go on with the other checks where one cannot be made at all."""
    try:
        yield from look(settings, setup)
    except EnrichError as error:
        yield look.__name__.strip("_"), _BAD, str(error)


def _python(settings: Settings, setup: Setup) -> _Check:
    yield "enrich", _GOOD, f"{__version__}, Python {platform.python_version()}, {sys.platform}"


def _extras(settings: Settings, setup: Setup) -> _Check:
    for extra, distribution in _EXTRAS.items():
        try:
            yield f"extra {extra}", _GOOD, f"{distribution} {importlib.metadata.version(distribution)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"extra {extra}", _NOTE, f"not installed; if you want it: pip install 'enrich-dam[{extra}]'"


def _runtime(settings: Settings, setup: Setup) -> _Check:
    from enrich.inference import describe_runtime

    report = describe_runtime()
    yield "ONNX Runtime", _GOOD if report.version else _BAD, report.version or "missing"
    if report.providers:
        yield "providers built in", _GOOD, ", ".join(report.providers)
    for sentence in report.advice:
        yield "ONNX Runtime", _BAD, sentence


def _devices(settings: Settings, setup: Setup) -> _Check:
    """Try what the wheel was built for besides the configured device; name an NVIDIA device left unused."""
    from enrich.app import open_store
    from enrich.inference import describe_runtime
    from enrich.inference.devices import Device, parse_device
    from enrich.inference.proof import prove

    report = describe_runtime()
    configured = parse_device(settings.device, settings.providers)
    for kind in ("cuda", "openvino"):
        device = Device(kind, options=settings.providers)
        if device.provider not in report.providers or configured.kind == kind:
            continue  # a configured device is proven by every model
        is_unused = kind == "cuda" and report.nvidia
        try:
            proof = prove(open_store(settings).get(_PROBE), device)
        except EnrichError as error:
            yield f"device {kind}", _BAD if is_unused else _NOTE, f"cannot be used: {error}"
            continue
        ran = f"works, one inference {seconds(proof.run_seconds)}"
        if is_unused and configured.kind != "auto":
            advice = f"an NVIDIA device is left unused: device: is {settings.device}; say auto or cuda"
            yield f"device {kind}", _BAD, f"{ran}; {advice}"
        else:
            yield f"device {kind}", _GOOD, ran


def _models(settings: Settings, setup: Setup) -> _Check:
    """Load every model and run it once on a grey picture, one after the other."""
    from enrich.app import open_store
    from enrich.inference.devices import parse_device
    from enrich.inference.proof import prove

    if settings.models_dir.exists() and not settings.models_dir.is_dir():
        yield "models_dir", _BAD, f"{settings.models_dir} is not a folder; move it away or name another"
    device, store = parse_device(settings.device, settings.providers), open_store(settings)
    for listing in store.list():
        if listing.problem is not None:
            yield f"model {listing.name}", _BAD, listing.problem
            continue
        try:
            model = store.get(listing.name)
            proof = prove(model, device)
        except EnrichError as error:
            yield f"model {listing.name}", _BAD, str(error)
            continue
        on_device = "" if proof.device_bytes is None else f", {proof.device_bytes / 1e6:.0f} MB of the device"
        yield (
            f"model {listing.name}",
            _GOOD,
            f"{model.family}, {proof.provider}, loaded in {seconds(proof.load_seconds)}, one inference "
            f"{seconds(proof.run_seconds)}, {proof.taken_bytes / 1e6:.0f} MB, of which "
            f"{proof.given_back_bytes / 1e6:.0f} MB came back{on_device}",
        )


def _plugins(settings: Settings, setup: Setup) -> _Check:
    from enrich.app import load_plugins

    host = load_plugins(settings, bundled_only=setup.bundled_only)
    yield "plugins", _GOOD, ", ".join(sorted(host.plugins))
    for failure in host.failures:
        yield f"plugin {failure.name}", _BAD, failure.error
    yield from _steps(settings, host)


def _steps(settings: Settings, host: Host) -> _Check:
    """Put every step together as a run would, each by itself; its models are loaded for it once more."""
    from enrich.app import open_models
    from enrich.host import Filters

    # A second is enough to be asked what it can do: so no two large models are held at once.
    models = open_models(settings.model_copy(update={"unload_after_seconds": 1.0}))
    bound: list[BoundStep] = []
    try:
        Filters.bind(host, settings.filters, models.open)
    except EnrichError as error:
        yield "filters", _BAD, str(error)
    for name, step in settings.steps.items():
        try:
            bound.append(host.bind(name, step, models.open, bound))
        except EnrichError as error:
            yield f"step {name}", _BAD, str(error)
        else:
            yield f"step {name}", _GOOD, f"{step.plugin}, model {step.model}" if step.model else step.plugin
    models.close()


def _catalog(settings: Settings, setup: Setup) -> _Check:
    from enrich.catalog import schema
    from enrich.catalog.engine import create_engine

    try:
        engine = create_engine(settings.catalog)
        found = schema.revision(engine)
    except EnrichError as error:
        yield "catalog", _BAD, str(error)
        return
    where = engine.url.render_as_string(hide_password=True)
    if found is None:
        yield "catalog", _NOTE, f"{where}: empty; the first run makes it"
    elif found == schema.HEAD:
        yield "catalog", _GOOD, f"{where}: schema {found}"
    else:
        yield "catalog", _BAD, f"{where}: schema {found}, needs {schema.HEAD}; say: enrich db upgrade"


def _roots(settings: Settings, setup: Setup) -> _Check:
    for root in settings.roots:
        if root.path.is_dir():
            yield f"root {root.path}", _GOOD, "there"
        else:
            yield f"root {root.path}", _BAD, "not a folder; create it, mount it, or change config.yaml"
    yield from _watch_limit(settings)


def _watch_limit(settings: Settings) -> _Check:
    """Compare the folders of the roots, as last scanned, with how many may be watched."""
    path = Path("/proc/sys/fs/inotify/max_user_watches")
    if not path.is_file():
        return
    limit, folders = int(path.read_text(encoding="ascii")), _folders(settings)
    found = f"{limit} folders may be watched (fs.inotify.max_user_watches), {folders} were found in the roots"
    if folders > limit:
        yield "watch limit", _BAD, f"{found}: raise it, as deploy/99-enrich.conf does"
    else:
        yield "watch limit", _GOOD, found


def _folders(settings: Settings) -> int:
    from enrich.catalog import report, schema
    from enrich.catalog.engine import create_engine

    try:
        engine = create_engine(settings.catalog)
        if schema.revision(engine) != schema.HEAD:
            return 0
        return sum(root["folders"] or 0 for root in report.status(engine)["roots"])
    except EnrichError:
        return 0  # the check of the catalog says what is wrong with it
