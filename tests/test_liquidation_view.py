"""Liquidation: the chain's own results, row by row, through the public face."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from chain_rows import account_of_row, rows
from faces import Plan, each_face, near_margin, refused, ticker
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.state import ClobPair, Perpetual, PerpetualPosition

WRONG: list[Any] = [None, 1.0, True, "1", Decimal(1), 0, -1, 2**64, 10**5000]
BTC = Perpetual(
    0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0, clob_pair=ClobPair(1_000_000, 100_000, -9)
)


def view_of_row(face: Any, given_in: dict[str, Any]) -> Any:
    """Liquidation of the row's position; None where the face refuses the account or there is none."""
    values = given_in["liquidations_config"]
    account = account_of_row(
        face, given_in, rules.LiquidationsConfig(**{name: int(value) for name, value in values.items()})
    )
    name = ticker(given_in["perpetual_id"])
    if account is None or name not in account.chain:
        return None
    if name not in account.positions:
        with refused(face, "InputError", "market"):
            account.liquidation(name)
        return None
    info = given_in["subaccount_liquidation_info"]
    return account.liquidation(
        name,
        face.LiquidationInfo(
            tuple(info["perpetuals_liquidated"]),
            int(info["notional_liquidated"]),
            int(info["quantums_insurance_lost"]),
        ),
    )


def answer(face: Any, ask: Any) -> Any:
    """What `ask` returns, or the chain's refusal as a row has it."""
    try:
        return ask()
    except face.ChainError as refusal:
        return {"err": refusal.chain_name, "err_kind": refusal.kind} | (
            {"err_code": refusal.code} if refusal.code else {}
        )


def replay(face: Any, function: str, compare: Any, at_least: int) -> None:
    replayed = 0
    for row in rows("liquidation", function):
        view = view_of_row(face, row["in"])
        if view is not None:
            compare(view, row["in"], row["out"])
            replayed += 1
    assert replayed >= at_least


@each_face
def test_rows_of_bankruptcy_prices(face: Any) -> None:
    def compare(view: Any, asked: dict[str, Any], out: dict[str, Any]) -> None:
        got = answer(face, lambda: view.bankruptcy_quote_quantums(int(asked["delta_quantums"])))
        assert got == (int(out["delta_quote_quantums"]) if "delta_quote_quantums" in out else out)

    replay(face, "get_bankruptcy_price_in_quote_quantums", compare, 50)


@each_face
def test_rows_of_fillable_prices(face: Any) -> None:
    def compare(view: Any, asked: dict[str, Any], out: dict[str, Any]) -> None:
        if out.get("err") == "ErrInvalidPerpetualPositionSizeDelta" or view.case.size == 0:
            return  # of a delta that the face does not take
        got = answer(face, lambda: view.fillable_price)
        if isinstance(got, dict) and got["err"] in (
            "ErrSubaccountHasLiquidatedPerpetual",
            "ErrLiquidationExceedsSubaccountMaxNotionalLiquidated",
        ):
            return  # refused earlier, where the face asks how much may be liquidated at all
        price = out.get("fillable_price", out)
        assert got == ((int(price["num"]), int(price["den"])) if "num" in price else out)

    replay(face, "get_fillable_price", compare, 40)


@each_face
def test_rows_of_liquidation_orders(face: Any) -> None:
    def compare(view: Any, asked: dict[str, Any], out: dict[str, Any]) -> None:
        assert view.is_liquidatable is out["is_liquidatable"]
        delta = answer(face, lambda: view.size_delta)
        wanted = out["liquidatable_position_size_delta"]
        assert delta == (int(wanted["delta_quantums"]) if "delta_quantums" in wanted else wanted)
        order, wanted = answer(face, lambda: view.order), out["order"]
        if isinstance(order, dict):
            assert order == wanted
            return
        assert (order.is_buy, order.base_quantums, order.subticks) == (
            wanted["is_buy"],
            int(wanted["base_quantums"]),
            int(wanted["subticks"]),
        )
        perpetual, pair = view.market.perpetual, view.market.clob_pair
        coins = order.base_quantums * Fraction(10) ** perpetual.atomic_resolution
        dollars = order.subticks * Fraction(10) ** (
            pair.quantum_conversion_exponent - 6 - perpetual.atomic_resolution
        )
        assert (Fraction(order.size), Fraction(order.price)) == (coins, dollars)

    replay(face, "liquidation_order", compare, 50)


@each_face
def test_rows_of_insurance_fund_deltas(face: Any) -> None:
    def compare(view: Any, asked: dict[str, Any], out: dict[str, Any]) -> None:
        fill, subticks = int(asked["fill_amount"]), int(asked["subticks"])
        if fill == 0 or subticks == 0:
            with refused(face, "InputError"):
                view.insurance_fund_delta(asked["is_buy"], fill, subticks)
            return
        got = answer(face, lambda: view.insurance_fund_delta(asked["is_buy"], fill, subticks))
        wanted = out.get("insurance_fund_delta", out)
        assert got == (wanted if isinstance(wanted, dict) else int(wanted))

    replay(face, "get_liquidation_insurance_fund_delta", compare, 50)


