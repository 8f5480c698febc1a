// Runs instructions on sore.v: reads them from stdin and prints what came out of each.
//
// In, per instruction: rounds m n across inner_words words, then the words' elements in hex.
// Out: one line "done CYCLES", then one line "slot SLOT LANE VALUE INDEX" per kept element.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

static uint16_t half_of(const std::vector<uint16_t>& bank, size_t at) {
    return at < bank.size() ? bank[at] : 0xDEAD;
}

template <typename Port>
static void put_half(Port& port, int lane, uint16_t value) {
    uint16_t* words = reinterpret_cast<uint16_t*>(&port);
    words[lane] = value;
}

template <typename Port>
static uint16_t get_half(const Port& port, int lane) {
    return reinterpret_cast<const uint16_t*>(&port)[lane];
}

template <typename Port>
static unsigned get_nibble(const Port& port, int lane) {
    return reinterpret_cast<const uint8_t*>(&port)[lane / 2] >> (4 * (lane % 2)) & 15;
}

int main() {
    Vtop top;
    const auto tick = [&top] {
        top.clk = 1;
        top.eval();
        top.clk = 0;
        top.eval();
    };
    top.rst = 1;
    top.start = 0;
    tick();
    tick();
    top.rst = 0;
    unsigned rounds, m, n, across, inner;
    size_t words;
    while (std::scanf("%u %u %u %u %u %zu", &rounds, &m, &n, &across, &inner, &words) == 6) {
        std::vector<uint16_t> bank(words * LANES);
        for (auto& element : bank) {
            unsigned value;
            if (std::scanf("%x", &value) != 1) return 2;
            element = static_cast<uint16_t>(value);
        }
        top.rounds = rounds;
        top.pattern_m = m;
        top.pattern_n = n;
        top.across = across;
        top.inner_words = inner;
        top.start = 1;
        unsigned cycle = 0;
        for (bool done = false; !done; ++cycle) {
            top.eval();
            done = top.done;
            const bool read = top.read_enable;
            const size_t address = top.read_address;
            if (top.write_enable) {
                for (int lane = 0; lane < LANES; ++lane)
                    std::printf("slot %u %d %x %u\n", static_cast<unsigned>(top.write_slot), lane,
                                get_half(top.write_values, lane),
                                get_nibble(top.write_indices, lane));
            }
            tick();
            if (read)
                for (int lane = 0; lane < LANES; ++lane)
                    put_half(top.read_data, lane, half_of(bank, address * LANES + lane));
            top.start = 0;
            if (cycle > 1u << 24) return 3;
        }
        std::printf("done %u\n", cycle);
    }
    return 0;
}
