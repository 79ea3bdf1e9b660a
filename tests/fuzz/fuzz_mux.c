/* net/mux.h: a peer that says anything. Bytes: per message a length byte, then so many. */
#include "net/mux.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	unsigned open;
};

static void *opened(void *ctx, const uint8_t tag[MUX_TAG_BYTES])
{
	struct side *s = ctx;

	if (tag[0] & 1)
		return NULL;
	s->open++;
	return s;
}

static void closed(void *user)
{
	struct side *s = user;

	if (s->open-- == 0)
		abort();
}

static int message(void *user, struct slice m)
{
	(void)user;
	return m.data[0] == 0xff ? -EBADMSG : 0;
}

static int next(void *user, bool content, struct buf *out)
{
	(void)user;
	(void)content;
	buf_clear(out);
	return 0;
}

static bool costs(struct slice m)
{
	return m.data[0] & 1;
}

static int settle(void *user)
{
	(void)user;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(buf_fini) struct buf out = {0};
	struct side s = {0};
	const struct mux_handler h = {opened, closed, message, next, costs, settle, &s};
	static const uint8_t tag[MUX_TAG_BYTES];
	size_t i = 0;

	digest_init();
	struct mux *m = mux_create(&h, size % 2);
	s.open += mux_open(m, tag, &s) == 0;
	while (i < size) {
		size_t len = data[i++];

		len = len < size - i ? len : size - i;
		if (mux_receive(m, SLICE(data + i, len)) < 0)
			break;
		i += len;
		if (mux_stream_count(m) != s.open)
			abort();
		if (len % 3 == 0)
			(void)mux_next(m, &out);
	}
	mux_destroy(m);
	return 0;
}
