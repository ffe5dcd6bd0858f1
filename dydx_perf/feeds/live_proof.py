"""The proof on live data: every liquidation seen on chain must have been predicted.

"Liquidatable" is a state of an account after a block. That the chain then attempts it in a given block is
never certain: the proposer's list is some blocks old, its window is random, any of the account's positions
may be picked. So a liquidatable account that is left alone proves nothing, and only these are counted, each
account, market and block once:

========== =======================================================================================
predicted  liquidated in block H, and shown as liquidatable on the state before H, on trusted data
missed     liquidated in block H, and shown as safe on the state before H
unknown    liquidated in block H, and nothing was said of the state before H: no trusted data
settled    deleveraged in a market in final settlement, which happens to accounts that are safe
confirmed  shown as liquidatable at H, and a node's exact answer at H says so, too
false      shown as liquidatable at H all the time, and a node's exact answer at H says it is not
overlooked shown as safe at H all the time, and a node's exact answer at H says it is liquidatable
========== =======================================================================================

What changed during H itself leaves open which of its states was shown: an answer at that height counts
neither way. A node's answer is also what figures are made of, and must not be held against itself: before a
node is asked, `LiveProof.asked` freezes what was shown, and says the block to ask about, which is past.

A case that was missed, false or overlooked is a fault; the last cases of all kinds are kept, with what was
shown and what the chain had.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dydx_perf.errors import InputError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.events import (
    AccountSnapshot,
    BlockSeen,
    Event,
    FillSeen,
    LiquidationSeen,
    TransferSeen,
    TrustChanged,
)
from dydx_perf.feeds.trust import Verdict, WatchedRisk
from dydx_perf.kernel import Risk
from dydx_perf.market import MAX_HEIGHT, checked_integer

__all__ = ["Case", "LiveProof", "Outcome", "Question", "Shown"]

Outcome = Literal["predicted", "missed", "unknown", "settled", "confirmed", "false", "overlooked"]
Name = tuple[str, int]

#: fills of the liquidated or deleveraged side
LIQUIDATED = {"LIQUIDATED": "liquidation", "DELEVERAGED": "deleveraging"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown of an account from a moment on.

    Attributes
    ----------
    height : int
        The newest block that was known of then.
    verdict : "safe", "liquidatable" or "unknown"
    watched : WatchedRisk
        With the risk, the doubts and the height of the oldest input.
    inputs : object
        What the caller keeps of what the figures were computed from.
    place : int or None
        Frames of the recording before it: a replay up to there shows the same.
    """

    height: int
    verdict: Verdict
    watched: WatchedRisk
    inputs: Any
    place: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One case that was counted.

    Attributes
    ----------
    outcome : str
    address, number : str, int
    ticker : str
        Empty for an answer of a node.
    height : int
        Of the block with the liquidation, or of the answer.
    shown : Shown or None
        What was shown of the state in question; None: nothing had been.
    chain_risk : Risk or None
        The node's, of an answer.
    place : int or None
        Frames of the recording before the case itself.
    """

    outcome: Outcome
    address: str
    number: int
    ticker: str
    height: int
    shown: Shown | None
    chain_risk: Risk | None
    place: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """What a node is to be asked about, and what had been shown before it was.

    Attributes
    ----------
    height : int
        The block to ask about: the newest one that is past. Below zero: there is none yet.
    shown : mapping of (address, number) to tuple of Shown
        Oldest first.
    """

    height: int
    shown: Mapping[Name, tuple[Shown, ...]]


class LiveProof:
    """Count predicted, missed and false liquidations from what a session tells.

    Parameters
    ----------
    inputs : callable, optional
        Given address and number, returns what shall be kept of an account's inputs whenever what is shown of
        it changes.
    max_cases : int
        How many of the last cases are kept.
    max_shown : int
        How many changes of each account are kept: a liquidation further back is unknown.

    Attributes
    ----------
    counts : Counter of outcomes
    cases : deque of Case
    height : int
        The newest block that was heard of.
    """

    def __init__(
        self,
        *,
        inputs: Callable[[str, int], Any] | None = None,
        max_cases: int = 1000,
        max_shown: int = 32,
    ) -> None:
        checked_integer("max_cases", max_cases, 1, 10**7)
        checked_integer("max_shown", max_shown, 2, 10**6)
        self._inputs = inputs
        self._max_shown = max_shown
        self._shown: dict[Name, deque[Shown]] = {}
        self._counted: dict[tuple[str, int, str, int], None] = {}  # the last: account, market and block
        self.counts: Counter[Outcome] = Counter(dict.fromkeys(get_args(Outcome), 0))
        self.cases: deque[Case] = deque(maxlen=max_cases)
        self.height = 0

    # -- what a session tells

    def take(
        self,
        events: Iterable[Event],
        risk: Callable[[str, int], WatchedRisk],
        *,
        height: int | None = None,
        place: int | None = None,
    ) -> None:
        """Take what one call of a session returned.

        Parameters
        ----------
        events : iterable of Event
            All of it, in order.
        risk : callable
            Given address and number, returns what is shown of the account now: the session's `risk`.
        height : int, optional
            Block of the frame, where the caller knows it; without it the newest that an event names.
        place : int, optional
            Frames of the recording so far.
        """
        told = list(events)
        # A frame tells of one block: what it changed is of that block, wherever its height stands in it.
        self.height = max(
            [self.height, *([] if height is None else [height]), *filter(None, map(_height_of, told))]
        )
        for event in told:
            match event:
                case LiquidationSeen(address, number, ticker, kind):
                    self._liquidated((address, number), ticker, kind, event.height, place)
                case FillSeen(address, number, kind=kind) if kind in LIQUIDATED:
                    self._liquidated((address, number), event.ticker, LIQUIDATED[kind], event.height, place)
        for name in self._touched(told):
            self._show(name, risk(*name), place)

    def forget(self, address: str, number: int) -> None:
        """Drop an account that is watched no more; what was counted stays."""
        self._shown.pop((address, number), None)

    def _touched(self, events: list[Event]) -> Iterable[Name]:
        """Return the accounts of which something else may be shown now, each once."""
        names: dict[Name, None] = {}
        for event in events:
            match event:
                case Crossing() | AccountSnapshot():
                    names[event.address, event.number] = None
                case TrustChanged(subject):
                    kind, _, rest = subject.partition(" ")
                    address, _, number = rest.rpartition("/")
                    if kind == "account" and number.isdecimal():
                        names[address, int(number)] = None
                    else:  # of the feed, the chain or a market: whoever it concerns
                        names |= dict.fromkeys(self._shown)
        return names

    def _show(self, name: Name, watched: WatchedRisk, place: int | None) -> None:
        history = self._shown.get(name)
        if history is None:
            history = self._shown[name] = deque(maxlen=self._max_shown)
        elif (history[-1].verdict, history[-1].watched.notices) == (watched.verdict, watched.notices):
            return
        inputs = None if self._inputs is None else self._inputs(*name)
        history.append(Shown(self.height, watched.verdict, watched, inputs, place))

    def _liquidated(self, name: Name, ticker: str, kind: str, height: int | None, place: int | None) -> None:
        """Count a liquidation against what was shown of the state before its block."""
        at = self.height if height is None else height
        if self._is_counted((*name, ticker, at)):  # another fill of it, or the fill itself
            return
        before = _before(self._shown.get(name, ()), at)
        outcome: Outcome
        if before is None or before.verdict == "unknown":
            outcome = "unknown"
        elif before.verdict == "liquidatable":
            outcome = "predicted"
        elif kind == "deleveraging" and "final_settlement" in before.watched.notices:
            outcome = "settled"
        else:
            outcome = "missed"
        self._count(Case(outcome, *name, ticker, at, before, None, place))

    def _is_counted(self, key: tuple[str, int, str, int]) -> bool:
        """Tell whether an account, market and block were counted, and remember that they are."""
        if key in self._counted:
            return True
        self._counted[key] = None
        if len(self._counted) > 4 * (self.cases.maxlen or 1):
            del self._counted[next(iter(self._counted))]
        return False

    # -- what a node answers

    def asked(self, accounts: Iterable[Name]) -> Question:
        """Freeze what was shown of accounts until now: call it before a node is asked about them."""
        return Question(self.height - 1, {name: tuple(self._shown.get(name, ())) for name in accounts})

    def answered(
        self,
        question: Question,
        address: str,
        number: int,
        height: int,
        chain_risk: Risk,
        *,
        place: int | None = None,
    ) -> None:
        """Hold a node's exact risk of an account at a height against what had been shown of it then.

        It counts once, where nothing changed during the block and something certain was shown. An answer of
        a later block than the question's counts neither way: what was shown of that block is not known, and
        what will be may come from this answer.

        Parameters
        ----------
        question : Question
            Of before the node was asked.
        address, number : str, int
        height : int
            Of every input of `chain_risk`.
        chain_risk : Risk
            With the basis "chain"; another one proves nothing.
        place : int, optional

        Raises
        ------
        InputError
        """
        checked_integer("height", height, 0, MAX_HEIGHT)
        if getattr(chain_risk, "basis", None) != "chain":
            raise InputError("chain_risk", chain_risk, "a Risk whose basis is chain")
        name = address, number
        if name not in question.shown:
            raise InputError("address", name, "an account that the question is about")
        frozen = question.shown[name]
        before = _before(frozen, height)
        if before is None or height > question.height:
            return
        during = [shown for shown in frozen if shown.height == height]
        verdicts = {shown.verdict for shown in (before, *during)}
        outcome: Outcome
        if verdicts == {"liquidatable"}:
            outcome = "confirmed" if chain_risk.is_liquidatable else "false"
        elif verdicts == {"safe"} and chain_risk.is_liquidatable:
            outcome = "overlooked"
        else:
            return
        if not self._is_counted((*name, "", height)):
            self._count(Case(outcome, *name, "", height, (before, *during)[-1], chain_risk, place))

    # -- figures

    def _count(self, case: Case) -> None:
        self.counts[case.outcome] += 1
        self.cases.append(case)

    @property
    def faults(self) -> Mapping[Outcome, int]:
        """Counts of what must stay zero: missed, false, overlooked."""
        return {outcome: self.counts[outcome] for outcome in ("missed", "false", "overlooked")}


def _before(shown: Sequence[Shown], height: int) -> Shown | None:
    """Return what was shown on the state before a block; None: nothing was, or it is too long ago."""
    return next((one for one in reversed(shown) if one.height < height), None)


def _height_of(event: Event) -> int | None:
    """Return the block that an event names."""
    if isinstance(event, BlockSeen | LiquidationSeen | FillSeen | TransferSeen | AccountSnapshot):
        return event.height
    return None
