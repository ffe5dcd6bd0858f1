"""A small book whose figures can be done in the head."""

from typing import Any

from dydx_perf import Book, Chain, Crossing, Market, Subaccount

BTC, ETH = "BTC-USD", "ETH-USD"
A, B = ("dydx1a", 0), ("dydx1b", 0)


def chain() -> Chain:
    """Bitcoin at 20,000 and ether at 1,000 USDC; 5 % initial, 3 % maintenance."""
    values: dict[str, Any] = {
        "initial_margin_ppm": 50_000,
        "maintenance_fraction_ppm": 600_000,
        "height": 10,
        "basis": "chain",
    }
    return Chain(
        [
            Market(
                BTC, perpetual_id=0, atomic_resolution=-10, price_exponent=-5, oracle_price="20000", **values
            ),
            Market(
                ETH, perpetual_id=1, atomic_resolution=-9, price_exponent=-6, oracle_price="1000", **values
            ),
        ],
        height=10,
    )


def book(**room: int) -> Book:
    return Book(chain(), **{"max_subaccounts": 4, "max_positions": 8, **room})


def long(of: Book, name: tuple[str, int] = A, usdc: str = "-18000", size: str = "1") -> Subaccount:
    """One bitcoin on credit: liquidatable below 18,556.70 USDC."""
    return Subaccount(of.chain, *name, usdc=usdc, positions={BTC: size}, height=10)


def state(of: Book) -> tuple[Any, ...]:
    """Everything that a refused call must leave as it is."""
    return of.to_bytes(), len(of), dict(of.used), list(of), of.chain[BTC].oracle_price


def edges(crossings: list[Crossing]) -> list[tuple[str, int, Any, bool]]:
    return [(c.address, c.number, c.threshold, c.below) for c in crossings]


class Listener:
    """Somebody who is told."""

    def __init__(self) -> None:
        self.heard: list[Crossing] = []

    def hear(self, crossing: Crossing) -> None:
        self.heard.append(crossing)
