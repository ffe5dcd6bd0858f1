"""The same answers by the compiled kernels, from a row's input alone; only what a kernel really computes.

An answer here may be a part of the whole one: the members it has must be the chain's. To decline means that
the case is outside a kernel's range, or refused by the chain; it is never an answer. Lists and checks that no
kernel has (isolated markets, blocks on withdrawals, applying an update) come from `dydx_perf.exact`.

Imported only where there are compiled modules.
"""

from dydx_perf.errors import ChainError
from dydx_perf.verify import kernel_accounts, kernel_amounts
from dydx_perf.verify.exact_amounts import Answer
from dydx_perf.verify.fields import Fields
from dydx_perf.verify.kernel_amounts import Declined, KernelTable

#: function of the vectors -> members of its answer that kernels compute
KERNELS: KernelTable = kernel_amounts.KERNELS | kernel_accounts.KERNELS


def kernel_answer(function: str, members: object) -> Answer | None:
    """Return the members of the answer that kernels computed; None where they decline."""
    try:
        return KERNELS[function](Fields(members))
    except (Declined, ChainError):
        return None
