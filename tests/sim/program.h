/* Programs of the simulator: made from a seed, written down, read back, run, and made shorter. */
#ifndef BLAZE_TESTS_SIM_PROGRAM_H
#define BLAZE_TESTS_SIM_PROGRAM_H

#include "tests/sim/sim.h"

void program_from_seed(struct program *p, uint64_t seed);
/** "2.0 c0.1a2b3c4d T1.00000001 …": devices and variant, then each step's kind, device and seed. */
void program_print(const struct program *p, struct buf *out);
bool program_parse(const char *text, struct program *ret);
/** Runs one history in this process. What is violated ends it. */
void program_run(const struct program *p, bool verbose);
/** Leaves out steps as long as `fails` says that the rest fails, too. */
void program_shrink(struct program *p, bool (*fails)(const struct program *p));

#endif
