/* Short names of feeds: whatever is read, what is said of it means the same to who hears it, in both directions. */
#include "core/sync_feeds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void say(struct sync_feeds *from, struct sync_feeds *to, const struct feed_pos *p)
{
	AUTO(buf_fini) struct buf said = {0};

	sync_feeds_write(from, p, &said);
	struct reader r = reader_init(buf_slice(&said));
	struct feed_pos heard = sync_feeds_read(to, &r);
	int end = reader_finish(&r);
	assert(end == 0 && id_eq(&heard.stream, &p->stream) && heard.actor == p->actor &&
	       heard.seq == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sync_feeds hostile = {0};
	struct sync_feeds a = {0};
	struct sync_feeds b = {0};
	struct reader r = reader_init(SLICE(data, len));

	for (unsigned i = 0; reader_left(&r); i++) {
		struct feed_pos p = sync_feeds_read(&hostile, &r);

		if (r.bad)
			break;
		assert(p.seq == 0);
		say(i % 3 ? &a : &b, i % 3 ? &b : &a, &p);
	}
	sync_feeds_fini(&hostile);
	sync_feeds_fini(&a);
	sync_feeds_fini(&b);
	return 0;
}
