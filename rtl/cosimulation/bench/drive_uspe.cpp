// One processing element under random inputs every cycle, against a plain model of what it promises.
//
// Usage: <program> <cycles> <seed>. Every output is compared in every cycle. Prints "checked N" and
// one "bin NAME COUNT" line per functional coverage bin, and fails at the first difference.
// INTERLEAVE, LM and LA are the element's parameters.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

static uint64_t state;

static uint64_t draw() {  // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static bool one_in(uint32_t n) { return draw() % n == 0; }

static float half_value(uint32_t h) {
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    float size;
    if (exponent == 31) size = fraction ? NAN : INFINITY;
    else if (exponent == 0) size = std::ldexp((float)fraction, -24);
    else size = std::ldexp((float)(fraction + 1024), exponent - 25);
    return (h >> 15) ? -size : size;
}

static uint32_t as_bits(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return std::isnan(value) ? 0x7FC00000u : bits;
}

static float as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static uint16_t draw_half(bool wild) {  // any bits, or numbers of moderate size
    uint64_t r = draw();
    return wild ? r & 0xFFFF : (r & 0x83FF) | (uint32_t)(8 + (r >> 20) % 12) << 10;
}

struct Input {
    uint16_t word[16], weight;
    uint8_t base, n, bank, valid, first, last, index, load, fill_bank, fill_n, row;
    uint32_t seed;
    uint8_t take, shift, weight_stationary;
};

static Input draw_input(bool weight_stationary, bool wild) {
    Input in;
    for (uint16_t& half : in.word) half = draw_half(wild);
    in.weight = draw_half(wild);
    in.base = draw() % 16;
    in.n = draw() % 16;
    in.bank = draw() % 2;
    in.valid = !one_in(4);
    in.first = one_in(4);
    in.last = one_in(3);
    in.index = draw() % 16;
    in.load = one_in(2);
    in.fill_bank = draw() % 2;
    in.fill_n = draw() % 16;
    in.row = draw() % 3;
    in.seed = wild && one_in(4) ? (uint32_t)draw() : as_bits(half_value(draw_half(false)));
    in.take = one_in(6);
    in.shift = one_in(2);
    in.weight_stationary = weight_stationary;
    return in;
}

static void apply(Vtop* top, const Input& in) {
    for (int i = 0; i < 8; ++i) top->west_word[i] = in.word[2 * i] | (uint32_t)in.word[2 * i + 1] << 16;
    top->west_base = in.base; top->west_n = in.n; top->west_bank = in.bank;
    top->west_valid = in.valid; top->west_first = in.first; top->west_last = in.last;
    top->north_weight = in.weight; top->north_index = in.index; top->north_load = in.load;
    top->north_bank = in.fill_bank; top->north_n = in.fill_n; top->north_row = in.row;
    top->north_sum = in.seed; top->drain_take = in.take; top->drain_shift = in.shift;
    top->drain_north = in.seed ^ 0x5A5A5A5A;
    top->weight_stationary = in.weight_stationary;
}

static long cycle = 0;

static void same(const char* name, uint32_t got, uint32_t expected) {
    if (got == expected) return;
    std::printf("differs: cycle %ld %s got %08x expected %08x\n", cycle, name, got, expected);
    std::exit(1);
}

// The promise: the sum of the input of cycle t leaves LM + LA + 1 cycles later, and takes the sum
// of INTERLEAVE cycles before, or its seed where a sum begins.
struct Model {
    struct Kept { uint16_t value; uint8_t index; };
    Kept banks[2][16] = {};
    std::deque<Input> inputs;          // the last LM + 1, newest in front
    std::deque<uint32_t> products;     // likewise
    std::deque<uint32_t> sums;         // newest in front
    std::deque<uint8_t> ends;
    std::vector<uint32_t> captured = std::vector<uint32_t>(INTERLEAVE), drain = captured;

    void step(const Input& in) {
        // The drain moves by what was there before this cycle.
        uint32_t left_sum = sums.size() >= LA ? sums[LA - 1] : 0;
        bool left_ends = ends.size() > LM + LA && ends[LM + LA];
        std::vector<uint32_t> before = captured;
        if (left_ends) {
            captured.erase(captured.begin());
            captured.push_back(left_sum);
        }
        if (in.take) drain = before;
        else if (in.shift) {
            drain.erase(drain.begin());
            drain.push_back(in.seed ^ 0x5A5A5A5A);
        }
        // The multiplier takes the input of the last cycle, by this cycle's dataflow.
        if (!inputs.empty()) {
            const Input& then = inputs[0];
            Kept kept = banks[then.bank][then.n];
            uint16_t weight = in.weight_stationary ? kept.value : then.weight;
            uint8_t lane = (then.base + (in.weight_stationary ? kept.index : then.index)) & 15;
            products.push_front(as_bits(half_value(then.word[lane]) * half_value(weight)));
            if (then.load && then.row == 0) banks[then.fill_bank][then.fill_n] = {then.weight, then.index};
        }
        // The adder takes the product of the input LM + 1 cycles ago, and this cycle's seed.
        if (inputs.size() > LM) {
            const Input& then = inputs[LM];
            uint32_t addend = !then.first ? (sums.size() >= INTERLEAVE ? sums[INTERLEAVE - 1] : 0)
                            : in.weight_stationary ? in.seed : 0;
            sums.push_front(as_bits(as_float(addend) + as_float(products[LM])));
        }
        inputs.push_front(in);
        ends.push_front(in.valid && in.last);
    }
};

int main(int, char** argv) {
    long cycles = std::atol(argv[1]);
    state = std::strtoull(argv[2], nullptr, 10);
    Vtop* top = new Vtop;
    Model model;
    long lanes[16] = {}, weights[2][16] = {}, begins[2] = {}, ended[2] = {}, nans = 0, infinities = 0;
    long subnormal_weights = 0, takes = 0, shifts = 0, takes_while_ending = 0;
    bool weight_stationary = false, wild = false;
    const int PIPELINE = LM + LA + INTERLEAVE + 2;
    int settle = PIPELINE;  // cycles until nothing depends on what was before a change of dataflow
    // Fill the banks, so that nothing read is unknown.
    for (int i = 0; i < 32 + 2 * INTERLEAVE; ++i) {
        Input in = draw_input(true, false);
        in.load = 1; in.row = 0; in.fill_bank = i / 16 % 2; in.fill_n = i % 16; in.first = 1;
        in.take = 0; in.shift = 1;
        apply(top, in);
        top->clk = 0; top->eval(); top->clk = 1; top->eval();
        model.step(in);
    }
    for (cycle = 0; cycle < cycles; ++cycle) {
        if (settle == 0 && one_in(2000)) {
            weight_stationary = !weight_stationary;
            wild = one_in(3);
            settle = PIPELINE;
        }
        Input in = draw_input(weight_stationary, wild);
        if (settle) {  // start every slot's sum anew
            in.first = 1;
            --settle;
        }
        apply(top, in);
        top->clk = 0; top->eval(); top->clk = 1; top->eval();
        model.step(in);
        if (model.sums.size() >= LA && settle == 0) {
            uint32_t sum = model.sums[LA - 1];
            same("south_sum", top->south_sum, sum);
            nans += sum == 0x7FC00000u;
            infinities += (sum & 0x7FFFFFFF) == 0x7F800000u;
        }
        bool ends = model.ends.size() > LM + LA && model.ends[LM + LA];
        same("south_sum_valid", top->south_sum_valid, ends);
        if (settle == 0) same("drain_south", top->drain_south, model.drain[0]);
        same("east_base", top->east_base, in.base);
        same("east_n", top->east_n, in.n);
        same("east_bank", top->east_bank, in.bank);
        same("east_valid", top->east_valid, in.valid);
        same("east_first", top->east_first, in.first);
        same("east_last", top->east_last, in.last);
        for (int i = 0; i < 8; ++i) same("east_word", top->east_word[i], in.word[2 * i] | (uint32_t)in.word[2 * i + 1] << 16);
        same("south_weight", top->south_weight, in.weight);
        same("south_index", top->south_index, in.index);
        same("south_load", top->south_load, in.load);
        same("south_bank", top->south_bank, in.fill_bank);
        same("south_n", top->south_n, in.fill_n);
        same("south_row", top->south_row, (uint8_t)(in.row - 1));
        ++lanes[(in.base + in.index) & 15];
        if (weight_stationary) ++weights[in.bank][in.n];
        begins[weight_stationary] += in.first;
        ended[weight_stationary] += ends;
        subnormal_weights += (in.weight & 0x7C00) == 0 && (in.weight & 0x3FF) != 0;
        takes += in.take;
        shifts += in.shift && !in.take;
        takes_while_ending += in.take && ends;
        while (model.sums.size() > PIPELINE) model.sums.pop_back();
        while (model.inputs.size() > PIPELINE) { model.inputs.pop_back(); model.products.pop_back(); model.ends.pop_back(); }
    }
    std::printf("checked %ld\n", cycles);
    for (int i = 0; i < 16; ++i) std::printf("bin lane-%d %ld\n", i, lanes[i]);
    for (int i = 0; i < 32; ++i) std::printf("bin weight-%d-%d %ld\n", i / 16, i % 16, weights[i / 16][i % 16]);
    std::printf("bin os-begins %ld\nbin ws-begins %ld\nbin os-ends %ld\nbin ws-ends %ld\n", begins[0], begins[1], ended[0], ended[1]);
    std::printf("bin nan %ld\nbin infinity %ld\nbin subnormal-weight %ld\n", nans, infinities, subnormal_weights);
    std::printf("bin take %ld\nbin shift %ld\nbin take-while-ending %ld\n", takes, shifts, takes_while_ending);
    delete top;
    return 0;
}
