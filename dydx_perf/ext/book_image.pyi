from dydx_perf.ext.book import BookStore

LAYOUT: int
COUNTS: tuple[str, ...]

def counts(store: BookStore) -> dict[str, int]: ...
def sections(store: BookStore) -> dict[str, memoryview]: ...
def restore(
    store: BookStore,
    given: dict[str, int],
    columns: dict[str, memoryview],
    names: list[tuple[str, int] | None],
) -> None: ...
def find_fault(store: BookStore) -> str | None: ...
