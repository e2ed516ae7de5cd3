"""`enrich serve` against the same model called in this process in batches, and what it does under too much.

Two models: the bundled captions, so small that HTTP's own cost is most of it, and a ViT-B/16 classifier.
Images a second at 1, 8 and 64 clients, in turn with the peer; how long the slowest of 8 clients' requests
took, in batch times; memory and refusals with ten times the clients that are let in; and the sizes of the
batches that requests and folder work made together.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from measure import report, timed

from enrich import settings
from enrich.app import open_models
from enrich.drawings.scenes import draw_scene
from enrich.rendition import open_picture
from enrich.types import Decoding, Rendition

CAPTIONS, CLASSIFIER = "drawings-vlm", "vit-b16-random"
CAPACITY = 64
#: As `throughput` makes it.
STORE = Path(__file__).resolve().parents[1] / "build" / "bench" / "vit-b16" / "store"


def main() -> None:
    """Print tables and JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--model", choices=(CAPTIONS, CLASSIFIER), help="only this one")
    parser.add_argument("--store", type=Path, default=STORE)
    given = parser.parse_args()
    for model in (CAPTIONS, CLASSIFIER) if given.model is None else (given.model,):
        if model == CLASSIFIER and not (given.store / model).exists():
            print(f"no {model}: `throughput` makes it")
            continue
        measure(model, given.store, [draw(seed) for seed in range(given.images)], given.pairs)


def measure(model: str, store: Path, pictures: Sequence[bytes], runs: int) -> None:
    """Print everything about one model."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(serving(folder, model, store))
        peer = stack.enter_context(Peer(folder, pictures, model))
        server.ask_all(pictures[:8], 8)
        for clients, wanted in ((1, "no more than reported"), (8, "no more than reported"), (64, ">= 0.8")):
            some = pictures if clients > 1 else pictures[: max(8, len(pictures) // 8)]
            pairs = compare_with(server, peer, some, clients, runs)
            report(
                f"http {clients}", f"{model} over HTTP, {clients} clients", "direct", len(some), pairs, wanted
            )
        slowest(server, peer, pictures)
        if model == CAPTIONS:
            overload(server, pictures)
        together(server, folder, pictures)


def compare_with(
    server: "Server", peer: "Peer", pictures: Sequence[bytes], clients: int, runs: int
) -> list[tuple[float, float]]:
    """Return (seconds over HTTP, the peer's seconds) of each pair."""
    return [(timed(lambda: server.ask_all(pictures, clients)), peer.run(pictures)) for _ in range(runs)]


def slowest(server: "Server", peer: "Peer", pictures: Sequence[bytes]) -> None:
    """Print how long the slowest requests of 8 clients take."""
    batch_seconds = statistics.median(peer.run(pictures[:8]) for _ in range(5))
    took = sorted(server.ask_all(pictures, 8))
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"p99 at 8 clients: {p99:.3f} s, a batch of 8: {batch_seconds:.3f} s; wanted within 3 of them")
    print(
        json.dumps(
            {"benchmark": "http p99", "seconds": round(p99, 4), "batches": round(p99 / batch_seconds, 2)}
        )
    )


def overload(server: "Server", pictures: Sequence[bytes]) -> None:
    """Print what ten times as many clients as are let in do."""
    server.statuses.clear()
    before, most = server.resident_bytes, [0]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            most[0] = max(most[0], server.resident_bytes)

    looking = threading.Thread(target=look)
    looking.start()
    server.ask_all([pictures[n % len(pictures)] for n in range(CAPACITY * 20)], CAPACITY * 10)
    stop.set()
    looking.join()
    grown = (most[0] - before) / 1e6
    said = f"{dict(server.statuses)}; memory +{grown:.0f} MB at most"
    print(f"{CAPACITY * 10} clients for {CAPACITY} places: {said}")
    found = {"statuses": server.statuses, "grown_mb": round(grown, 1)}
    print(json.dumps({"benchmark": "http overload", **found}))


def together(server: "Server", folder: Path, pictures: Sequence[bytes]) -> None:
    """Print the sizes of batches while a folder is worked off as well."""
    before = server.batches()
    for number, content in enumerate(pictures):
        (folder / "inbox" / f"{number}.png").write_bytes(content)
    server.ask_all(pictures, 32)
    end = time.monotonic() + 300
    while True:  # the folder may take longer
        made = {key: count - before.get(key, 0) for key, count in server.batches().items()}
        seen = sum(size * count for (stage, size), count in made.items() if stage == "pictures")
        if seen >= 2 * len(pictures) or time.monotonic() > end:
            break
        time.sleep(0.2)
    print(f"{seen:.0f} pictures, {len(pictures)} of them in the folder;", end=" ")
    print("batches with folder work and 32 clients at once, by stage and size:")
    for (stage, size), count in sorted(made.items()):
        print(f"  {stage:<8} {size:3d} {count:6.0f} {'#' * round(40 * count / max(made.values()))}")
    by_size = {f"{stage} {size}": count for (stage, size), count in sorted(made.items())}
    print(json.dumps({"benchmark": "http batches", "by_size": by_size}))


