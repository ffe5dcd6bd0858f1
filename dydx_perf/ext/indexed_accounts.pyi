from dydx_perf.ext.indexed_memory import IndexedMemory

class IndexedAccounts(IndexedMemory):
    def close(self, slot: int, /) -> None: ...
