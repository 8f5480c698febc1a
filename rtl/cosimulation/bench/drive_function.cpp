// Runs FP32 numbers through function_unit.v: reads {which, x, expected} as three 32-bit words each
// from stdin, prints the first difference and how many were checked; exits with 1 if any differs.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

int main() {
    constexpr size_t LATENCY = 6;
    Vtop top;
    std::vector<uint32_t> words;
    uint32_t buffer[3 * 4096];
    for (size_t count; (count = std::fread(buffer, 4, 3 * 4096, stdin)) > 0;)
        words.insert(words.end(), buffer, buffer + count);
    const size_t vectors = words.size() / 3;
    for (size_t cycle = 0; cycle < vectors + LATENCY; ++cycle) {
        if (cycle < vectors) {
            top.which = words[3 * cycle];
            top.x = words[3 * cycle + 1];
        }
        top.clk = 0;
        top.eval();
        if (cycle >= LATENCY) {
            const uint32_t* given = &words[3 * (cycle - LATENCY)];
            if (top.y != given[2]) {
                std::printf("function %u of %08x is %08x, differs from %08x\n", given[0], given[1],
                            static_cast<unsigned>(top.y), given[2]);
                return 1;
            }
        }
        top.clk = 1;
        top.eval();
    }
    std::printf("checked %zu\n", vectors);
    return 0;
}
