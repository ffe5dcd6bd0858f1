"""The exception tree: what each error is, says and carries."""

import copy
import pickle
from collections.abc import Callable
from decimal import Decimal

import pytest

from dydx_perf.errors import CapacityError, ChainError, DydxPerfError, InputError, UnknownMarketError

SAMPLES = [
    InputError("size", "abc", "a decimal number"),
    UnknownMarketError("NOPE-USD"),
    CapacityError("64 positions at most"),
    ChainError("ErrNotImplementedMargin", "error", "assets/103"),
    ChainError("division by zero", "panic"),
]


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (InputError, ValueError),
        (UnknownMarketError, KeyError),
        (CapacityError, MemoryError),
        (ChainError, Exception),
    ],
)
def test_each_error_is_ours_and_what_a_python_user_would_catch(error: type, builtin: type) -> None:
    assert issubclass(error, DydxPerfError)
    assert issubclass(error, builtin)


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickle_and_copy_with_all_it_carries(error: Exception, protocol: int) -> None:
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_an_input_error_names_argument_value_and_what_is_allowed() -> None:
    refused = InputError("oracle_price", "-3", "a positive number")
    assert (refused.argument, refused.value, refused.allowed) == ("oracle_price", "-3", "a positive number")
    assert str(refused) == "oracle_price: '-3' is not allowed: a positive number"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 58, repr("x" * 58)),
        ("x" * 59, "'" + "x" * 56 + "..."),
        ("x" * 10_000_000, "'" + "x" * 56 + "..."),
        (b"x" * 61, "b'" + "x" * 55 + "..."),
        (10**50, "1" + "0" * 50),
        (Decimal("1.50"), "Decimal('1.50')"),
        (0.1, "0.1"),
        (None, "None"),
    ],
)
def test_a_message_repeats_at_most_60_characters_of_the_value(value: object, shown: str) -> None:
    message = str(InputError("size", value, "less"))
    assert message == f"size: {shown} is not allowed: less"
    assert len(message) <= 60 + len("size:  is not allowed: less")


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value]], ids=["bare", "in a list"])
def test_a_huge_integer_does_not_hide_why_it_was_refused(wrap: Callable[[int], object]) -> None:
    # Python itself refuses to print integers past 4300 digits
    message = str(InputError("size", wrap(10**100_000), "less"))
    assert message in (
        "size: an integer of 332193 bits is not allowed: less",
        "size: a list is not allowed: less",
    )


def test_a_value_is_kept_whole_however_short_the_message() -> None:
    value = "x" * 1_000
    assert InputError("size", value, "less").value is value


@pytest.mark.parametrize(("market", "shown"), [("NOPE-USD", "'NOPE-USD'"), (7, "7")])
def test_an_unknown_market_reads_as_a_sentence(market: object, shown: str) -> None:
    unknown = UnknownMarketError(market)
    assert unknown.market == market
    assert str(unknown) == f"market {shown} is not known"


def test_a_chain_error_carries_name_kind_and_code() -> None:
    refused = ChainError("ErrPanic", "error", "margin/7")
    assert (refused.chain_name, refused.kind, refused.code) == ("ErrPanic", "error", "margin/7")
    assert str(refused) == "the chain answers with the error ErrPanic (margin/7)"
    panic = ChainError("division by zero", "panic")
    assert (panic.chain_name, panic.kind, panic.code) == ("division by zero", "panic", None)
    assert str(panic) == "the chain answers with the panic division by zero"
