/*
 * What the changes before one in the same batch have said, so that it need not be said again. Writer and
 * reader fill it alike, and so know the same. Belongs to core/change.c and core/batch.c.
 *
 * Sans store. No state, any thread.
 */
#ifndef BLAZE_CORE_CHANGE_CONTEXT_H
#define BLAZE_CORE_CHANGE_CONTEXT_H

#include "core/change.h"
#include "core/intern.h"

/** Zero-initialise: nothing was said. */
struct change_context {
	uint64_t ms;
	uint64_t lamport; /**< the next change's, if nothing comes in between */
	struct slice program;
	struct intern nodes;
	struct intern paths;
	struct slice node; /**< of the operation before; empty: none */
	uint64_t actors[32];
	size_t actor_count;
	struct opid *last; /**< by what was written; NULL: nothing is predicted */
};

/** From now on operations are predicted to replace the last one in this context that wrote the same thing. */
void change_context_predict(struct change_context *x);
void change_context_fini(struct change_context *x);
/** The operation that op is predicted to replace; {0} = none. */
struct opid change_context_last(const struct change_context *x, const struct op *op);
/** Remembers op, by actor. */
void change_context_wrote(struct change_context *x, const struct op *op, uint64_t actor);

/**
 * Appends a change as a row (drawn in change.h). The context borrows from it. False, with *out as it was: its lamports
 * are not above those before.
 */
bool change_write(const struct change *c, struct change_context *x, struct buf *out);
/**
 * Reads a row of ret->actor; sets r->bad when malformed. The context and the change borrow from the input. Free it
 * with change_fini(), bad or not.
 */
void change_read(struct reader *r, struct change_context *x, struct change *ret);

#endif
