"""An index over files of trajectories that may still grow: fields of the list, and byte offsets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.view.line import Entry, read_entry, read_record
from eval.view.places import Place

_MOST_PROBLEMS = 20  # lines that cannot be read, told one by one
_LONGEST_TAIL = 4_000_000  # bytes without a line's end that are tried as a whole line


@dataclass(slots=True)
class _File:
    """How far one file was read."""

    path: Path
    inode: int
    read: int = 0
    """Bytes that are in the index."""
    lines: int = 0
    torn: int = 0
    """Bytes after the last whole line."""


class Collection:
    """The trajectories of one place. One thread reads, others may list at the same time.

    Args:
        place: Where the files are.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.place = place
        self.entries: list[Entry] = []
        self.problems: list[str] = []
        self.is_reading = True
        self._files: list[_File] = []
        self._by_uid: dict[str, int] = {}
        self._by_question: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what was written since the last time; a file that was replaced is read anew."""
        paths = self.place.files()
        known = {file.path: file for file in self._files}
        if any(_is_replaced(file) for file in self._files) or known.keys() - set(paths):
            self._forget()
            known = {}
        for path in paths:
            file = known.get(path)
            if file is None:
                file = _File(path, path.stat().st_ino)
                self._files.append(file)
            self._read(file, self._files.index(file))
        self.is_reading = False

    @property
    def notes(self) -> list[str]:
        """Say what of the files is not shown, a sentence each."""
        notes = list(self.problems)
        for file in self._files:
            if file.torn:
                notes.append(
                    f"{file.path.name}: its last {file.torn} bytes are no whole line; it is being "
                    "written, or was cut off. The same eval.run command mends a result."
                )
            elif not file.read and not self.is_reading:
                notes.append(f"{file.path.name} is empty; trajectories are shown as they come.")
        return notes

    def entry_of(self, uid: str) -> Entry | None:
        """Find a trajectory; of several lines with its uid the last counts, as in eval.run."""
        with self._lock:
            number = self._by_uid.get(uid)
            return None if number is None else self.entries[number]

    def asking(self, question: str) -> list[Entry]:
        """Give the trajectories of one question, in order."""
        with self._lock:
            return [self.entries[number] for number in self._by_question.get(question, ())]

    def read(self, entry: Entry) -> dict[str, Any]:
        """Read a whole trajectory from its file.

        Raises:
            OSError: If the file is gone.
            ValueError: If another line stands there by now.
        """
        with self._files[entry.file].path.open("rb") as file:
            file.seek(entry.offset)
            record: dict[str, Any] = read_record(file.read(entry.length))
        if record["uid"] != entry.uid:
            raise ValueError(f"{entry.uid} is no longer where it was; the list is read again.")
        return record

    def _forget(self) -> None:
        with self._lock:
            self.entries, self.problems, self._files = [], [], []
            self._by_uid, self._by_question = {}, {}
            self.is_reading = True

    def _read(self, file: _File, number: int) -> None:
        if file.path.stat().st_size == file.read:
            file.torn = 0
            return
        with file.path.open("rb") as lines:
            lines.seek(file.read)
            for line in lines:
                if not line.endswith(b"\n") and not _is_whole(line):
                    file.torn = len(line)
                    return
                self._add(file, number, line)
        file.torn = 0

    def _add(self, file: _File, number: int, line: bytes) -> None:
        offset, file.read = file.read, file.read + len(line)
        file.lines += 1
        if not line.strip():
            return
        try:
            entry = read_entry(line)
        except ValueError as error:
            if len(self.problems) < _MOST_PROBLEMS:
                self.problems.append(
                    f"{file.path.name} line {file.lines} is no trajectory ({error}); it is left "
                    "out. Expected a JSON object as eval.run and training write it."
                )
            return
        entry.file, entry.offset, entry.length = number, offset, len(line)
        with self._lock:
            self._by_uid[entry.uid] = len(self.entries)
            self._by_question.setdefault(entry.question, []).append(len(self.entries))
            self.entries.append(entry)


def _is_replaced(file: _File) -> bool:
    try:
        now = file.path.stat()
    except OSError:
        return True
    return now.st_ino != file.inode or now.st_size < file.read


def _is_whole(line: bytes) -> bool:
    """Tell whether a line lacks nothing but its end."""
    if len(line) > _LONGEST_TAIL or not line.rstrip().endswith(b"}"):
        return False
    try:
        read_entry(line)
    except ValueError:
        return False
    return True


class Shelf:
    """All collections of a viewer, read by one thread that looks again every second.

    Args:
        places: What :func:`eval.view.places.find_places` gave.
    """

    def __init__(self, places: list[Place]) -> None:
        self.collections = {place.name: Collection(place) for place in places}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="index", daemon=True)

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.collections.values())

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking for what is new; a file that is being read is not waited for."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _watch(self) -> None:
        while True:
            for collection in self:
                try:
                    collection.refresh()
                except OSError as error:  # gone between two looks; the next look says more
                    collection.problems[:] = [f"{error}; it is looked for again every second."]
            if self._stop.wait(1.0):
                return
