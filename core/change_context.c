/* Tables of a batch of changes; see change_context.h. */
#include "core/change_context.h"

#include <stdlib.h>
#include <string.h>

/** A power of two. Two things in one slot predict worse, and nothing else. */
#define LAST_SLOTS 1024

void change_context_predict(struct change_context *x)
{
	x->last = xcalloc(LAST_SLOTS, sizeof(*x->last));
}

void change_context_fini(struct change_context *x)
{
	intern_fini(&x->nodes);
	intern_fini(&x->paths);
	free(x->last);
	*x = (struct change_context){0};
}

static struct opid *last_slot(const struct change_context *x, const struct op *op)
{
	uint64_t h = intern_hash(change_writes(op->kind), SLICE(op->node.b, sizeof(op->node.b)));
	return &x->last[intern_hash(h, op->path) & (LAST_SLOTS - 1)];
}

struct opid change_context_last(const struct change_context *x, const struct op *op)
{
	return x->last ? *last_slot(x, op) : (struct opid){0};
}

void change_context_wrote(struct change_context *x, const struct op *op, uint64_t actor)
{
	if (x->last && op->kind != OP_DELETE)
		*last_slot(x, op) = (struct opid){.lamport = op->lamport, .actor = actor};
}