@each_face
def test_rows_of_deleveraging(face: Any) -> None:
    def compare(view: Any, asked: dict[str, Any], out: dict[str, Any]) -> None:
        if "err" not in out:
            assert view.can_deleverage == (
                out["should_deleverage_at_bankruptcy_price"],
                out["should_deleverage_at_oracle_price"],
            )

    replay(face, "deleveraging_quote_quantums_delta", compare, 50)


@each_face
@given(plan=near_margin(), part=st.fractions(0, 1))
def test_closing_at_the_bankruptcy_price_leaves_nothing(face: Any, plan: Plan, part: Fraction) -> None:
    """One position alone, closed whole at its bankruptcy price: what is left is what flooring left."""
    number = min(plan.positions)
    plan.positions = {number: plan.positions[number]}
    view = plan.account(face).liquidation(ticker(number))
    risk, size = plan.risk, plan.positions[number].quantums
    assert view.is_liquidatable is (risk.mmr > 0 and risk.mmr > risk.nc)
    if risk.mmr == 0:
        assert answer(face, view.bankruptcy_quote_quantums)["err"] == "division by zero"
        return
    quote = view.bankruptcy_quote_quantums()
    worth = plan.risk.nc - replaced(plan).nc
    assert risk.nc + quote - worth == 0
    with localcontext(prec=3):
        price = view.bankruptcy_price
    perpetual = plan.perpetuals[number]
    exact = Fraction(quote, 10**6) / (size * Fraction(10) ** perpetual.atomic_resolution)
    assert abs(Fraction(price) - exact) <= abs(exact) / 10**27
    delta = int(size * part)
    got = answer(face, lambda: view.bankruptcy_quote_quantums(-delta))
    model = rules.Liquidation(plan.perpetuals, plan.state, number, view.case.config)
    if delta:
        assert got == rules.bankruptcy_price_quote_quantums(model, -delta)
    else:
        assert got["err"] == "ErrInvalidPerpetualPositionSizeDelta"


def replaced(plan: Plan) -> Any:
    """The risk without the positions but with their funding: settled USDC."""
    from dydx_perf.exact.funding import settle_subaccount
    from dydx_perf.exact.margin import settled_subaccount_risk
    from dydx_perf.exact.state import SubaccountState

    indices = {number: perpetual.funding_index for number, perpetual in plan.perpetuals.items()}
    settled = settle_subaccount(indices, plan.state).subaccount
    return settled_subaccount_risk(plan.perpetuals, SubaccountState(settled.asset_positions), {})


@each_face
def test_a_bankruptcy_price_can_be_below_zero(face: Any) -> None:
    long = Plan({0: BTC}, 10**9, {0: PerpetualPosition(0, 10**10, 0)})
    short = Plan({0: BTC}, 70_000 * 10**6, {0: PerpetualPosition(0, -(10**10), 0)})
    assert long.account(face).liquidation("M0-USD").bankruptcy_price == -1000
    assert short.account(face).liquidation("M0-USD").bankruptcy_price == 70_000


@each_face
def test_a_liquidation_is_of_its_moment(face: Any) -> None:
    plan = Plan({0: BTC}, -66_500_000_000, {0: PerpetualPosition(0, 10**10, 0)})
    account = plan.account(face)
    view = account.liquidation("M0-USD")
    before = (view.is_liquidatable, view.size_delta, view.order, view.fillable_price, view.bankruptcy_price)
    account.chain["M0-USD"].set_oracle_price("90000")
    account.set_usdc(5)
    assert before == (
        view.is_liquidatable, view.size_delta, view.order, view.fillable_price, view.bankruptcy_price
    )  # fmt: skip
    assert view.is_liquidatable
    assert not account.liquidation("M0-USD").is_liquidatable
    # By hand: 67012.5 - (804.15 - 512.5) * 1.5 = 66575.025, up to a tick of one dollar.
    assert view.order.price == 66_576
    assert view.can_deleverage == (False, False)


@each_face
@pytest.mark.parametrize("wrong", WRONG, ids=[type(wrong).__name__ for wrong in WRONG])
def test_wrong_arguments_are_refused_by_name(face: Any, wrong: Any) -> None:
    plan = Plan({0: BTC}, -66_500_000_000, {0: PerpetualPosition(0, 10**10, 0)})
    account = plan.account(face)
    view = account.liquidation("M0-USD")
    with refused(face, "InputError", "base_quantums"):
        view.insurance_fund_delta(False, wrong, 1)
    with refused(face, "InputError", "subticks"):
        view.insurance_fund_delta(False, 1, wrong)
    with refused(face, "InputError", "info"):
        account.liquidation("M0-USD", wrong)
    if wrong is not True:
        with refused(face, "InputError", "is_buy"):
            view.insurance_fund_delta(wrong, 1, 1)
    if not isinstance(wrong, int) or isinstance(wrong, bool) or wrong == 10**5000:
        if wrong is not None:
            with refused(face, "InputError", "quantums"):
                view.bankruptcy_quote_quantums(wrong)
    else:
        assert isinstance(answer(face, lambda: view.bankruptcy_quote_quantums(wrong)), dict | int)
    with refused(face, "UnknownMarketError"):
        account.liquidation("M9-USD")
