/*
 * What a whole value was put in the place of.
 *
 * Fields stay underneath a whole value. Those that its author had seen were replaced by it; the others are its
 * losers. Which is which belongs to the value and goes with it: when it is taken away the fields are there again,
 * and a value that was written without knowing them must not pass for one that replaced them. A text that is
 * buried takes its entries along, and brings them back with itself.
 */
#include "core/doc_i.h"

#include <stdlib.h>
#include <string.h>

struct id doc_cover_holder(struct opid id)
{
	struct id ret;

	for (unsigned i = 0; i < 8; i++) {
		ret.b[i] = (uint8_t)(id.lamport >> (56 - 8 * i));
		ret.b[8 + i] = (uint8_t)(id.actor >> (56 - 8 * i));
	}
	return ret;
}

static bool covers(const struct cover *c, struct opid id)
{
	return c->upto.actor == id.actor && c->upto.lamport >= id.lamport;
}

static bool is_held(const struct doc *d, const struct cover *c)
{
	for (uint32_t i = d->raw.first; i != DOC_NONE; i = d->sibs[i].next) {
		const struct sib *s = &d->sibs[i];
		struct id own = s->root == DOC_NONE ? doc_cover_holder(s->id) : d->roots[s->root].id;

		if (id_eq(&own, &c->holder))
			return true;
	}
	return false;
}

bool doc_is_covered(const struct doc *d, struct opid id)
{
	for (uint32_t i = 0; i < d->cover_count; i++) {
		if (covers(&d->covers[i], id) && is_held(d, &d->covers[i]))
			return true;
	}
	return false;
}

/* Whether a value of a field is covered by it. Values do not come back: if none is, none will be. */
static bool is_of_use(const struct doc *d, const struct cover *c)
{
	bool into = true;

	for (uint32_t f = 0; f != DOC_NONE; f = doc_walk(d, f, 0, into)) {
		into = d->fields[f].live > 0;
		for (uint32_t i = d->fields[f].reg.first; i != DOC_NONE; i = d->sibs[i].next) {
			if (covers(c, d->sibs[i].id))
				return true;
		}
	}
	return false;
}

static int cmp(const struct cover *a, const struct cover *b)
{
	int r = memcmp(a->holder.b, b->holder.b, sizeof(a->holder.b));

	return r ? r : a->upto.actor < b->upto.actor ? -1 : a->upto.actor > b->upto.actor;
}

/* One for each holder and actor, ascending, so that the order of operations does not show in the state. */
static void add(struct doc *d, struct cover c)
{
	uint32_t i = d->cover_count;

	if (!is_of_use(d, &c))
		return;
	while (i > 0 && cmp(&d->covers[i - 1], &c) > 0)
		i--;
	if (i > 0 && cmp(&d->covers[i - 1], &c) == 0) {
		if (d->covers[i - 1].upto.lamport < c.upto.lamport)
			d->covers[i - 1].upto = c.upto;
		return;
	}
	if (d->cover_count == d->cover_cap) {
		d->cover_cap = d->cover_cap ? d->cover_cap * 2 : 4;
		d->covers = xreallocarray(d->covers, d->cover_cap, sizeof(*d->covers));
	}
	memmove(&d->covers[i + 1], &d->covers[i], (d->cover_count - i) * sizeof(c));
	d->covers[i] = c;
	d->cover_count++;
}

void doc_cover(struct doc *d, const struct op *op, const struct id *holder)
{
	for (size_t i = 0; d->fields[0].live && i < op->pred_count; i++)
		add(d, (struct cover){.holder = *holder, .upto = op->preds[i]});
}

void doc_covers_copy(struct doc *d, const struct doc *from)
{
	d->cover_count = d->cover_cap = from->cover_count;
	d->covers =
		d->cover_count ? xmemdup(from->covers, d->cover_count * sizeof(*d->covers)) : NULL;
}

/* Whether it belongs to `holder`, or, if that is NULL, to a value that is there. */
static bool is_to_be_kept(const struct doc *d, const struct cover *c, const struct id *holder)
{
	return (holder ? id_eq(&c->holder, holder) : is_held(d, c)) && is_of_use(d, c);
}

void doc_covers_encode(const struct doc *d, const struct id *holder, struct buf *out)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < d->cover_count; i++)
		n += is_to_be_kept(d, &d->covers[i], holder);
	buf_varint(out, n);
	for (uint32_t i = 0; i < d->cover_count; i++) {
		const struct cover *c = &d->covers[i];

		if (!is_to_be_kept(d, c, holder))
			continue;
		if (!holder)
			id_write(out, &c->holder);
		buf_be64(out, c->upto.actor);
		buf_varint(out, c->upto.lamport);
	}
}

void doc_covers_decode(struct doc *d, const struct id *holder, struct reader *r)
{
	uint64_t n = reader_varint_max(r, reader_left(r));

	for (uint64_t i = 0; i < n && !r->bad; i++) {
		struct cover c = {.holder = holder ? *holder : id_read(r)};

		c.upto.actor = reader_be64(r);
		c.upto.lamport = reader_varint(r);
		if (!r->bad)
			add(d, c);
	}
}
