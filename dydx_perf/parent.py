"""A parent subaccount: the indexer's view of an owner's subaccounts whose numbers agree modulo 128.

The chain knows no parents: each number is a margin account of its own, and so is its risk. Only the indexer's
sums are given here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import indexer
from dydx_perf.subaccount import Subaccount

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["ParentSubaccount"]


class ParentSubaccount:
    """The subaccounts of one parent.

    Parameters
    ----------
    subaccounts : iterable of Subaccount
        Of one address on one chain, with numbers that agree modulo 128, each number once.

    Raises
    ------
    InputError
        None given, or they do not belong together.
    """

    def __init__(self, subaccounts: Iterable[Subaccount]) -> None:
        if not isinstance(subaccounts, Iterable):
            raise InputError("subaccounts", subaccounts, "an iterable of Subaccount objects")
        given = list(subaccounts)
        if not given:
            raise InputError("subaccounts", given, "at least one")
        for place, child in enumerate(given):
            if not isinstance(child, Subaccount):
                raise InputError(f"subaccounts[{place}]", child, "a Subaccount")
        children = sorted(given, key=lambda child: child.number)
        if any(child.chain is not children[0].chain for child in children):
            raise InputError("subaccounts", children, "subaccounts on one chain")
        if len({(child.address, child.parent_number) for child in children}) > 1:
            raise InputError("subaccounts", children, "one address, numbers that agree modulo 128")
        if len({child.number for child in children}) < len(children):
            raise InputError("subaccounts", children, "each number once")
        self._children = tuple(children)

    @property
    def children(self) -> tuple[Subaccount, ...]:
        """All subaccounts, the parent's own among them, by number."""
        return self._children

    @property
    def address(self) -> str:
        """The owner's address."""
        return self._children[0].address

    @property
    def number(self) -> int:
        """The parent's number, 0 to 127."""
        return self._children[0].parent_number

    @property
    def equity(self) -> Decimal:
        """The indexer's equity: the plain sum over the children, deficits included."""
        return indexer.parent_sum(child.equity for child in self._children)

    @property
    def free_collateral(self) -> Decimal:
        """The indexer's free collateral: the plain sum over the children."""
        return indexer.parent_sum(child.free_collateral for child in self._children)

    @property
    def is_any_liquidatable(self) -> bool:
        """Whether the chain may liquidate one of them: each by itself."""
        return any(child.risk.is_liquidatable for child in self._children)

    def __repr__(self) -> str:
        numbers = ", ".join(str(child.number) for child in self._children)
        return f"ParentSubaccount({self.address}/{self.number}, children=[{numbers}])"
