/*
 * What costs most and is not what the simulator is about, made cheap: signatures are checksums bound to the key,
 * and randomness comes from a seed. Linked around libsodium's functions (-Wl,--wrap).
 */
#ifndef BLAZE_TESTS_SIM_LIGHT_H
#define BLAZE_TESTS_SIM_LIGHT_H

#include <stdint.h>

void light_seed(uint64_t seed);
uint64_t light_mix(uint64_t x);

#endif
