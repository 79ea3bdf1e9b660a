/* Things known by the order in which they came: few as a rule, and any number. Sans store. No state, any thread. */
#ifndef BLAZE_CORE_INTERN_H
#define BLAZE_CORE_INTERN_H

#include "core/bytes.h"

/** Zero-initialise; intern_fini() frees. The things are borrowed, and have to outlive the table. */
struct intern {
	struct slice few[8];
	struct slice *items; /**< NULL: in few */
	size_t count;
	size_t cap;
	uint32_t *slots; /**< by hash: index + 1 */
	size_t slot_count;
};

/** Where what is in the table stands; SIZE_MAX: nowhere. */
size_t intern_find(const struct intern *t, struct slice s);
/** Adds what is not there. */
void intern_add(struct intern *t, struct slice s);
struct slice intern_at(const struct intern *t, size_t i);

void intern_fini(struct intern *t);
/** FNV-1a, for tables. Not for what others must not guess. */
uint64_t intern_hash(uint64_t h, struct slice s);

#endif
