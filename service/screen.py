"""What is watched, on a terminal: accounts with their distance to liquidation, prices, what just happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dydx_perf.errors import UnknownSubaccountError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.events import Event, FillSeen, LiquidationSeen, TransferSeen, TrustChanged
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.service import answers
from dydx_perf.service.watch import Watch
from dydx_perf.units import quote_quantums_to_usdc

__all__ = ["Screen", "shown"]

FRAMES_A_SECOND = 5
SECONDS_A_PAGE = 3.0  # where lines cannot be drawn anew
SHOWN_EVENTS, SHOWN_MARKETS = 8, 6
COLOURS = {"safe": "green", "liquidatable": "bold red", "unknown": "yellow"}


class Screen:
    """Draw one watch.

    Parameters
    ----------
    watch : Watch
    title : str
    """

    def __init__(self, watch: Watch, title: str) -> None:
        self._watch = watch
        self._title = title
        self._events: deque[Text] = deque(maxlen=SHOWN_EVENTS)
        self._first: dict[str, Decimal] = {}
        self.crossings = 0
        watch.on_event(self._note)

    def _note(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            self._events.append(line)

    def _line(self, event: Event) -> Text | None:
        height = self._watch.height or "-"
        if isinstance(event, Crossing):
            self.crossings += 1
            state = "liquidatable" if event.below else "no longer liquidatable"
            over = quote_quantums_to_usdc(event.risk.distance)
            line = f"{height}  {_short(event.address)}/{event.number} {state}, {over:+,.2f} USDC of the line"
            return Text(line, COLOURS["liquidatable" if event.below else "safe"])
        if isinstance(event, TrustChanged):
            now = ", ".join(event.doubts) or "trusted"
            return Text(f"{height}  {_short(event.subject)}: {now}", "yellow" if event.doubts else "green")
        if isinstance(event, LiquidationSeen):
            return Text(
                f"{height}  {event.kind} of {_short(event.address)}/{event.number} in {event.ticker}", "red"
            )
        if isinstance(event, TransferSeen):
            return Text(
                f"{height}  {event.kind} {event.amount:,f} USDC, {_short(event.address)}/{event.number}"
            )
        if isinstance(event, FillSeen):
            what = f"{event.side} {event.size} {event.ticker} at {event.price}"
            return Text(f"{height}  {what}, {_short(event.address)}/{event.number}")
        return None

    def draw(self) -> RenderableType:
        """Return the screen as it is now."""
        watch = self._watch
        head = (
            f"{self._title} · block {watch.height or '-'} · {watch.open_connections} connections open · "
            f"{watch.counts.frames:,} frames"
        )
        parts: list[RenderableType] = [Text(head, "bold"), self._accounts(), self._prices()]
        return Group(*parts, *self._events)

    def page(self, console: Console) -> None:
        """Print the screen as it is now, with what happened since the last page."""
        console.print(self.draw(), "")
        self._events.clear()

    def _accounts(self) -> Table:
        table = Table(expand=False)
        for name in (
            "account",
            "verdict",
            "net collateral",
            "maint. margin",
            "distance",
            "nearest",
            "away",
            "why",
        ):
            left = name in ("account", "verdict", "nearest", "why")
            table.add_column(name, justify="left" if left else "right", no_wrap=name != "why")
        for risk in self._watch.risks():
            table.add_row(*self._row(risk))
        return table

    def _row(self, risk: WatchedRisk) -> Iterator[RenderableType]:
        yield f"{_short(risk.address)}/{risk.number}"
        yield Text(risk.verdict, COLOURS[risk.verdict])
        if risk.risk is None:
            yield from ("-", "-", "-", "-", "-")
        else:
            net, margin = risk.risk.net_collateral, risk.risk.maintenance_margin_requirement
            for quantums in (net, margin, net - margin):
                yield f"{quote_quantums_to_usdc(quantums):,.2f}"
            yield from self._nearest(risk)
        yield ", ".join(risk.doubts) or f"{risk.basis}" + (
            f", {', '.join(risk.notices)}" if risk.notices else ""
        )

    def _nearest(self, risk: WatchedRisk) -> tuple[str, str]:
        with contextlib.suppress(UnknownSubaccountError):
            for position in answers.position_answers(
                self._watch.book.subaccount((risk.address, risk.number))
            ):
                if position.distance is not None:
                    away = Decimal(position.distance)
                    return f"{position.ticker} at {position.liquidation_price}", f"{away:+.2%}"
        return "-", "-"

    def _prices(self) -> Text:
        shown: list[str] = []
        for market in self._watch.book.chain:
            if len(shown) == SHOWN_MARKETS:
                break
            price = market.oracle_price.decimal
            if price == 0:
                continue
            first = self._first.setdefault(market.ticker, price)
            shown.append(f"{market.ticker} {price:f} ({price / first - 1:+.1%})")
        return Text("   ".join(shown), "cyan")


def _short(name: str) -> str:
    """Shorten the addresses in a text."""
    words = [f"{word[:12]}…{word[43:]}" if word.startswith("dydx1") else word for word in name.split(" ")]
    return " ".join(words)


@contextlib.asynccontextmanager
async def shown(screen: Screen, console: Console) -> AsyncIterator[None]:
    """Draw again and again while the block lasts, and once more at its end."""
    if console.is_terminal:
        with Live(screen.draw(), console=console, refresh_per_second=FRAMES_A_SECOND, screen=False) as live:
            drawing = asyncio.create_task(_redraw(lambda: live.update(screen.draw()), 1 / FRAMES_A_SECOND))
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)
                live.update(screen.draw())
    else:
        drawing = asyncio.create_task(_redraw(lambda: screen.page(console), SECONDS_A_PAGE))
        try:
            yield
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)
            screen.page(console)


async def _redraw(draw: Callable[[], None], every: float) -> None:
    while True:
        draw()
        await asyncio.sleep(every)
