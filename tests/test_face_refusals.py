"""Wrong arguments of the public face: each is refused by name, at once, and nothing has changed."""

from __future__ import annotations

import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from faces import Plan, each_face, figures, refused
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact.state import Perpetual

MARKETS = {
    number: Perpetual(number, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0, market_type=kind)
    for number, kind in ((0, 1), (1, 1), (2, 2))
}
LONG_TEXT = "1" * 10**5
HUGE = 10**5000

#: no amount, whatever the unit
NO_AMOUNTS: list[Any] = [
    1.0, float("nan"), float("inf"), True, b"1", [], {}, object(), 1j, Fraction(1, 2),
    "", " ", "1 ", " 1", "1\n", "1_000", "1,5", "0x10", "NaN", "nan", "inf", "-Infinity", "sNaN", "1e", "e5",
    "--1", "+-1", "1.2.3", "١٢", "１２", "²", "1\u200b", "\u22121", "1e1000", "1e-1000", "1\x00",
    LONG_TEXT, "0." + LONG_TEXT, "1e" + LONG_TEXT, Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"),
    Decimal("-Infinity"), Decimal("1E+1000"), Decimal("1E-1000"), Decimal(LONG_TEXT), HUGE, -HUGE,
]  # fmt: skip
NO_INTEGERS: list[Any] = [
    1.0,
    True,
    None,
    "1",
    "",
    b"1",
    [],
    Decimal(1),
    Fraction(1),
    1j,
    object(),
    LONG_TEXT,
]


def name_of(value: Any) -> str:
    if isinstance(value, int):
        return f"{'-' if value < 0 else ''}{value.bit_length()}bits"
    return f"{type(value).__name__}-{str(value)[:12]!a}" if type(value) is not object else "object"


def amounts(*more: Any) -> pytest.MarkDecorator:
    values = [*NO_AMOUNTS, *more]
    return pytest.mark.parametrize("value", values, ids=[name_of(value) for value in values])


def integers(*more: Any) -> pytest.MarkDecorator:
    values = [*NO_INTEGERS, *more]
    return pytest.mark.parametrize("value", values, ids=[name_of(value) for value in values])


def new_account(face: Any) -> Any:
    chain = Plan(dict(MARKETS)).chain(face, height=5)
    return face.Subaccount(
        chain,
        "dydx1seen",
        3,
        usdc="1000.5",
        positions=[
            face.Position(chain["M0-USD"], "0.8", entry_price="60000"),
            face.Position(chain["M1-USD"], "-2"),
        ],
        leverage={"M1-USD": 70_000},
        height=9,
    )


def seen(account: Any) -> tuple[Any, ...]:
    """Everything that can be seen of an account and of its chain."""
    properties = [
        name for name in sorted(dir(type(account))) if isinstance(getattr(type(account), name), property)
    ]
    risk = account.risk
    return (
        [(name, str(getattr(account, name))) for name in properties if name not in ("table", "risk")],
        (risk, risk.height, risk.basis, account.evaluate(), repr(account), dict(account.positions)),
        account.pnl("M0-USD"),
        [(str(market), market.perpetual, market.height, market.basis) for market in account.chain],
        (account.chain.height, account.chain.tickers),
    )


def check_refusal(face: Any, error: str, argument: str | None, account: Any, call: Any) -> None:
    before = seen(account)
    began = time.perf_counter()
    with refused(face, error, argument):
        call()
    assert time.perf_counter() - began < 0.5
    assert seen(account) == before


