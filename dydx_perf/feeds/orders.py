"""Open orders of an account, as far as the indexer can know them.

Placing and cancelling a short-term order never reaches a block: the indexer tells what its own node saw, as
best effort. An order that was cancelled that way may still be filled until its last block has passed, so it
stays here until then. On-chain and off-chain messages come from two producers: an order may be filled
before it is placed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from dydx_perf.feeds.account_messages import OrderRow

__all__ = ["OPEN_STATUSES", "OpenOrders", "OrderStep"]

OPEN_STATUSES = {"OPEN", "BEST_EFFORT_OPENED", "UNTRIGGERED", "BEST_EFFORT_CANCELED"}
#: orders that ended, kept so that a late message does not bring them back
MAX_ENDED = 4096
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class OrderStep:
    """What became of an order."""

    order: OrderRow
    status: str
    reason: str


class OpenOrders:
    """Orders that may fill, by id."""

    def __init__(self) -> None:
        self._open: dict[str, OrderRow] = {}
        self._ended: OrderedDict[str, OrderRow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[OrderRow]:
        return iter(tuple(self._open.values()))

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._open

    def __getitem__(self, order_id: str) -> OrderRow:
        return self._open[order_id]

    def remaining(self, order_id: str) -> Decimal | None:
        """Coins that are left to fill; None where its size is not known."""
        order = self._open[order_id]
        return None if order.size is None else order.size - (order.filled or NOTHING)

    def replace(self, orders: Iterable[OrderRow]) -> list[OrderStep]:
        """Take a whole list; orders of ours that are not in it have ended."""
        given = {order.order_id: order for order in orders if order.status in OPEN_STATUSES}
        steps = self.drop([order_id for order_id in self._open if order_id not in given])
        for order in given.values():
            before = self._open.get(order.order_id)
            self._ended.pop(order.order_id, None)
            self._open[order.order_id] = order
            if before is None or before.status != order.status or before.filled != order.filled:
                steps.append(OrderStep(order, order.status, order.reason))
        return steps

    def apply(self, row: OrderRow, *, is_old: bool = False) -> OrderStep | None:
        """Take one update.

        Parameters
        ----------
        row : OrderRow
        is_old : bool
            It is from before the snapshot, which then knows better of what the chain keeps: an on-chain
            order that the snapshot does not have is not opened. A short-term one is, for it ends with its
            last block.

        Returns
        -------
        OrderStep or None
            None where it changes nothing.
        """
        held = self._open.get(row.order_id)
        if row.status not in OPEN_STATUSES:
            if held is None and row.order_id in self._ended:
                return None
            if is_old and held is not None and _is_newer(held, row):
                return None
            return self._end(_merged(held, row), row.status, row.reason)
        ended = self._ended.get(row.order_id)
        if ended is not None and not _is_placed_again(ended, row):
            return None
        if held is None and is_old and row.flags:
            return None
        if held is not None and _is_newer(held, row):
            return None
        merged = _merged(held, row)
        if (
            held is not None
            and (held.status, row.status) == ("BEST_EFFORT_CANCELED", "BEST_EFFORT_OPENED")
            and (row.good_til_block or 0) <= (held.good_til_block or 0)
        ):
            return None  # the two crossed on their way; placed again it would have a later last block
        self._ended.pop(row.order_id, None)
        if merged == held:
            return None
        self._open[row.order_id] = merged
        return OrderStep(merged, row.status, row.reason)

    def drop(self, order_ids: Iterable[str]) -> list[OrderStep]:
        """End orders that the venue no longer lists."""
        return [
            self._end(self._open[order_id], "CANCELED", "not in the list of open orders")
            for order_id in order_ids
            if order_id in self._open
        ]

    def expire(self, height: int) -> list[OrderStep]:
        """End the short-term orders whose last block is before `height`."""
        over = [
            order
            for order in self._open.values()
            if not order.flags and order.good_til_block is not None and order.good_til_block < height
        ]
        return [self._end(order, "CANCELED", "EXPIRED") for order in over]

    def _end(self, order: OrderRow, status: str, reason: str) -> OrderStep:
        self._open.pop(order.order_id, None)
        ended = replace(order, status=status, reason=reason)
        self._ended[order.order_id] = ended
        self._ended.move_to_end(order.order_id)
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)
        return OrderStep(ended, status, reason)


def _is_newer(held: OrderRow, row: OrderRow) -> bool:
    """Whether the chain said `held` after `row`."""
    return (
        held.updated_height is not None
        and row.updated_height is not None
        and held.updated_height > row.updated_height
    )


def _is_placed_again(ended: OrderRow, row: OrderRow) -> bool:
    """Whether an order that ended was placed once more under its id, or this message is only late."""
    if row.flags:
        return (row.created_height or row.updated_height or 0) > (
            ended.updated_height or ended.created_height or 0
        ) or ended.reason == "REPLACED"
    return ended.reason == "REPLACED" or (row.good_til_block or 0) > (ended.good_til_block or 0)


def _merged(held: OrderRow | None, row: OrderRow) -> OrderRow:
    """Fill in from `held` what `row` does not say: a removal may name an order by its id alone."""
    if held is None:
        return row
    kept = {
        one.name: getattr(held, one.name)
        for one in fields(OrderRow)
        if getattr(row, one.name) in (None, "") and one.name != "reason"
    }
    if held.filled is not None and (row.filled is None or row.filled < held.filled):
        kept["filled"] = held.filled
    return replace(row, **kept)
