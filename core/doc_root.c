/* The texts of the raw register as bytes and back. */
#include "core/doc_i.h"

#include <stdlib.h>

static void put_head(const struct head *h, struct buf *out)
{
	buf_be64(out, h->id.actor);
	buf_varint(out, h->id.lamport);
	buf_varint(out, h->hlc);
	buf_u8(out, h->alive);
}

static struct head take_head(struct reader *r)
{
	struct head h = {.id.actor = reader_be64(r)};

	h.id.lamport = reader_varint(r);
	h.hlc = reader_varint(r);
	uint8_t alive = reader_u8(r);
	h.alive = alive == 1;
	if (h.id.lamport == 0 || alive > 1)
		r->bad = true;
	return h;
}

/* Another head with this id would make two of one operation. */
static bool is_new_head(const struct root *root, struct opid id)
{
	for (uint32_t i = 0; i < root->count; i++) {
		if (opid_eq(root->heads[i].id, id))
			return false;
	}
	return true;
}

static void take_heads(struct reader *r, uint64_t count, struct root *root)
{
	for (uint64_t i = 0; i < count && !r->bad; i++) {
		struct head h = take_head(r);

		if (!r->bad && is_new_head(root, h.id))
			doc_root_head(root, h);
		else
			r->bad = true;
	}
}

void doc_root_encode(const struct root *root, struct buf *out)
{
	buf_u8(out, root->fresh);
	buf_varint(out, root->count);
	for (uint32_t i = 0; i < root->count; i++)
		put_head(&root->heads[i], out);
	buf_bytes(out, doc_root_text(root));
	doc_clashes_encode(root, out);
}

int doc_root_decode(struct root *root, struct slice bytes)
{
	struct reader r = reader_init(bytes);
	uint8_t fresh = reader_u8(&r);

	root->fresh = fresh == 1;
	if (fresh > 1)
		r.bad = true;
	take_heads(&r, reader_varint_max(&r, reader_left(&r)), root);
	root->content = reader_bytes(&r, reader_left(&r));
	doc_clashes_decode(root, root->content, &r);
	return reader_finish(&r);
}

void doc_root_write(const struct doc *d, const struct sib *s, struct buf *out)
{
	const struct root *root = &d->roots[s->root];

	id_write(out, &root->id);
	buf_varint(out, (uint64_t)(root->count - 1) << 1 | root->fresh);
	for (uint32_t i = 0; i < root->count; i++) {
		if (!opid_eq(root->heads[i].id, s->id))
			put_head(&root->heads[i], out);
	}
}

void doc_root_read(struct doc *d, uint32_t sib, struct reader *r)
{
	const struct id id = id_read(r);
	uint64_t flags = reader_varint(r);

	for (uint32_t i = 0; i < d->root_count; i++)
		r->bad = r->bad || id_eq(&d->roots[i].id, &id);
	if (r->bad || flags >> 1 > reader_left(r)) {
		r->bad = true;
		return;
	}
	struct root *root = doc_root_add(d, &id);
	const struct sib *s = &d->sibs[sib];
	root->fresh = flags & 1;
	root->sib = sib;
	d->sibs[sib].root = d->root_count - 1;
	doc_root_head(root, (struct head){.id = s->id, .hlc = s->hlc, .alive = true});
	take_heads(r, flags >> 1, root);
	/* The sibling stands for the token that beats the others. */
	for (uint32_t i = 0; i < root->count; i++) {
		const struct head *h = &root->heads[i];

		if (h->alive && (h->hlc > s->hlc || (h->hlc == s->hlc && opid_cmp(h->id, s->id) > 0)))
			r->bad = true;
	}
}