class Peer:
    """The same model in this process: pictures decoded one after another, described in batches."""

    def __init__(self, folder: Path, pictures: Sequence[bytes], model: str) -> None:
        self._models = open_models(settings.load(folder / "config.yaml"))
        self._model = self._models.open(model)
        self._paths: dict[bytes, Path] = {}
        for number, content in enumerate(pictures):
            self._paths[content] = folder / f"peer-{number}.png"
            self._paths[content].write_bytes(content)
        self.run(pictures[:8])

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self._models.close()

    def run(self, pictures: Sequence[bytes]) -> float:
        """Return the seconds that all take."""
        return timed(lambda: self._describe([self._read(content) for content in pictures]))

    def _describe(self, renditions: Sequence[Rendition]) -> None:
        if self._model.name == CLASSIFIER:
            self._model.predict(renditions)
        else:
            prompt = self._model.caption_prompt("normal", "en")
            self._model.generate(renditions, [prompt] * len(renditions), Decoding())

    def _read(self, content: bytes) -> Rendition:
        with open_picture(self._paths[content], "image/png", max_pixels=10**8) as picture:
            frame = picture.render(0, 768)
        size = (frame.width_px, frame.height_px)
        return Rendition(None, None, 0, frame.pixels, *size, *size)


class Server:
    """A running ``enrich serve`` and its clients."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, model: str) -> None:
        self._process = process
        self._model = model
        self._port = port
        self.statuses: Counter[str] = Counter()

    @property
    def resident_bytes(self) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the server is gone")

    def batches(self) -> dict[tuple[str, int], float]:
        """Return how many batches were run, by stage and size."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        found = {}
        for line in lines:
            if line.startswith("enrich_model_batches_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                found[labels["stage"], int(labels["size"])] = float(line.rpartition(" ")[2])
        return found

    def ask_all(self, pictures: Sequence[bytes], clients: int) -> list[float]:
        """Ask for a caption of each, ``clients`` at a time; return the seconds of each request."""
        local = threading.local()

        def ask(content: bytes) -> float:
            if not hasattr(local, "connection"):
                local.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
            image = base64.b64encode(content).decode()
            path, body = self._request(image)
            started = time.perf_counter()
            local.connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = local.connection.getresponse()
            answer.read()
            self.statuses[str(answer.status)] += 1
            return time.perf_counter() - started

        with ThreadPoolExecutor(clients) as threads:
            return list(threads.map(ask, pictures))

    def _request(self, image: str) -> tuple[str, str]:
        if self._model == CAPTIONS:
            return "/api/v6/image_editing/caption", json.dumps({"init_image": image, "length": "normal"})
        task = {"taskType": "imageCaption", "taskUUID": str(uuid.uuid4()), "inputImage": image}
        return "/v1/tasks", json.dumps([{**task, "model": self._model}])


@contextlib.contextmanager
def serving(folder: Path, model: str, store: Path) -> Iterator[Server]:
    """Run a server with a folder under watch."""
    (folder / "inbox").mkdir()
    config: dict[str, Any] = {
        "catalog": f"sqlite:///{folder / 'catalog.db'}",
        "roots": [{"path": "inbox", "settle_seconds": 0}],
        "steps": {"step": {"plugin": "caption", "model": model}},
        "api": {"port": 0, "max_queue": CAPACITY},
    }
    if model == CLASSIFIER:
        config |= {"models_dir": str(store), "device": "cpu"}
        config["steps"] = {"step": {"plugin": "tags", "model": model, "threshold": 0}}
    (folder / "config.yaml").write_text(json.dumps(config))
    log = folder / "serve.log"
    with log.open("wb") as errors:
        command = [sys.executable, "-m", "enrich", "serve"]
        process = subprocess.Popen(command, cwd=folder, stdout=errors, stderr=errors, env=os.environ)
        try:
            while (found := re.search(r"serving http://127\.0\.0\.1:(\d+)", log.read_text())) is None:
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            yield Server(process, int(found[1]), model)
        finally:
            process.terminate()
            process.wait(60)


def draw(seed: int) -> bytes:
    """Return a drawn scene as PNG."""
    written = io.BytesIO()
    draw_scene(random.Random(seed), 384)[0].convert("RGB").save(written, "PNG")
    return written.getvalue()


if __name__ == "__main__":
    main()
