"""Logs that only grow: `<folder>/<number>.json`, each entry created once and never changed.

Of two writers who append at once one gets the next number, and nobody's entry is lost. Clocks differ, so the order is that of the numbers.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

from tasks.contracts.errors import StoreError
from tasks.store.objects import Store

READERS = 16  # requests at once
LAST = 99_999_999  # number of an entry: eight digits
LAG = 16  # entries that a listing may not show


def append(store: Store, folder: str, data: bytes) -> int:
    """Add an entry behind those that are there, and return its number.

    Raises:
        StoreError: if the store cannot be written, or the folder holds no log.
    """
    number = max(_numbers(store, folder), default=0)
    while True:
        number += 1
        try:
            store.create(entry(folder, number), data)
            return number
        except StoreError:
            if not store.exists(entry(folder, number)):
                raise  # it cannot be written


def entries(store: Store, folder: str, after: int = 0) -> list[bytes]:
    """Return the entries behind the first `after`, oldest first.

    A listing may not show the newest ones yet, so what follows upon the last that it shows is looked for.

    Raises:
        StoreError: if an entry is gone.
    """
    numbers = _numbers(store, folder)
    asked = range(after + 1, max(numbers, default=0) + 1)
    for number in sorted(set(asked) - numbers):
        _read(store, folder, number)  # a listing may lag; and if it does not, say so before reading all the others
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda number: _read(store, folder, number), asked))
    while store.exists(entry(folder, after + len(found) + 1)):
        found.append(_read(store, folder, after + len(found) + 1))
    return found


def entry(folder: str, number: int) -> str:
    """Return where an entry lies; StoreError if there can be no such number."""
    if number > LAST:
        raise StoreError(f"{folder} is full: {LAST} entries; go on under another name")
    return f"{folder}/{number:08d}.json"


def _read(store: Store, folder: str, number: int) -> bytes:
    try:
        return store.read(entry(folder, number))
    except FileNotFoundError as error:
        raise StoreError(f"{store.uri(entry(folder, number))} is gone, and later entries are there; bring it back") from error


def _numbers(store: Store, folder: str) -> set[int]:
    """Return the numbers of the entries that a listing shows; StoreError if that many are gone that a stray one must be among them."""
    stems = [each.removesuffix(".json") for each in store.names(folder)]
    stems = [stem for stem in stems if len(stem) >= 8 and stem.isascii() and stem.isdigit()]
    numbers = {int(stem) for stem in stems if len(stem) == 8} - {0}
    last = max(numbers, default=0)
    if last - len(numbers) > LAG:
        first = next(number for number in count(1) if number not in numbers)
        raise StoreError(f"{store.uri(entry(folder, first))} and {last - len(numbers) - 1} more are gone, and {last:08d}.json is there; "
                         "bring them back, or move away what viska has not written")  # fmt: skip
    if strange := next((stem for stem in stems if len(stem) > 8), None):
        raise StoreError(f"{store.uri(folder)} holds {strange:.40}.json, expected numbers of 8 digits; move it away")
    return numbers
