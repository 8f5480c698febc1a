// Random and directed vectors for an arithmetic leaf against the host's IEEE floating point.
//
// Usage: <program> <vectors> <seed>. Prints "checked N", one "bin NAME COUNT" line per functional
// coverage bin, and fails at the first difference. OPERATION is 0: FP16 multiply, 1: FP32 add.
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

#if OPERATION == 0
static const int CLASSES = 5;  // zero, subnormal, normal, infinity, NaN
static int class_of(uint32_t h) {
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    if (exponent == 31) return fraction ? 4 : 3;
    if (exponent == 0) return fraction ? 1 : 0;
    return 2;
}
static uint32_t operand() {
    static const uint32_t corners[] = {0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF,
                                       0x7C00, 0xFC00, 0x7C01, 0x7E00, 0x83FF, 0xBC00};
    uint64_t r = draw();
    return (r >> 32) % 8 ? r & 0xFFFF : corners[(r >> 8) % 13];
}
static uint32_t expected(uint32_t a, uint32_t b) { return as_bits(half_value(a) * half_value(b)); }
#else
static const int CLASSES = 5;
static int class_of(uint32_t f) {
    uint32_t exponent = (f >> 23) & 255, fraction = f & 0x7FFFFF;
    if (exponent == 255) return fraction ? 4 : 3;
    if (exponent == 0) return fraction ? 1 : 0;
    return 2;
}
static uint32_t operand() {
    static const uint32_t corners[] = {0x00000000, 0x80000000, 0x00000001, 0x007FFFFF, 0x00800000,
                                       0x3F800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001,
                                       0x7FC00000, 0x807FFFFF, 0xBF800000};
    uint64_t r = draw();
    uint32_t bits = (uint32_t)r;
    switch ((r >> 32) % 8) {
        case 0: return corners[(r >> 40) % 13];
        case 1: return (bits & 0x807FFFFF);                       // subnormal
        case 2: case 3: return (bits & 0x80FFFFFF) | 0x3F000000;  // close exponents
        default: return bits;
    }
}
static uint32_t expected(uint32_t a, uint32_t b) {
    volatile float x = as_float(a), y = as_float(b);
    return as_bits(x + y);
}
#endif

static long checked = 0;
static long bins[CLASSES][CLASSES];
static Vtop* top;

static void tick() {
    top->clk = 0; top->eval();
    top->clk = 1; top->eval();
}

static void check(uint32_t a, uint32_t b) {
    top->a = a;
    top->b = b;
    tick();  // STAGES is 1 in this bench
#if OPERATION == 0
    uint32_t got = top->product;
#else
    uint32_t got = top->sum;
#endif
    if (got != expected(a, b)) {
        std::printf("differs: a %08x b %08x got %08x expected %08x\n", a, b, got, expected(a, b));
        std::exit(1);
    }
    ++checked;
    ++bins[class_of(a)][class_of(b)];
}

int main(int argc, char** argv) {
    long vectors = std::atol(argv[1]);
    state = std::strtoull(argv[2], nullptr, 10);
    top = new Vtop;
#if OPERATION == 0
    if (vectors < 0) {  // every pair there is
        for (uint32_t a = 0; a < 65536; ++a)
            for (uint32_t b = 0; b < 65536; ++b) check(a, b);
    }
    for (uint32_t a = 0; a < 64; ++a)  // every exponent and sign of either operand, three fractions
        for (uint32_t b = 0; b < 64; ++b)
            for (uint32_t f = 0; f < 9; ++f) {
                static const uint32_t fractions[] = {0, 1, 1023};
                check((a << 10) | fractions[f % 3], (b << 10) | fractions[f / 3]);
            }
#else
    for (uint32_t a = 0; a < 512; ++a)
        for (uint32_t b = 0; b < 512; ++b) check(a << 23 | (draw() & 0x7FFFFF), b << 23 | (draw() & 0x7FFFFF));
#endif
    for (long i = 0; i < vectors; ++i) check(operand(), operand());
    std::printf("checked %ld\n", checked);
    static const char* names[] = {"zero", "subnormal", "normal", "infinity", "nan"};
    for (int i = 0; i < CLASSES; ++i)
        for (int j = 0; j < CLASSES; ++j) std::printf("bin %s-%s %ld\n", names[i], names[j], bins[i][j]);
    delete top;
    return 0;
}
