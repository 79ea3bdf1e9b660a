/* Edits of JSON texts: see mutate.h. */
#ifndef BLAZE_TESTS_SIM_MUTATE_JSON_H
#define BLAZE_TESTS_SIM_MUTATE_JSON_H

#include "core/bytes.h"
#include "tests/sim/rng.h"

void mutate_json_create(struct rng *r, uint32_t *next, struct buf *out);
/** false: it is not JSON; nothing was appended. */
bool mutate_json(struct slice from, struct rng *r, uint32_t *next, struct buf *out);

#endif
