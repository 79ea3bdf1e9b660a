/* The stream of a smart relay: net/mux.h with core/sync.h in it. */
#include "net/smart.h"

#include "core/db.h"
#include "net/mux.h"

#include <stdlib.h>
#include <string.h>

struct smart {
	struct smart_options options;
	struct mux *mux;
	struct sync *sync; /* NULL = not open */
};

static void start(struct smart *s, const struct smart_party *party)
{
	const struct sync_options o = {
		.db = party->db,
		.peer = party->peer,
		.endpoint = "", /* a relay is dialled as one, not as a device */
		.now_ms = party->now_ms,
	};

	s->sync = sync_create(&o);
}

static void tag_of(const struct smart *s, struct db *db, uint8_t ret[MUX_TAG_BYTES])
{
	struct id id = db_id(db);

	mux_tag(s->options.hash, &id, ret);
}

static void *opened(void *ctx, const uint8_t tag[MUX_TAG_BYTES])
{
	struct smart *s = ctx;
	struct smart_party party;
	uint8_t ours[MUX_TAG_BYTES];

	if (s->options.device || s->sync || !s->options.admits(s->options.ctx, &party))
		return NULL;
	tag_of(s, party.db, ours);
	if (memcmp(ours, tag, sizeof(ours)) != 0)
		return NULL;
	start(s, &party);
	return s;
}

static void closed(void *user)
{
	struct smart *s = user;

	sync_destroy(STEAL(s->sync));
}

static int on_message(void *user, struct slice message)
{
	const struct smart *s = user;

	return sync_receive(s->sync, message);
}

static int on_next(void *user, bool content, struct buf *out)
{
	const struct smart *s = user;

	return content ? sync_next(s->sync, out) : sync_next_free(s->sync, out);
}

static int on_settle(void *user)
{
	const struct smart *s = user;

	return sync_settle(s->sync);
}

struct smart *smart_create(const struct smart_options *options)
{
	struct smart *s = xcalloc(1, sizeof(*s));
	const struct mux_handler handler = {
		.opened = opened,
		.closed = closed,
		.message = on_message,
		.next = on_next,
		.costs = sync_costs,
		.settle = on_settle,
		.ctx = s,
	};

	s->options = *options;
	s->mux = mux_create(&handler, options->device);
	return s;
}

void smart_destroy(struct smart *s)
{
	if (!s)
		return;
	mux_destroy(s->mux);
	sync_destroy(s->sync);
	free(s);
}

void smart_open(struct smart *s, const struct smart_party *party)
{
	uint8_t tag[MUX_TAG_BYTES];

	assert(s->options.device);
	if (s->sync)
		return;
	tag_of(s, party->db, tag);
	if (mux_open(s->mux, tag, s) == 0)
		start(s, party);
}

void smart_close(struct smart *s)
{
	if (!s->sync)
		return;
	mux_close(s->mux, s);
	sync_destroy(STEAL(s->sync));
}

bool smart_is_open(const struct smart *s)
{
	return s->sync != NULL;
}

int smart_receive(struct smart *s, struct slice message)
{
	return mux_receive(s->mux, message);
}

int smart_next(struct smart *s, struct buf *out)
{
	return mux_next(s->mux, out);
}

bool smart_in_sync(const struct smart *s)
{
	struct sync_info info = {0};

	if (s->sync)
		sync_get_info(s->sync, &info);
	return info.hello && info.in_sync;
}

bool smart_is_owed(const struct smart *s)
{
	return mux_is_owed(s->mux);
}
