"""Liquidations are counted as predicted, missed, unknown, false just as a naive history says (C14)."""

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from dydx_perf.errors import InputError
from dydx_perf.feeds.events import (
    AccountSnapshot,
    BlockSeen,
    Event,
    FillSeen,
    LiquidationSeen,
    TradeSeen,
    TrustChanged,
)
from dydx_perf.feeds.live_proof import LiveProof
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.kernel import Risk

A, B = ("dydx1a", 0), ("dydx1b", 128)
BTC = "BTC-USD"


def risk_of(is_liquidatable: bool, basis: str = "chain", height: int = 1) -> Risk:
    """A risk of 100 quote quantums of maintenance margin."""
    return Risk.from_integers(99 if is_liquidatable else 100, 200, 100, height=height, basis=basis)


def watched(name: tuple[str, int], verdict: str, notices: tuple[str, ...] = ()) -> WatchedRisk:
    """What a session shows."""
    doubts = ("gap",) if verdict == "unknown" else ()
    risk = risk_of(verdict == "liquidatable", "estimate")
    found = WatchedRisk(*name, risk, doubts, notices, 1, 0.0, "estimate")
    assert found.verdict == verdict
    return found


def account_trust(name: tuple[str, int]) -> TrustChanged:
    """An event after which something else may be shown of an account."""
    return TrustChanged(f"account {name[0]}/{name[1]}", (), ())


def liquidation(name: tuple[str, int], height: int | None, kind: str = "liquidation") -> LiquidationSeen:
    return LiquidationSeen(*name, BTC, kind, 5, height)


def fill(name: tuple[str, int], height: int | None, kind: str = "LIQUIDATED", number: int = 0) -> FillSeen:
    one = Decimal(1)
    return FillSeen(*name, f"{name}{height}{number}", BTC, "SELL", one, one, one, kind, height)


class Venue:
    """What is shown now, told to a proof event by event."""

    def __init__(self, **options: Any) -> None:
        self.proof = LiveProof(**options)
        self.now = {A: watched(A, "unknown"), B: watched(B, "unknown")}
        self.take(*(AccountSnapshot(*name, 1, True) for name in self.now))

    def take(self, *events: Event, **options: Any) -> None:
        self.proof.take(events, lambda address, number: self.now[address, number], **options)

    def show(self, name: tuple[str, int], verdict: str, notices: tuple[str, ...] = ()) -> None:
        self.now[name] = watched(name, verdict, notices)
        self.take(account_trust(name))

    def block(self, height: int) -> None:
        self.take(BlockSeen(height, ""))

    @property
    def counts(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.proof.counts.items() if count}


# ---- liquidations


@pytest.mark.parametrize(
    ("verdict", "outcome"), [("liquidatable", "predicted"), ("safe", "missed"), ("unknown", "unknown")]
)
def test_a_liquidation_counts_by_what_was_shown_of_the_state_before_its_block(verdict, outcome):
    venue = Venue()
    venue.block(10)
    venue.show(A, verdict)
    venue.block(11)
    venue.take(liquidation(A, 11))
    assert venue.counts == {outcome: 1}
    (case,) = venue.proof.cases
    assert (case.outcome, case.address, case.number, case.ticker, case.height) == (outcome, *A, BTC, 11)
    assert (case.shown.verdict, case.shown.height) == (verdict, 1 if verdict == "unknown" else 10)


def test_what_is_shown_only_in_the_block_itself_predicts_nothing():
    """Also where the same frame brings both, in whatever order."""
    venue = Venue()
    venue.block(10)
    venue.show(A, "safe")
    venue.block(11)
    venue.show(A, "liquidatable")
    venue.take(liquidation(A, 11))
    assert venue.counts == {"missed": 1}
    venue = Venue()
    venue.block(10)
    venue.show(A, "liquidatable")
    venue.now[A] = watched(A, "safe")
    venue.take(account_trust(A), fill(A, 11), liquidation(A, 11))
    assert venue.counts == {"predicted": 1}
    assert venue.proof.height == 11
    venue.take(liquidation(A, 12))
    assert venue.counts == {"predicted": 1, "missed": 1}


def test_an_account_that_nothing_was_shown_of_is_unknown():
    venue = Venue()
    venue.take(liquidation(("dydx1c", 0), 11))
    assert venue.counts == {"unknown": 1}
    assert venue.proof.cases[0].shown is None


def test_fills_of_one_liquidation_count_once_and_other_kinds_never():
    venue = Venue()
    venue.take(fill(A, 11), liquidation(A, 11), fill(A, 11, number=2), liquidation(A, 11))
    assert venue.counts == {"unknown": 1}
    venue.take(fill(A, 12), fill(B, 12, "LIMIT"), fill(B, 12, "LIQUIDATION"), fill(B, 12, "OFFSETTING"))
    venue.take(fill(B, 12, "DELEVERAGED"))
    assert venue.counts == {"unknown": 3}
    venue.take(TradeSeen(BTC, "1", "BUY", Decimal(1), Decimal(1), "LIQUIDATED"))
    assert venue.counts == {"unknown": 3}


