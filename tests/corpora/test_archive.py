"""Archives of strangers: what is safe is given, what is not is named, and one that is not whole is never taken for one that is."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tasks.contracts.errors import CorpusError
from tasks.corpora import archive
from tasks.corpora.archive import Member, Spool, Unsafe, check_room, members
from tests.support.bad_archives import END, GOOD, STEP, Case, cases, member

CASES = dict(cases())


def contents(data: bytes) -> dict[str, bytes]:
    return {each.name: each.read() for each in members(io.BytesIO(data), "x.tar") if isinstance(each, Member)}


@pytest.mark.parametrize("name", CASES)
def test_a_stranger_s_archive_gives_what_is_safe_and_says_what_is_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case: Case = CASES[name]
    monkeypatch.chdir(tmp_path)
    given: list[Member | Unsafe] = []

    def read() -> None:
        for each in members(io.BytesIO(case.data), "cv.tar.gz"):
            given.append(each)
            if isinstance(each, Member):
                assert sum(map(len, each.pieces())) == each.size

    if case.error:
        with pytest.raises(CorpusError, match=rf"cv\.tar\.gz: .*({case.error})"):
            read()
    else:
        read()
    good = tuple(each.name for each in given if isinstance(each, Member))
    assert good == case.names or (case.error and not case.names and set(good) < set(GOOD))
    refused = [each for each in given if isinstance(each, Unsafe)]
    assert case.error or [case.refused in each.why for each in refused] == ([True] if case.refused else [])
    assert all(each.name.isprintable() for each in refused) and os.listdir(tmp_path) == []


def test_the_same_is_said_when_nobody_reads_the_members() -> None:
    for name, case in CASES.items():
        try:
            list(members(io.BytesIO(case.data), "x"))
            assert not case.error, name
        except CorpusError:
            assert case.error, name


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_archives_of_every_format_are_read(format: int, pack: type) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for name, data in GOOD.items():
            info = tarfile.TarInfo(f"./kaldi/{'å' * 60}/{name}")
            info.size, info.mtime = len(data), 1.5
            tar.addfile(info, io.BytesIO(data))
    assert contents(pack(file.getvalue())) == {f"kaldi/{'å' * 60}/{name}": data for name, data in GOOD.items()}


def test_wherever_an_archive_is_cut_it_is_not_whole() -> None:
    whole = b"".join(member(name, data) for name, data in GOOD.items())
    padded = whole + 10 * END
    for cut in [*range(0, len(whole), 256), *range(len(whole), len(whole) + len(END), 100), len(whole) - 1, len(whole) + len(END) - 1]:
        with pytest.raises(CorpusError, match="archive is not whole"):
            contents(padded[:cut])
    for cut in (len(whole) + len(END), len(padded) - 7, len(padded)):
        assert contents(padded[:cut]) == GOOD
    packed = gzip.compress(padded)
    for cut in range(len(packed)):
        with pytest.raises(CorpusError, match="archive is not whole"):
            contents(packed[:cut])


def test_no_flipped_byte_changes_what_is_read_of_a_gz() -> None:
    packed = gzip.compress(b"".join(member(name, data) for name, data in GOOD.items()) + END, mtime=0)
    n_refused = 0
    for place in range(len(packed)):
        damaged = bytearray(packed)
        damaged[place] ^= 0x55
        try:
            assert contents(bytes(damaged)) == GOOD, place  # such as its date
        except CorpusError:
            n_refused += 1
    assert len(packed) - 10 <= n_refused < len(packed)


def test_no_flipped_byte_of_a_header_loses_a_member() -> None:
    whole = b"".join(member(name, data) for name, data in GOOD.items()) + END
    n_refused = 0
    for place in range(10 * STEP, 10 * STEP + 512):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        try:
            assert contents(bytes(damaged)) == GOOD, place  # behind the digits of its own checksum
        except CorpusError as error:
            assert "archive is not whole: a damaged header" in str(error)
            n_refused += 1
    assert 510 <= n_refused < 512


def test_an_archive_is_read_once_and_forward() -> None:
    class Once(io.RawIOBase):
        n_bytes = 0

        def read(self, n: int = -1) -> bytes:
            assert n > 0, "all of it at once"
            piece = packed[self.n_bytes : self.n_bytes + n]
            self.n_bytes += len(piece)
            return piece

    packed = gzip.compress(b"".join(member(f"{number}", os.urandom(2**18)) for number in range(30)) + END)
    file = Once()
    n_members = 0
    for each in members(file, "x"):  # type: ignore[arg-type]
        n_members += 1
        if n_members % 2 and isinstance(each, Member):
            each.read()
        assert file.n_bytes < n_members * 2**18 + 2**21, "far ahead of what is wanted"
    assert (n_members, file.n_bytes) == (30, len(packed))


def test_a_member_is_not_read_out_of_turn() -> None:
    first, _ = members(io.BytesIO(member("a", b"x" * 600) + member("b") + END), "x")
    with pytest.raises(CorpusError, match="expected at byte 512"):
        first.read()  # type: ignore[union-attr]


def test_there_is_an_end_to_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 19)
    with pytest.raises(CorpusError, match="more than 19 members"):
        contents(b"".join(member(name) for name in GOOD) + END)


MEMORY = """
import sys
from pathlib import Path
from tasks.corpora.archive import members
def peak():  # KiB; ru_maxrss would begin with the parent's
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
with open(sys.argv[1], "rb") as file:
    n = sum(1 for _ in members(file, "x"))
print(n, (peak() - before) // 1024)
"""


def in_a_process_of_its_own(file: Path) -> tuple[int, int]:
    """Return how many members are found, and how many MiB it took."""
    done = subprocess.run([sys.executable, "-c", MEMORY, file], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    n_members, mebibytes = done.stdout.split()
    return int(n_members), int(mebibytes)


def test_200_000_members_take_no_memory_to_speak_of(tmp_path: Path) -> None:
    header = member("000000999999", b"", tarfile.USTAR_FORMAT)[12:]
    with gzip.open(tmp_path / "many.tar.gz", "wb", 1) as file:
        file.writelines(b"%06d%06d" % (number, 999_999 - number) + header for number in range(200_000))  # digits of equal sum: one checksum
        file.write(END)
    n_members, mebibytes = in_a_process_of_its_own(tmp_path / "many.tar.gz")
    assert n_members == 200_000 and mebibytes < 40


def test_files_in_the_spool_are_read_from_any_place_in_any_order_after_it_is_gone() -> None:
    spool = Spool()
    files = {f"å{number}.mp3": os.urandom(number * 1000) for number in range(50)}
    for name, data in files.items():
        spool.add(name, data)
    readers = dict(spool.files())
    del spool
    assert {name: read() for name, read in reversed(readers.items())} == files
    n_open = len(os.listdir("/proc/self/fd"))
    del readers
    assert len(os.listdir("/proc/self/fd")) == n_open - 1


def test_a_full_disk_is_refused_before_it_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage("/tmp").free
    check_room(0)
    with pytest.raises(CorpusError, match=r"GB free, not enough .* set TMPDIR"):
        check_room(2 * free)
    monkeypatch.setattr(archive, "RESERVE", 2 * free)
    with pytest.raises(CorpusError, match="set TMPDIR"):
        Spool().add("a", b"")
