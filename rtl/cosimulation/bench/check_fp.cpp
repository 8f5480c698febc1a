// Directed and random vectors for an arithmetic leaf against the host's IEEE floating point.
//
// Usage: <program> <vectors> <seed>; -1 vectors means every operand that there is, where the
// operands have 32 bits in all. Prints "checked N" and one "bin NAME COUNT" line per functional
// coverage bin, and fails at the first difference. OPERATION: 0 FP16 multiply, 1 FP32 add,
// 2 FP32 multiply, 3 FP16 to FP32, 4 FP32 to FP16. STAGES: of the first three, as the design has it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "Vtop.h"
#include "verilated.h"

static uint64_t state;

static uint64_t draw() {  // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static float as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static uint32_t as_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return std::isnan(value) ? 0x7FC00000u : bits;
}

static float half_value(uint32_t h) {
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    float size;
    if (exponent == 31) size = fraction ? NAN : INFINITY;
    else if (exponent == 0) size = std::ldexp((float)fraction, -24);
    else size = std::ldexp((float)(fraction + 1024), exponent - 25);
    return (h >> 15) ? -size : size;
}

static uint32_t half_bits(float value) {  // by rounding to the multiple that a half can hold
    uint32_t sign = std::signbit(value) ? 0x8000u : 0;
    if (std::isnan(value)) return 0x7E00u;
    double size = std::fabs((double)value);
    if (std::isinf(size)) return sign | 0x7C00u;
    int exponent = size > 0 ? std::ilogb(size) : -14;
    if (exponent < -14) exponent = -14;
    double steps = std::nearbyint(std::ldexp(size, 10 - exponent));  // ties to even
    if (steps == 2048) {
        steps = 1024;
        ++exponent;
    }
    if (exponent > 15) return sign | 0x7C00u;
    if (steps < 1024) return sign | (uint32_t)steps;
    return sign | (uint32_t)(exponent + 15) << 10 | ((uint32_t)steps - 1024);
}

static int class_of(uint32_t bits, int exponent_bits, int fraction_bits) {
    uint32_t top = (1u << exponent_bits) - 1, exponent = (bits >> fraction_bits) & top;
    uint32_t fraction = bits & ((1u << fraction_bits) - 1);
    if (exponent == top) return fraction ? 4 : 3;
    if (exponent == 0) return fraction ? 1 : 0;
    return 2;
}
static int half_class(uint32_t h) { return class_of(h, 5, 10); }
static int float_class(uint32_t f) { return class_of(f, 8, 23); }
static const char* const CLASS[] = {"zero", "subnormal", "normal", "infinity", "nan"};

static uint32_t draw_half() {
    static const uint32_t corners[] = {0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF,
                                       0x7C00, 0xFC00, 0x7C01, 0x7E00, 0x83FF, 0xBC00};
    uint64_t r = draw();
    return (r >> 32) % 8 ? r & 0xFFFF : corners[(r >> 8) % 13];
}

static uint32_t draw_float() {
    static const uint32_t corners[] = {0x00000000, 0x80000000, 0x00000001, 0x007FFFFF, 0x00800000,
                                       0x3F800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001,
                                       0x7FC00000, 0x807FFFFF, 0xBF800000, 0x477FE000, 0x477FF000};
    uint64_t r = draw();
    uint32_t bits = (uint32_t)r, place = (uint32_t)(r >> 40);
    switch ((r >> 32) % 8) {
        case 0: return corners[place % 15];
        case 1: return bits & 0x807FFFFF;                                        // subnormal
        case 2: return (bits & 0x80FFFFFF) | 0x3F000000;                         // close exponents
        case 3: return (bits & 0x80FFF800) | 0x3F000000;                         // short: ties
        case 4: return (bits & 0x807FF000) | (100 + place % 48) << 23;           // about halves
        default: return bits;
    }
}

// What happened to the exact result: `off` is exact minus rounded, in the result's direction.
enum { EXACT, UP, DOWN, TIE_KEPT, TIE_MOVED, OVERFLOW_, OUTCOMES };
static const char* const OUTCOME[] = {"exact", "up", "down", "tie-kept", "tie-moved", "overflow"};

static int outcome(double off, double step, bool odd_below) {
    if (off == 0) return EXACT;
    if (std::fabs(off) * 2 == step) return odd_below ? TIE_MOVED : TIE_KEPT;
    return off > 0 ? DOWN : UP;
}

static int float_outcome(double exact, float rounded) {  // finite operands
    if (std::isinf(rounded)) return OVERFLOW_;
    double size = std::fabs(exact), to = std::fabs((double)rounded);
    if (size == to) return EXACT;
    float other = std::nextafter((float)to, size > to ? INFINITY : 0.0f);
    return outcome(size - to, std::fabs(other - to), size < to);
}

static Vtop* top;
static long checked = 0, pairs[5][5], results[5], outcomes[OUTCOMES];

static void compare(uint32_t a, uint32_t b, uint32_t got, uint32_t expected) {
    ++checked;
    if (got == expected) return;
    std::printf("differs: a %08x b %08x got %08x expected %08x\n", a, b, got, expected);
    std::exit(1);
}

#if OPERATION <= 2
// A new pair of operands every cycle; each result is due STAGES cycles later.
struct Due { uint32_t a, b, expected; };
static Due due[STAGES];
static long given = 0;

static void tick() {
    top->clk = 0; top->eval();
    top->clk = 1; top->eval();
    if (++given < STAGES) return;
    const Due& oldest = due[given % STAGES];
#if OPERATION == 1
    compare(oldest.a, oldest.b, top->sum, oldest.expected);
#else
    compare(oldest.a, oldest.b, top->product, oldest.expected);
#endif
}

