/* Columns of positions: funding payments, unrealized PnL and margin requirements, exact, row by row.
 *
 * Every path (plain C here, vectors in simd.h) does the same to a row, and gives the same integers:
 *
 *   1. estimate the quotient in double;
 *   2. if the estimate is below 2**49 and nothing wrapped before it, settle it with the integer remainder;
 *   3. otherwise compute the row in checked 128-bit integers (the *_row functions);
 *   4. a row whose answer does not fit int64 is written as 0 and reported.
 *
 * The bound. Let y = a * b / d be the exact quotient, a and b integers of 64 bits, 1 <= d <= 10**18.
 * The estimate rounds at most five times: to double of a, of b, of d (or of the constant 1e-6), the product and
 * the quotient. Each is within u = 2**-53 relatively, so |estimate - y| <= 5.01 u |y|; nothing under- or
 * overflows, as the magnitudes lie between 1e-18 and 2**127. With |estimate| < 2**49 that is below 0.32, and
 * the nearest integer e has |e - y| < 0.82 < 1. Then
 *
 *   r = a * b - e * d    has |r| < d <= 10**18 < 2**63,
 *
 * so r is exact in wrapping 64-bit arithmetic, though the two products are not; for d = 10**6 its low 32 bits
 * already are r. As e is within one of y on either side, one comparison settles each rounding:
 *
 *   floor = e - (r < 0)      ceil = e + (r > 0)      trunc = floor for y >= 0, ceil for y < 0.
 *
 * This needs the default rounding mode (to nearest) and no -ffast-math. A compiler may fuse a multiplication
 * with an addition: that leaves a rounding out and the bound holds.
 */
#ifndef DYDX_PERF_COLUMNS_H
#define DYDX_PERF_COLUMNS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fixed.h"

#ifdef __FAST_MATH__
#error "columns.h proves its bound for IEEE arithmetic: compile without -ffast-math"
#endif

#define COLUMNS_FAST_LIMIT 0x1p49 /* of an estimate */
#define COLUMNS_ROUNDER 0x1.8p52   /* adding it leaves the nearest integer in the low bits */
#define COLUMNS_MAX_DIVISOR 1000000000000000000ull

/* Rows hold positions; a market is a row of the per-market arrays, below 2**31. No out array may overlap another. */
typedef struct {
    const int64_t *quantums;              /* base quantums, long > 0 */
    const int64_t *funding_index;         /* of the position when last settled */
    const uint32_t *market;
    const int64_t *current_funding_index; /* per market */
    int64_t *payment;                     /* out: quote quantums, paid by the position > 0 */
} funding_columns_t;

typedef struct {
    const int64_t *quantums;     /* base quantums, long > 0 */
    const int64_t *entry_price;  /* in the unit of oracle_price */
    const uint32_t *market;
    const uint64_t *oracle_price; /* per market */
    const uint64_t *divisor;      /* per market, 1 .. 10**18 */
    int64_t *quotient;            /* out: quote quantums, rounded down */
    int64_t *remainder;           /* out: of that division, 0 <= remainder < divisor */
} pnl_columns_t;

/* What a margin needs of a market in one 32-byte row: five gathers of eight would fill the processor's window. */
typedef struct {
    uint64_t oracle_price;              /* times 10**power where that power is positive */
    uint64_t divisor;                   /* 1 .. 10**18 */
    uint32_t initial_margin_ppm;        /* the tier's own */
    uint32_t scaled_initial_margin_ppm; /* by open interest: what the initial margin uses */
    uint32_t maintenance_fraction_ppm;
    uint32_t zero; /* must be 0: vectors read the fraction as 64 bits */
} margin_market_t;

typedef struct {
    const int64_t *quantums; /* base quantums, long > 0 */
    const uint32_t *market;
    const margin_market_t *markets;
    int64_t *net_notional;       /* out: quote quantums, sign of quantums */
    int64_t *initial_margin;     /* out: quote quantums */
    int64_t *maintenance_margin; /* out: quote quantums */
} margin_columns_t;