def test_a_liquidation_without_a_height_is_of_the_newest_block():
    venue = Venue()
    venue.block(10)
    venue.show(A, "liquidatable")
    venue.block(12)
    venue.take(liquidation(A, None), fill(A, None))
    assert venue.counts == {"predicted": 1}
    assert venue.proof.cases[0].height == 12


def test_a_deleveraging_in_final_settlement_is_no_miss():
    for notices, kind, outcome in [
        (("final_settlement",), "deleveraging", "settled"),
        (("final_settlement",), "liquidation", "missed"),
        ((), "deleveraging", "missed"),
    ]:
        venue = Venue()
        venue.show(A, "safe", notices)
        venue.block(11)
        venue.take(liquidation(A, 11, kind))
        assert venue.counts == {outcome: 1}


def test_doubts_of_the_feed_concern_every_account():
    venue = Venue()
    venue.show(A, "safe")
    venue.show(B, "liquidatable")
    venue.block(10)
    venue.now = {name: watched(name, "unknown") for name in venue.now}
    venue.take(TrustChanged("feed", ("gap",), ()))
    venue.block(11)
    venue.take(liquidation(A, 11), liquidation(B, 11))
    assert venue.counts == {"unknown": 2}
    for subject in ("market BTC-USD", "chain", "account nobody", "account a/x"):
        venue.take(TrustChanged(subject, (), ()))


def test_a_height_of_the_frame_counts_before_the_block_is_told():
    venue = Venue()
    venue.show(A, "safe")
    venue.block(10)
    venue.now[A] = watched(A, "liquidatable")
    venue.take(account_trust(A), height=11)
    venue.take(liquidation(A, 11))
    assert venue.counts == {"missed": 1}


# ---- answers of a node


@pytest.mark.parametrize(
    ("verdict", "chain", "outcome"),
    [
        ("liquidatable", True, "confirmed"),
        ("liquidatable", False, "false"),
        ("safe", True, "overlooked"),
        ("safe", False, None),
        ("unknown", True, None),
        ("unknown", False, None),
    ],
)
def test_a_nodes_answer_counts_when_its_block_had_passed_before_it_was_asked(verdict, chain, outcome):
    """Once; and one of a later block never, however long it waits."""
    venue = Venue()
    venue.block(10)
    venue.show(A, verdict)
    venue.block(13)
    question = venue.proof.asked([A])
    assert question.height == 12
    venue.proof.answered(question, *A, 13, risk_of(chain))
    venue.block(15)
    venue.proof.answered(question, *A, 13, risk_of(chain))
    assert venue.counts == {}
    for place in (7, 8):
        venue.proof.answered(question, *A, 12, risk_of(chain), place=place)
    assert venue.counts == ({} if outcome is None else {outcome: 1})
    assert venue.proof.faults == {
        "missed": 0,
        "false": int(outcome == "false"),
        "overlooked": int(outcome == "overlooked"),
    }
    if outcome:
        (case,) = venue.proof.cases
        assert (case.ticker, case.height, case.chain_risk, case.place) == ("", 12, risk_of(chain), 7)


@pytest.mark.parametrize(("verdict", "outcome"), [("safe", "overlooked"), ("liquidatable", "false")])
def test_an_answer_does_not_confirm_itself(verdict, outcome):
    """What is shown from the answer on was not there when it was asked, whatever its block."""
    venue = Venue()
    venue.block(10)
    venue.show(A, verdict)
    venue.block(12)
    question = venue.proof.asked([A])
    chain = verdict == "safe"
    venue.show(A, "liquidatable" if chain else "safe")  # the answer, applied
    venue.take(AccountSnapshot(*A, 14, True), height=14)
    venue.proof.answered(question, *A, 11, risk_of(chain))
    assert venue.counts == {outcome: 1}
    assert venue.proof.cases[-1].shown.verdict == verdict


def test_a_question_outlives_what_is_kept_of_its_account():
    venue = Venue(max_shown=2)
    venue.block(10)
    venue.show(A, "liquidatable")
    venue.block(12)
    question = venue.proof.asked([A])
    for verdict in ("safe", "unknown", "safe"):
        venue.show(A, verdict)
    venue.proof.answered(question, *A, 11, risk_of(True))
    assert venue.counts == {"confirmed": 1}


@pytest.mark.parametrize("chain", [True, False])
def test_a_change_during_the_block_leaves_its_answer_open(chain):
    for first, second in [("safe", "liquidatable"), ("liquidatable", "safe"), ("unknown", "liquidatable")]:
        venue = Venue()
        venue.block(10)
        venue.show(A, first)
        venue.block(11)
        venue.show(A, second)
        venue.block(13)
        venue.proof.answered(venue.proof.asked([A]), *A, 11, risk_of(chain))
        assert venue.counts == {}
        venue.proof.answered(venue.proof.asked([A]), *A, 12, risk_of(chain))
        assert sum(venue.counts.values()) == ((second == "liquidatable") or chain)


