from dydx_perf.ext.account import Risk
from dydx_perf.ext.book import BookStore

_Ranked = tuple[tuple[str, int], int, Risk]

def by_risk(left: _Ranked, right: _Ranked) -> int: ...
def riskiest(store: BookStore, count: int) -> list[_Ranked]: ...
