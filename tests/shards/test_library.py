"""Which shelf gives which recording: the one that gives most of them, in every process alike."""

import pyarrow as pa
import pytest

from tasks.contracts.values import Artifact
from tasks.shards.library import Shelf, name_of, share_out


def shelf(key: str, recordings: str) -> Shelf:
    return Shelf(Artifact("audio", key, ()), pa.array(list(recordings)))


WANTED = pa.array(list("9876543210"))
HELD = [shelf("a", "12345"), shelf("b", "4567"), shelf("c", "789xyzuvw")]  # c holds many, and few that anybody wants


def owners(held: list[Shelf], fewest: int = 0) -> str:
    """Return the key of the shelf that gives each wanted recording, a dash for none."""
    return "".join(held[number].audio.key if number >= 0 else "-" for number in share_out(held, WANTED, fewest).tolist())


def test_the_shelf_that_holds_most_of_what_is_wanted_gives_it() -> None:
    assert owners(HELD) == "ccbbaaaaa-"
    assert owners([]) == "-" * 10


def test_a_shelf_that_would_give_too_few_gives_none() -> None:
    assert owners(HELD, fewest=2) == owners(HELD)
    assert owners(HELD, fewest=3) == "----aaaaa-"
    assert owners(HELD, fewest=6) == "-" * 10


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)])
def test_the_order_in_which_shelves_are_found_decides_nothing(order: tuple[int, ...]) -> None:
    twins = [*HELD, shelf("aa", "12345")]
    assert owners([twins[number] for number in order]) == owners(HELD)


def test_a_shelf_is_named_by_its_recordings_in_their_order() -> None:
    assert name_of(["12", "34"]) == name_of(iter(["12", "34"])) != name_of(["34", "12"])
