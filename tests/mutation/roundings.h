/* The other roundings: what a mutant calls in place of the right one. By themselves, so that no mutant of
 * fixed.h changes them. */
#ifndef MUTATION_ROUNDINGS_H
#define MUTATION_ROUNDINGS_H

#include <stdint.h>

extern int dp_mutant; /* number of the mutant that runs; 0: none */

static inline unsigned __int128 mut_div_ceil_u(unsigned __int128 a, unsigned __int128 b)
{
    return a / b + (a % b != 0);
}

static inline __int128 mut_million_ceil(__int128 value)
{
    return value / 1000000 + (value % 1000000 > 0);
}

static inline uint64_t mut_mul_ppm_floor_64(uint64_t value, uint32_t ppm)
{
    return (uint64_t)((unsigned __int128)value * ppm / 1000000);
}

static inline int mut_mul_ppm_floor_u(unsigned __int128 value, uint32_t ppm, unsigned __int128 *out)
{
    if (__builtin_mul_overflow(value, (unsigned __int128)ppm, out))
        return 1;
    *out /= 1000000;
    return 0;
}

static inline int mut_mul_pow10_ceil_u(unsigned __int128 value, int32_t power, unsigned __int128 *out)
{
    *out = value;
    for (; power > 0 && *out; power--)
        if (__builtin_mul_overflow(*out, (unsigned __int128)10, out))
            return 1;
    for (; power < 0 && *out > 1; power++)
        *out = mut_div_ceil_u(*out, 10);
    return 0;
}

static inline uint64_t mut_scale_ceil(
    uint64_t quantums, uint64_t multiplier, uint64_t divisor, uint64_t whole, uint64_t fraction)
{
    (void)whole;
    (void)fraction;
    return (uint64_t)mut_div_ceil_u((unsigned __int128)quantums * multiplier, divisor);
}

static inline int mut_round_to_multiple_ceil(__int128 value, __int128 multiple, __int128 *out)
{
    __int128 steps = value / multiple + (value % multiple > 0);
    return __builtin_mul_overflow(steps, multiple, out);
}

static inline int mut_round_to_multiple_floor(__int128 value, __int128 multiple, __int128 *out)
{
    __int128 steps = value / multiple - (value % multiple < 0);
    return __builtin_mul_overflow(steps, multiple, out);
}

#endif