/* ---- one row in 128 bits: 0, or 1 when an answer does not fit int64 (then 0 is written) ---- */

/* payment = -floor(-(current - own) * quantums / 1e6) = ceil((current - own) * quantums / 1e6)
 * Source: GetSettlementPpmWithPerpetual of the chain; |difference * quantums| < 2**64 * 2**63 fits. */
static inline int funding_payment_row(const funding_columns_t *c, size_t row)
{
    dp_i128 difference = (dp_i128)c->current_funding_index[c->market[row]] - c->funding_index[row];
    dp_i128 payment = dp_div_ceil(difference * c->quantums[row], DP_MILLION);
    int unfit = !dp_fits_i64(payment);
    c->payment[row] = unfit ? 0 : (int64_t)payment;
    return unfit;
}

/* quantums * (oracle_price - entry_price) = quotient * divisor + remainder, quotient rounded down.
 * A product past 128 bits has a quotient past 2**127 / 10**18 > 2**63. */
static inline int unrealized_pnl_row(const pnl_columns_t *c, size_t row)
{
    uint32_t market = c->market[row];
    dp_i128 gain = (dp_i128)c->oracle_price[market] - c->entry_price[row], product, quotient = 0;
    int unfit = dp_mul(gain, c->quantums[row], &product);
    if (!unfit) {
        quotient = dp_div_floor(product, c->divisor[market]);
        unfit = !dp_fits_i64(quotient);
    }
    c->quotient[row] = unfit ? 0 : (int64_t)quotient;
    c->remainder[row] = unfit ? 0 : (int64_t)(product - quotient * (dp_i128)c->divisor[market]);
    return unfit;
}

/* net_notional = trunc(quantums * oracle_price / divisor); on its magnitude n
 * initial = ceil(n * scaled_ppm / 1e6), maintenance = ceil(ceil(n * ppm / 1e6) * fraction_ppm / 1e6)
 * Source: GetNetCollateralAndMarginRequirements of the chain. n < 2**63 and ppm < 2**32: the first ceiling is
 * below 2**76, its product with the fraction below 2**108. */
static inline int margin_requirements_row(const margin_columns_t *c, size_t row)
{
    const margin_market_t *market = c->markets + c->market[row];
    dp_i128 product = (dp_i128)c->quantums[row] * market->oracle_price; /* 63 + 64 bits */
    dp_i128 net = product / (dp_i128)market->divisor, n = net < 0 ? -net : net, initial = 0, maintenance = 0;
    int unfit = !dp_fits_i64(net);
    if (!unfit) {
        initial = dp_div_ceil(n * market->scaled_initial_margin_ppm, DP_MILLION);
        maintenance = dp_div_ceil(n * market->initial_margin_ppm, DP_MILLION);
        maintenance = dp_div_ceil(maintenance * market->maintenance_fraction_ppm, DP_MILLION);
        unfit = !dp_fits_i64(initial) || !dp_fits_i64(maintenance);
    }
    c->net_notional[row] = unfit ? 0 : (int64_t)net;
    c->initial_margin[row] = unfit ? 0 : (int64_t)initial;
    c->maintenance_margin[row] = unfit ? 0 : (int64_t)maintenance;
    return unfit;
}

/* ---- plain C: rows [row, end); returns the first row that did not fit int64, or end ---- */

static inline int64_t dp_nearest(double estimate) /* |estimate| < 2**51 */
{
    double shifted = estimate + COLUMNS_ROUNDER, rounder = COLUMNS_ROUNDER;
    int64_t bits, zero;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&zero, &rounder, sizeof zero);
    return bits - zero;
}

/* a * b - e * d, known to be below 2**63 in magnitude. */
static inline int64_t dp_remainder_wrapping(int64_t a, int64_t b, int64_t e, uint64_t d)
{
    return (int64_t)((uint64_t)a * (uint64_t)b - (uint64_t)e * d);
}

