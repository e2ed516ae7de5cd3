"""A folder watcher as many tutorials write it, to hold ``enrich watch`` against."""

import hashlib
import sqlite3
import sys

import PIL.Image
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

UPSERT = "INSERT INTO taken VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET sha256 = ?2, times = times + 1"


class NewPictures(FileSystemEventHandler):
    def __init__(self, database: str) -> None:
        self.database = sqlite3.connect(database, check_same_thread=False)
        self.database.execute("CREATE TABLE IF NOT EXISTS taken (path PRIMARY KEY, sha256, times)")

    def on_created(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            return
        try:
            with open(event.src_path, "rb") as file, PIL.Image.open(file) as picture:
                picture.convert("RGB")  # here the tutorial asks its model
                file.seek(0)
                self.database.execute(UPSERT, (event.src_path, hashlib.sha256(file.read()).hexdigest()))
            self.database.commit()
        # One broken file must not end it; most tutorials lack this line.
        except Exception as error:  # noqa: BLE001
            print("skipped", ascii(event.src_path), error)

    on_closed = on_created


observer = Observer()
observer.schedule(NewPictures(sys.argv[2]), sys.argv[1], recursive=True)
observer.start()
print("watching", flush=True)
observer.join()