@each_face
@amounts()
def test_no_usdc(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(face, "InputError", "usdc", account, lambda: account.set_usdc(value))
    check_refusal(
        face, "InputError", "usdc", account, lambda: face.Subaccount(account.chain, "a", usdc=value)
    )


@each_face
@pytest.mark.parametrize("value", [None, "0.0000001", Decimal("1e-7"), "1e-7"])
def test_usdc_finer_than_a_quote_quantum(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(face, "InputError", "usdc", account, lambda: account.set_usdc(value))


@each_face
@amounts("0.00000000001", None)
def test_no_size(face: Any, value: Any) -> None:
    account = new_account(face)
    chain = account.chain
    check_refusal(face, "InputError", "position", account, lambda: account.set_position("M0-USD", value))
    check_refusal(
        face,
        "InputError",
        "positions['M0-USD']",
        account,
        lambda: face.Subaccount(chain, "a", positions={"M1-USD": 1, "M0-USD": value}),
    )
    with refused(face, "InputError", "size"):
        face.Position(chain["M0-USD"], value)


@each_face
@amounts()
def test_no_price_or_pnl_of_a_position(face: Any, value: Any) -> None:
    market = new_account(face).chain["M0-USD"]
    for name in ("entry_price", "exit_price", "realized_pnl", "net_funding"):
        with refused(face, "InputError", name):
            face.Position(market, 1, **{name: value})


@each_face
def test_prices_below_zero_and_missing_pnl(face: Any) -> None:
    market = new_account(face).chain["M0-USD"]
    for name in ("entry_price", "exit_price"):
        for value in ("-0.01", -1, Decimal(-5)):
            with refused(face, "InputError", name):
                face.Position(market, 1, **{name: value})
    for name in ("realized_pnl", "net_funding"):
        with refused(face, "InputError", name):
            face.Position(market, 1, **{name: None})


@each_face
@integers(HUGE, -HUGE)
def test_no_integer_of_a_position(face: Any, value: Any) -> None:
    market = new_account(face).chain["M0-USD"]
    if value is not None:
        with refused(face, "InputError", "quantums"):
            face.Position(market, quantums=value)
        with refused(face, "InputError", "funding_index"):
            face.Position(market, 1, funding_index=value)
    for name in ("quote_balance", "custom_imf_ppm"):
        with refused(face, "InputError", name):
            face.Position(market, 1, **{name: value})


@each_face
def test_a_position_has_a_size_or_quantums_and_a_market(face: Any) -> None:
    market = new_account(face).chain["M0-USD"]
    for arguments in ({}, {"size": 1, "quantums": 1}):
        with refused(face, "InputError", "size"):
            face.Position(market, **arguments)
    for wrong in ("M0-USD", None, 0, 1.0, object()):
        with refused(face, "InputError", "market"):
            face.Position(wrong, 1)
    for ppm in (-1, 2**32):
        with refused(face, "InputError", "custom_imf_ppm"):
            face.Position(market, 1, custom_imf_ppm=ppm)


@each_face
@integers(-1, 128_001, 2**64, HUGE)
def test_no_number(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(face, "InputError", "number", account, lambda: face.Subaccount(account.chain, "a", value))


@each_face
@integers(-1, 2**62 + 1, HUGE)
def test_no_height(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(face, "InputError", "height", account, lambda: account.set_block(value))
    if value is not None:
        for call in (
            lambda: face.Subaccount(account.chain, "a", height=value),
            lambda: account.set_usdc(1, height=value),
            lambda: account.set_position("M0-USD", 1, height=value),
            lambda: account.close_position("M0-USD", height=value),
            lambda: account.set_leverage("M0-USD", 1, height=value),
        ):
            check_refusal(face, "InputError", "height", account, call)


@each_face
@pytest.mark.parametrize(
    "value", ["", "Chain", "guess", 0, 1.0, True, [], b"chain", LONG_TEXT, "chain"], ids=name_of
)
def test_no_basis(face: Any, value: Any) -> None:
    """The chain's values have a height; "chain" without one is refused as well."""
    account = new_account(face)
    for call in (
        lambda: face.Subaccount(account.chain, "a", basis=value),
        lambda: account.set_usdc(1, basis=value),
        lambda: account.set_position("M0-USD", 1, basis=value),
        lambda: account.close_position("M0-USD", basis=value),
        lambda: account.set_leverage("M0-USD", 1, basis=value),
    ):
        check_refusal(face, "InputError", "basis", account, call)


@each_face
@integers(-1, 2**32, HUGE)
def test_no_leverage(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(
        face, "InputError", "custom_imf_ppm", account, lambda: account.set_leverage("M0-USD", value)
    )
    check_refusal(
        face,
        "InputError",
        "leverage['M0-USD']",
        account,
        lambda: face.Subaccount(account.chain, "a", leverage={"M1-USD": 1, "M0-USD": value}),
    )


@each_face
@pytest.mark.parametrize("value", [None, 0, "", 1.0, b"a", [], "a" * 129, LONG_TEXT], ids=name_of)
def test_no_address(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(face, "InputError", "address", account, lambda: face.Subaccount(account.chain, value))


@each_face
@pytest.mark.parametrize("value", [None, 0, "v9", 1.0, [], {}, object()], ids=name_of)
def test_no_chain(face: Any, value: Any) -> None:
    with refused(face, "InputError", "chain"):
        face.Subaccount(value, "a")


@each_face
@pytest.mark.parametrize(
    "market",
    ["SOL-USD", "m0-usd", "", " M0-USD", 9, -1, HUGE, True, 1.0, None, b"M0-USD", LONG_TEXT],
    ids=name_of,
)
def test_an_unknown_market(face: Any, market: Any) -> None:
    account = new_account(face)
    for call in (
        lambda: account.set_position(market, 1),
        lambda: account.set_position(market, account.positions["M0-USD"]),
        lambda: account.close_position(market),
        lambda: account.set_leverage(market, 1),
        lambda: account.liquidation_price(market),
        lambda: account.liquidation(market),
        lambda: account.pnl(market),
        lambda: account.buying_power(market),
        lambda: face.Subaccount(account.chain, "a", positions={market: 1}),
        lambda: face.Subaccount(account.chain, "a", leverage={market: 1}),
    ):
        check_refusal(face, "UnknownMarketError", None, account, call)


@each_face
def test_a_market_without_a_position(face: Any) -> None:
    account = new_account(face)
    for name in ("close_position", "liquidation_price", "liquidation", "pnl"):
        check_refusal(face, "InputError", "market", account, lambda n=name: getattr(account, n)("M2-USD"))


@each_face
@pytest.mark.parametrize(
    "value", [None, 5, 1.0, True, "M0-USD", ["M0-USD"], [("M0-USD", 1)], b"ab"], ids=name_of
)
def test_no_positions(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(
        face, "InputError", "positions", account, lambda: face.Subaccount(account.chain, "a", positions=value)
    )


@each_face
@pytest.mark.parametrize("value", [5, 1.0, True, "M0-USD", "", [("M0-USD", 1)], 0, False], ids=name_of)
def test_no_leverage_mapping(face: Any, value: Any) -> None:
    account = new_account(face)
    check_refusal(
        face, "InputError", "leverage", account, lambda: face.Subaccount(account.chain, "a", leverage=value)
    )


@each_face
def test_positions_that_do_not_go_together(face: Any) -> None:
    account = new_account(face)
    chain, other = account.chain, new_account(face).chain
    foreign, twice = face.Position(other["M0-USD"], 1), face.Position(chain["M0-USD"], 1)
    isolated = face.Position(chain["M2-USD"], 1)
    for positions in (
        [foreign],
        [twice, twice],
        [twice, isolated],
        {"M0-USD": 1, "M2-USD": -1},
        {"M0-USD": 1, 0: 1},
    ):
        check_refusal(
            face,
            "InputError",
            "positions",
            account,
            lambda p=positions: face.Subaccount(chain, "a", positions=p),
        )
    check_refusal(face, "InputError", "position", account, lambda: account.set_position("M0-USD", foreign))
    check_refusal(face, "InputError", "position", account, lambda: account.set_position("M1-USD", twice))
    check_refusal(face, "InputError", "positions", account, lambda: account.set_position("M2-USD", isolated))
    check_refusal(face, "InputError", "positions", account, lambda: account.set_position("M2-USD", "0.5"))
    alone = face.Subaccount(chain, "a", positions=[isolated])
    with refused(face, "InputError", "positions"):
        alone.set_position("M0-USD", 1)
    alone.set_position("M2-USD", -4)
    assert alone.liquidation_price("M2-USD") is not None


@each_face
@given(
    value=st.one_of(
        st.text(max_size=30),
        st.floats(),
        st.decimals(),
        st.binary(max_size=5),
        st.text("0123456789.eE+-_ ", max_size=12),
    )
)
def test_any_value_is_taken_exactly_or_refused(face: Any, value: Any) -> None:
    account = face.Subaccount(new_account(face).chain, "a")
    try:
        account.set_usdc(value)
    except face.InputError:
        assert account.usdc_quantums == 0
    else:
        assert isinstance(value, str | Decimal)
        assert Fraction(account.usdc_quantums, 10**6) == Fraction(value)
        assert figures(account.risk).nc == account.usdc_quantums
