/* Writing and reading batches; see batch.h. */
#include "core/batch.h"

#include "core/change_context.h"

#include <stdlib.h>

enum code {
	CODE_PLAIN,
	CODE_ROWS
};

/* Whether it is as change_encode() would write it: only then a row says it all. */
static bool is_plain(struct slice bytes, const struct change *c, struct buf *again)
{
	buf_clear(again);
	change_encode(c, again);
	return slice_eq(bytes, buf_slice(again));
}

/* False: they cannot be rows. list: what the context borrows from. */
static bool write_rows(struct slice changes, uint64_t actor, struct change *list, size_t count,
		       struct buf *out)
{
	AUTO(change_context_fini) struct change_context x = {0};
	AUTO(buf_fini) struct buf again = {0};
	struct reader r = reader_init(changes);

	if (count > 1)
		change_context_predict(&x);
	for (size_t i = 0; i < count; i++) {
		struct slice bytes = reader_bytes(&r, changes.len);

		if (r.bad || change_decode(bytes, actor, &list[i]) < 0 ||
		    !is_plain(bytes, &list[i], &again) || !change_write(&list[i], &x, out))
			return false;
	}
	return reader_finish(&r) == 0;
}

void batch_encode(uint64_t actor, struct slice changes, size_t count, struct buf *out)
{
	struct change *list = xcalloc(count, sizeof(*list));
	size_t start = out->len;

	buf_u8(out, CODE_ROWS);
	if (!write_rows(changes, actor, list, count, out)) {
		buf_resize(out, start);
		buf_u8(out, CODE_PLAIN);
		buf_slice_append(out, changes);
	}
	for (size_t i = 0; i < count; i++)
		change_fini(&list[i]);
	free(list);
}

int batch_decode(uint64_t actor, struct slice coded, size_t count, size_t max, struct buf *out)
{
	AUTO(change_context_fini) struct change_context x = {0};
	AUTO(buf_fini) struct buf one = {0};
	struct reader r = reader_init(coded);
	uint8_t code = reader_u8(&r);
	size_t start = out->len;

	if (r.bad || code > CODE_ROWS)
		return -EBADMSG;
	if (code == CODE_PLAIN) {
		if (reader_left(&r) > max)
			return -EBADMSG;
		buf_slice_append(out, reader_take(&r, reader_left(&r)));
		return 0;
	}
	if (count > 1)
		change_context_predict(&x);
	for (size_t i = 0; i < count && !r.bad; i++) {
		AUTO(change_fini) struct change c = {.actor = actor};

		change_read(&r, &x, &c);
		buf_clear(&one);
		if (!r.bad)
			change_encode(&c, &one);
		buf_bytes(out, buf_slice(&one));
		if (out->len - start > max)
			r.bad = true;
	}
	return reader_finish(&r);
}