def test_an_answer_that_is_not_the_chains_proves_nothing():
    question = LiveProof().asked([A])
    for risk in (risk_of(True, "estimate"), None):
        with pytest.raises(InputError, match="chain_risk"):
            LiveProof().answered(question, *A, 1, risk)
    with pytest.raises(InputError, match="height"):
        LiveProof().answered(question, *A, -1, risk_of(True))
    with pytest.raises(InputError, match="question"):
        LiveProof().answered(question, *B, 1, risk_of(True))


# ---- memory


def test_everything_that_is_kept_is_bounded():
    kept = []
    venue = Venue(max_cases=5, max_shown=3, inputs=lambda *name: kept.append(name) or len(kept))
    for height in range(10, 200):
        venue.block(height)
        venue.show(A, "safe" if height % 2 else "liquidatable")
        venue.proof.answered(venue.proof.asked([A]), *A, height - 1, risk_of(True))
        venue.take(liquidation(B, height))
    assert len(venue.proof.cases) == 5
    assert len(venue.proof._shown[A]) == 3
    assert len(venue.proof._counted) <= 20
    assert venue.counts["unknown"] == 190
    venue.take(liquidation(A, 100))  # further back than what is kept
    assert venue.proof.cases[-1].outcome == "unknown"
    assert venue.proof._shown[A][-1].inputs == len(kept)
    venue.proof.forget(*A)
    venue.proof.forget(*A)
    venue.block(300)
    venue.take(liquidation(A, 300))
    assert venue.proof.cases[-1].shown is None


@pytest.mark.parametrize("options", [{"max_cases": 0}, {"max_shown": 1}])
def test_no_room_is_refused(options):
    with pytest.raises(InputError):
        LiveProof(**options)


# ---- the naive model


@pytest.mark.parametrize("seed", range(40))
def test_counts_are_those_of_a_naive_history(seed):
    """A random life: the model keeps everything that was ever shown and reads each definition off it."""
    draw = random.Random(seed)
    names = [(f"dydx1{letter}", number) for letter in "abcd" for number in (0, 1)]
    now = {name: watched(name, "unknown") for name in names}
    proof = LiveProof(max_cases=10**4, max_shown=10**4)
    shown: list[tuple[int, tuple[str, int], str]] = []  # height, account, verdict: from then on
    liquidated: dict[tuple[tuple[str, int], int], None] = {}
    answers: dict[tuple[tuple[str, int], int], list[bool]] = {}
    height = 100

    def take(*events: Event) -> None:
        proof.take(events, lambda address, number: now[address, number])

    take(BlockSeen(height, ""))
    for _ in range(300):
        name = draw.choice(names)
        match draw.randrange(6):
            case 0 | 1:
                height += draw.choice([1, 1, 2])
                take(BlockSeen(height, ""))
            case 2 | 3:
                verdict = draw.choice(["safe", "liquidatable", "unknown"])
                now[name] = watched(name, verdict)
                shown.append((height, name, verdict))
                take(draw.choice([AccountSnapshot(*name, None, True), account_trust(name)]))
            case 4:
                at = height - draw.choice([0, 0, 0, 1, 5])
                liquidated[name, at] = None
                # what is told in the meantime may already be known by the time a late liquidation is heard of
                take(*draw.sample([fill(name, at), liquidation(name, at)], draw.choice([1, 2])))
            case 5:
                at = height + draw.choice([-3, -1, 0, 0, 1, 2])
                is_liquidatable = draw.random() < 0.5
                if at < height:  # else it counts neither way
                    answers.setdefault((name, at), []).append(is_liquidatable)
                proof.answered(proof.asked([name]), *name, at, risk_of(is_liquidatable))
    height += 10
    take(BlockSeen(height, ""))

    counts: Counter[str] = Counter()
    for name, at in liquidated:
        verdicts = [verdict for when, who, verdict in shown if who == name and when < at]
        last = verdicts[-1] if verdicts else "unknown"
        counts[{"liquidatable": "predicted", "safe": "missed", "unknown": "unknown"}[last]] += 1
    for (name, at), told in answers.items():
        before = [verdict for when, who, verdict in shown if who == name and when < at][-1:]
        during = [verdict for when, who, verdict in shown if who == name and when == at]
        said = set(before + during)
        if not before or len(said) > 1:
            continue
        if said == {"liquidatable"}:
            counts["confirmed" if told[0] else "false"] += 1
        elif said == {"safe"} and any(told):
            counts["overlooked"] += 1
    assert {outcome: count for outcome, count in proof.counts.items() if count} == dict(counts)
    assert sum(counts.values()) == len(proof.cases)
