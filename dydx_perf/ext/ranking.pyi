from dydx_perf.ext.account import Risk
from dydx_perf.ext.account_store import AccountStore

_Ranked = tuple[tuple[str, int], int, Risk]

def by_risk(left: _Ranked, right: _Ranked) -> int: ...
def riskiest(store: AccountStore, count: int) -> list[_Ranked]: ...
