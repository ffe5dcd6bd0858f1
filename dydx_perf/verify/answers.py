"""One answer per function of the vectors, computed by `dydx_perf.exact` from a row's input alone."""

from dydx_perf.verify import exact_accounts, exact_amounts
from dydx_perf.verify.exact_amounts import AnswerTable

#: function of the vectors -> the answer from its input
ANSWERS: AnswerTable = exact_amounts.ANSWERS | exact_accounts.ANSWERS
