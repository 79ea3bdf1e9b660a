/* See vv.h. */
#include "core/vv.h"

#include <stdlib.h>

static int pos_cmp(const void *a, const void *b)
{
	const struct feed_pos *x = a;
	const struct feed_pos *y = b;
	int c = id_cmp(&x->stream, &y->stream);

	return c ? c : (x->actor > y->actor) - (x->actor < y->actor);
}

struct feed_pos *vv_find(const struct vv *vv, const struct feed_pos *p)
{
	return vv->count ? bsearch(p, vv->pos, vv->count, sizeof(*p), pos_cmp) : NULL;
}

void vv_raise(struct vv *vv, const struct feed_pos *p)
{
	struct feed_pos *have = vv_find(vv, p);

	if (have) {
		have->seq = p->seq > have->seq ? p->seq : have->seq;
		return;
	}
	vv->pos = xreallocarray(vv->pos, vv->count + 1, sizeof(*vv->pos));
	vv->pos[vv->count++] = *p;
	qsort(vv->pos, vv->count, sizeof(*vv->pos), pos_cmp);
}

void vv_fini(struct vv *vv)
{
	free(vv->pos);
	*vv = (struct vv){0};
}

void vv_write(struct buf *out, const struct feed_pos *pos, size_t count)
{
	buf_varint(out, count);
	for (size_t i = 0; i < count; i++) {
		id_write(out, &pos[i].stream);
		buf_be64(out, pos[i].actor);
		buf_varint(out, pos[i].seq);
	}
}

int vv_finish(struct reader *r, struct vv *ret)
{
	if (reader_finish(r) < 0)
		return -EBADMSG;
	if (ret->count)
		qsort(ret->pos, ret->count, sizeof(*ret->pos), pos_cmp);
	return 0;
}

int vv_read(struct reader *r, struct vv *ret)
{
	uint64_t count = reader_varint_max(r, VV_ENTRIES_MAX);

	if (r->bad || count > reader_left(r) / 25)
		return -EBADMSG;
	ret->pos = xcalloc((size_t)count, sizeof(*ret->pos));
	for (uint64_t i = 0; i < count; i++) {
		struct feed_pos *p = &ret->pos[ret->count++];

		p->stream = id_read(r);
		p->actor = reader_be64(r);
		p->seq = reader_varint(r);
	}
	return vv_finish(r, ret);
}

bool vv_holds(const struct vv *vv, const struct feed_pos *p)
{
	const struct feed_pos *have = vv_find(vv, p);

	return p->seq == 0 || (have && have->seq >= p->seq);
}