static void give(uint32_t a, uint32_t b, uint32_t expected) {
    due[given % STAGES] = {a, b, expected};
    top->a = a; top->b = b;
    tick();
}

static void flush() {
    for (int i = 1; i < STAGES; ++i) tick();
}
#else
static void flush() {}
#endif

#if OPERATION == 0
static const bool REACHED[5] = {true, false, true, true, true};
static void check(uint32_t a, uint32_t b) {
    uint32_t expected = as_bits(half_value(a) * half_value(b));
    give(a, b, expected);
    ++pairs[half_class(a)][half_class(b)];
    ++results[float_class(expected)];
}
static void directed() {  // every exponent and sign of either operand, three fractions
    static const uint32_t fractions[] = {0, 1, 1023};
    for (uint32_t a = 0; a < 64; ++a)
        for (uint32_t b = 0; b < 64; ++b)
            for (uint32_t f = 0; f < 9; ++f)
                check(a << 10 | fractions[f % 3], b << 10 | fractions[f / 3]);
}
static void all() {
    for (uint32_t a = 0; a < 65536; ++a)
        for (uint32_t b = 0; b < 65536; ++b) check(a, b);
}
static void undirected() { check(draw_half(), draw_half()); }

#elif OPERATION == 1 || OPERATION == 2
static const bool REACHED[5] = {true, true, true, true, true};
static void check(uint32_t a, uint32_t b) {
    volatile float x = as_float(a), y = as_float(b);
#if OPERATION == 1
    float value = x + y;
    double off = 0;  // exact minus rounded, itself exact (Knuth's two-sum)
    if (std::isfinite(value)) {
        volatile float back = value - x, rest = value - back;
        volatile float lost_y = y - back, lost_x = x - rest;
        off = (double)lost_x + (double)lost_y;
    }
    double exact = (double)value + off;
    if (exact == (double)value && off != 0) exact = std::nextafter(exact, exact + off > exact ? INFINITY : -INFINITY);
#else
    float value = x * y;
    double exact = (double)x * (double)y;
#endif
    give(a, b, as_bits(value));
    ++pairs[float_class(a)][float_class(b)];
    ++results[float_class(as_bits(value))];
    if (std::isfinite(x) && std::isfinite(y)) ++outcomes[float_outcome(exact, value)];
}
static void directed() {  // every exponent and sign of either operand
    for (uint32_t a = 0; a < 512; ++a)
        for (uint32_t b = 0; b < 512; ++b)
            check(a << 23 | (draw() & 0x7FFFFF), b << 23 | (draw() & 0x7FFFFF));
}
static void all() {}
static void undirected() { check(draw_float(), draw_float()); }

#elif OPERATION == 3
static const bool REACHED[5] = {true, false, true, true, true};
static void check(uint32_t a) {
    uint32_t expected = as_bits(half_value(a));
    top->half = a;
    top->eval();
    compare(a, 0, top->value, expected);
    ++pairs[half_class(a)][0];
    ++results[float_class(expected)];
}
static void directed() {
    for (uint32_t a = 0; a < 65536; ++a) check(a);
}
static void all() {}
static void undirected() {}

#elif OPERATION == 4
static const bool REACHED[5] = {true, true, true, true, true};
static void check(uint32_t a) {
    float x = as_float(a);
    uint32_t expected = half_bits(x);
    top->value = a;
    top->eval();
    compare(a, 0, top->half, expected);
    ++pairs[float_class(a)][0];
    ++results[half_class(expected)];
    if (!std::isfinite(x)) return;
    double size = std::fabs((double)x), to = std::fabs((double)half_value(expected));
    if (std::isinf(to)) {
        ++outcomes[OVERFLOW_];
        return;
    }
    uint32_t next = (expected & 0x7FFFu) + (size > to ? 1 : -1);
    double step = size == to ? 1 : next == 0x7C00u ? 32 : std::fabs(half_value(next) - to);
    ++outcomes[outcome(size - to, step, size < to)];
}
static void directed() {
    for (uint32_t a = 0; a < 65536; ++a)  // about every half: itself, the tie above, its sides
        for (int side = -1; side <= 1; ++side) {
            uint32_t bits = as_bits(half_value(a));
            check(bits + side);
            check(bits + 0x1000 + side);
        }
}
static void all() {
    for (uint64_t a = 0; a <= 0xFFFFFFFFull; ++a) check((uint32_t)a);
}
static void undirected() { check(draw_float()); }

#endif

static const bool TWO = OPERATION <= 2;

int main(int, char** argv) {
    long vectors = std::atol(argv[1]);
    state = std::strtoull(argv[2], nullptr, 10);
    top = new Vtop;
    directed();
    if (vectors < 0) all();
    for (long i = 0; i < vectors; ++i) undirected();
    flush();
    std::printf("checked %ld\n", checked);
    for (int i = 0; i < 5; ++i)
        for (int j = 0; j < (TWO ? 5 : 1); ++j)
            std::printf("bin operands-%s-%s %ld\n", CLASS[i], TWO ? CLASS[j] : "", pairs[i][j]);
    for (int i = 0; i < 5; ++i)
        if (REACHED[i]) std::printf("bin result-%s %ld\n", CLASS[i], results[i]);
    if (OPERATION != 0 && OPERATION != 3)  // those are exact
        for (int i = 0; i < OUTCOMES; ++i)
            std::printf("bin %s %ld\n", OUTCOME[i], outcomes[i]);
    delete top;
    return 0;
}
