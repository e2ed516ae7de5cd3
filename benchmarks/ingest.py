"""Taking files in, against the least that any such tool must do.

The peer hashes each file twice and reads its header and EXIF (sha256, sha1, Image.open, getexif), in
as many threads, and writes nothing down.
"""

import argparse
import concurrent.futures
import hashlib
import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
from measure import compare, report

from enrich.catalog import schema
from enrich.catalog.engine import create_engine
from enrich.catalog.writer import Writer
from enrich.intake import Intake
from enrich.reading import Reader
from enrich.scan import Rules, Scan
from enrich.sweep import Catalogued


def draw(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Write JPEGs of a camera's size and structure, each of its own content."""
    rng = np.random.default_rng(7)
    exif = PIL.Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x9003] = "Maker", "Model", "2024:05:01 10:00:00"
    coarse = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    picture = np.asarray(PIL.Image.fromarray(coarse).resize(size, PIL.Image.Resampling.BICUBIC)).copy()
    paths = []
    for number in range(count):
        picture[:8, :8] = rng.integers(0, 255, 3, dtype=np.uint8)
        path = folder / f"{number:05}.jpg"
        PIL.Image.fromarray(picture).save(path, quality=90, exif=exif)
        paths.append(path)
    return paths


def least(path: Path) -> int:
    """Do to one file what any catalog must."""
    content = path.read_bytes()
    hashlib.sha256(content).hexdigest(), hashlib.sha1(content).hexdigest()
    with PIL.Image.open(path) as image:
        return len(image.getexif()) + image.width


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder, "files")
        top.mkdir()
        paths = draw(top, given.files, (1600, 1200))
        catalogs = iter(range(1000))

        def ours() -> None:
            engine = create_engine(f"sqlite:///{folder}/catalog{next(catalogs)}.db")
            schema.ensure(engine)
            writer = Writer(engine)
            counted: Counter[str] = Counter()
            reader = Reader(max_pixels=10**9)
            intake = Intake(writer, reader, threads=given.threads, on_written=counted.update)
            intake.start()
            for changes in Scan(top, [top], Rules(), Catalogued(engine)).changes():
                for candidate in changes.candidates:
                    intake.offer(candidate, 0)
            intake.wait_idle(600)
            intake.stop()
            writer.close()
            engine.dispose()
            assert counted["present"] == given.files, counted

        def peer() -> None:
            with concurrent.futures.ThreadPoolExecutor(given.threads) as pool:
                assert sum(pool.map(least, paths)) > 0

        megabytes = sum(path.stat().st_size for path in paths) / 1e6
        what = f"{megabytes / len(paths):.2f} MB JPEGs into SQLite, {given.threads} threads"
        report("ingest", what, "least", given.files, compare(ours, peer, given.runs), ">= 0.8")


if __name__ == "__main__":
    main()
