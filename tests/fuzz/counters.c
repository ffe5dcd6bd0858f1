/* Between gcc's hooks and a fuzzer that knows clang's: each place in the instrumented code has a counter.
 *
 * gcc calls a function at each edge; libFuzzer wants an array of counters and where they are. A place is the
 * return address, hashed: two places may share a counter, which costs guidance and nothing else. Comparisons go
 * on to libFuzzer's own hooks, once `guide.py` has said where those are.
 *
 * Compiled into each kernel that is to be guided (setup.py), and hidden: the sanitizers' libraries have hooks of
 * these names, too, which do nothing.
 */
#include <stdint.h>

enum { COUNTERS = 1 << 14 };

#define SHOWN __attribute__((visibility("default")))
#define HOOK __attribute__((visibility("hidden"), no_sanitize_coverage, no_sanitize("address", "undefined")))

SHOWN uint8_t counters[COUNTERS];
SHOWN uintptr_t places[2 * COUNTERS]; /* address and flags of each; libFuzzer wants as many as counters */
SHOWN const unsigned long counter_count = COUNTERS;
SHOWN void (*compared[4])(uint64_t, uint64_t); /* by the logarithm of the bytes; the narrower ones cut */

HOOK void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void) {
    const uint64_t place = (uint64_t)(uintptr_t)__builtin_return_address(0);
    uint8_t *counter = &counters[place * 0x9e3779b97f4a7c15u >> 50];
    *counter += *counter != 255;
}

#define COMPARED(name, type, place)                                                                          \
    HOOK void name(type a, type b);                                                                          \
    void name(type a, type b) {                                                                              \
        if (compared[place]) compared[place](a, b);                                                          \
    }

COMPARED(__sanitizer_cov_trace_cmp1, uint8_t, 0)
COMPARED(__sanitizer_cov_trace_cmp2, uint16_t, 1)
COMPARED(__sanitizer_cov_trace_cmp4, uint32_t, 2)
COMPARED(__sanitizer_cov_trace_cmp8, uint64_t, 3)
COMPARED(__sanitizer_cov_trace_const_cmp1, uint8_t, 0)
COMPARED(__sanitizer_cov_trace_const_cmp2, uint16_t, 1)
COMPARED(__sanitizer_cov_trace_const_cmp4, uint32_t, 2)
COMPARED(__sanitizer_cov_trace_const_cmp8, uint64_t, 3)

/* Nothing foreign is a float, and edges tell of a switch. */
HOOK void __sanitizer_cov_trace_cmpf(float a, float b);
HOOK void __sanitizer_cov_trace_cmpd(double a, double b);
HOOK void __sanitizer_cov_trace_switch(uint64_t value, void *cases);

void __sanitizer_cov_trace_cmpf(float a, float b) {
    (void)a;
    (void)b;
}

void __sanitizer_cov_trace_cmpd(double a, double b) {
    (void)a;
    (void)b;
}

void __sanitizer_cov_trace_switch(uint64_t value, void *cases) {
    (void)value;
    (void)cases;
}