static inline size_t funding_payments_plain(const funding_columns_t *c, size_t row, size_t end)
{
    for (; row < end; row++) {
        int64_t quantums = c->quantums[row], difference;
        if (!__builtin_sub_overflow(c->current_funding_index[c->market[row]], c->funding_index[row], &difference)) {
            double estimate = (double)difference * (double)quantums * 1e-6;
            if (fabs(estimate) < COLUMNS_FAST_LIMIT) {
                int64_t e = dp_nearest(estimate);
                c->payment[row] = e + (dp_remainder_wrapping(difference, quantums, e, DP_MILLION) > 0);
                continue;
            }
        }
        if (funding_payment_row(c, row))
            return row;
    }
    return end;
}

static inline size_t unrealized_pnl_plain(const pnl_columns_t *c, size_t row, size_t end)
{
    for (; row < end; row++) {
        int64_t quantums = c->quantums[row], gain;
        uint64_t divisor = c->divisor[c->market[row]];
        if (!__builtin_sub_overflow(c->oracle_price[c->market[row]], c->entry_price[row], &gain)) {
            double estimate = (double)quantums * (double)gain / (double)(int64_t)divisor;
            if (fabs(estimate) < COLUMNS_FAST_LIMIT) {
                int64_t e = dp_nearest(estimate), r = dp_remainder_wrapping(quantums, gain, e, divisor);
                int64_t below = -(int64_t)(r < 0);
                c->quotient[row] = e + below;
                c->remainder[row] = r + (int64_t)((uint64_t)below & divisor);
                continue;
            }
        }
        if (unrealized_pnl_row(c, row))
            return row;
    }
    return end;
}

static inline size_t margin_requirements_plain(const margin_columns_t *c, size_t row, size_t end)
{
    for (; row < end; row++) {
        const margin_market_t *market = c->markets + c->market[row];
        int64_t quantums = c->quantums[row];
        uint64_t price = market->oracle_price, divisor = market->divisor;
        double estimate = (double)quantums * (double)price / (double)(int64_t)divisor;
        uint32_t ppm = market->initial_margin_ppm, fraction = market->maintenance_fraction_ppm;
        uint32_t scaled = market->scaled_initial_margin_ppm;
        /* integers alone hold what follows: at most 2**50, twice scaled by less than 2**21 / 1e6 */
        if (fabs(estimate) < COLUMNS_FAST_LIMIT && (ppm | scaled | fraction) < (1u << 21)) {
            int64_t e = dp_nearest(estimate), r = dp_remainder_wrapping(quantums, (int64_t)price, e, divisor);
            int64_t net = quantums < 0 ? e + (r > 0) : e - (r < 0);
            uint64_t n = dp_magnitude_i64(net);
            c->net_notional[row] = net;
            c->initial_margin[row] = (int64_t)dp_mul_ppm_ceil_64(n, scaled);
            c->maintenance_margin[row] = (int64_t)dp_mul_ppm_ceil_64(dp_mul_ppm_ceil_64(n, ppm), fraction);
            continue;
        }
        if (margin_requirements_row(c, row))
            return row;
    }
    return end;
}

/* ---- checks before anything is written ---- */

/* The first row whose market is not below `markets`, or rows. */
static inline size_t first_unlisted_market(const uint32_t *market, size_t rows, size_t markets)
{
    enum { BLOCK = 1024 };
    size_t row = 0;
    for (; row + BLOCK <= rows; row += BLOCK) { /* a maximum without branches: compilers vectorise it */
        uint32_t highest = 0;
        for (size_t i = 0; i < BLOCK; i++)
            highest = market[row + i] > highest ? market[row + i] : highest;
        if (highest >= markets)
            break;
    }
    while (row < rows && market[row] < markets)
        row++;
    return row;
}

/* The first market whose divisor is not 1 .. 10**18, or markets. */
static inline size_t first_bad_divisor(const uint64_t *divisor, size_t markets)
{
    size_t market = 0;
    while (market < markets && divisor[market] - 1 < COLUMNS_MAX_DIVISOR)
        market++;
    return market;
}

#endif
