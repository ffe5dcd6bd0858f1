"""The live proof of one watch: what was shown before each liquidation that the feed told of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dydx_perf.book import Book
from dydx_perf.errors import UnknownSubaccountError
from dydx_perf.feeds.live_proof import Case, LiveProof, Question
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.node_queries import NodeQuery, queries
from dydx_perf.service.answers import Answer, RiskFigures, risk_figures

__all__ = ["CaseAnswer", "ProofAnswer", "proof_answer", "proof_of", "prove"]

#: asks a node one query at a height, and returns the answer with the height that it tells
AskOne = Callable[[NodeQuery, int], Awaitable[tuple[bytes, int | None]]]

MAX_CASES = 1_000
ANSWERED_CASES = 100


class CaseAnswer(Answer, frozen=True):
    """One case: what was shown of the state before it, and what a node had where it was asked.

    `inputs` are the positions that the shown figures came from; `place` is the number of recorded frames
    before it, null where nothing is recorded.
    """

    outcome: str
    address: str
    number: int
    ticker: str
    height: int
    place: int | None
    shown_verdict: str | None
    shown_height: int | None
    shown_doubts: list[str]
    shown: RiskFigures | None
    inputs: dict[str, str]
    chain: RiskFigures | None


class ProofAnswer(Answer, frozen=True):
    """Cases by outcome since the start; `faults` must stay zero; the last cases, newest first."""

    height: int
    counts: dict[str, int]
    faults: dict[str, int]
    cases: list[CaseAnswer]


def proof_of(book: Book) -> LiveProof:
    """Return a proof that keeps with each figure the sizes, prices and balance it came from."""

    def inputs(address: str, number: int) -> dict[str, str]:
        try:
            account = book.subaccount((address, number))
        except UnknownSubaccountError:
            return {}
        held = {
            ticker: f"{position.size:f} at {position.market.oracle_price.decimal:f}"
            for ticker, position in account.positions.items()
        }
        return {"USDC": f"{account.usdc:f}", **held}

    return LiveProof(inputs=inputs, max_cases=MAX_CASES)


async def prove(proof: LiveProof, question: Question, one: AskOne, place: int | None = None) -> None:
    """Ask a node what it had at a block that is past, and hold that against what had been shown until then.

    What it answers here goes into no figure. A node that answers of another block proves nothing.

    Raises
    ------
    ConnectError
        The node cannot be reached, or has that block no more.
    FrameError, InputError
        An answer cannot be read.
    """
    if question.height < 0 or not any(question.shown.values()):
        return
    picture = NodePicture()
    for asked in queries(question.shown):
        query: NodeQuery | None = asked
        while query is not None:
            answer, told = await one(query, question.height)
            if told != question.height:
                return
            query = picture.answer(query, answer, height=told)
    chain = picture.chain()
    for name in question.shown:
        risk = picture.subaccount(*name, chain).risk
        proof.answered(question, *name, question.height, risk, place=place)


def proof_answer(proof: LiveProof) -> ProofAnswer:
    """Return what came out so far."""
    return ProofAnswer(
        height=proof.height,
        counts={str(outcome): count for outcome, count in proof.counts.items()},
        faults={str(outcome): count for outcome, count in proof.faults.items()},
        cases=[_case(case) for case in list(proof.cases)[: -ANSWERED_CASES - 1 : -1]],
    )


def _case(case: Case) -> CaseAnswer:
    shown = case.shown
    risk = None if shown is None else shown.watched.risk
    return CaseAnswer(
        outcome=case.outcome,
        address=case.address,
        number=case.number,
        ticker=case.ticker,
        height=case.height,
        place=case.place,
        shown_verdict=None if shown is None else shown.verdict,
        shown_height=None if shown is None else shown.height,
        shown_doubts=[] if shown is None else list(shown.watched.doubts),
        shown=None if risk is None else risk_figures(risk),
        inputs={} if shown is None else shown.inputs,
        chain=None if case.chain_risk is None else risk_figures(case.chain_risk),
    )
