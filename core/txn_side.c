/* What documents keep beside their state: in the store, under 'x' node16. */
#include "core/db_i.h"

#include <string.h>

struct side_ctx {
	struct txn *t;
	struct id node;
};

static struct slice key_side(struct buf *key, const struct side_ctx *c, struct slice own)
{
	(void)key_node(key, 'x', &c->node);
	buf_slice_append(key, own);
	return buf_slice(key);
}

static void side_put(void *ctx, struct slice key, struct slice value)
{
	AUTO(buf_fini) struct buf k = {0};
	const struct side_ctx *c = ctx;

	store_put(c->t->store, key_side(&k, c, key), value);
}

static int side_get(void *ctx, struct slice key, struct buf *ret)
{
	AUTO(buf_fini) struct buf k = {0};
	const struct side_ctx *c = ctx;

	return store_get(c->t->store, key_side(&k, c, key), ret);
}

struct side_scan {
	doc_side_fn *fn;
	void *arg;
};

static bool without_prefix(void *ctx, struct slice key, struct slice value)
{
	const struct side_scan *s = ctx;
	size_t prefix = 1 + sizeof(struct id);

	return s->fn(s->arg, SLICE(key.data + prefix, key.len - prefix), value);
}

static int side_scan(void *ctx, struct slice prefix, struct slice from, doc_side_fn *fn, void *arg)
{
	AUTO(buf_fini) struct buf p = {0};
	AUTO(buf_fini) struct buf f = {0};
	const struct side_ctx *c = ctx;
	struct side_scan s = {fn, arg};

	return store_scan(c->t->store, key_side(&p, c, prefix),
			  from.len ? key_side(&f, c, from) : from, without_prefix, &s);
}

void txn_attach_side(struct txn *t, struct txn_node *tn)
{
	if (!tn->side.ctx) {
		struct side_ctx *c = arena_alloc(&t->arena, sizeof(*c));

		*c = (struct side_ctx){.t = t, .node = tn->n.id};
		tn->side = (struct doc_side){
			.ctx = c, .put = side_put, .get = side_get, .scan = side_scan};
	}
	doc_set_side(tn->doc, &tn->side);
	if (tn->shown)
		doc_set_side(tn->shown, &tn->side);
}
