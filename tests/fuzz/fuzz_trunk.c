/* net/trunk.h: a peer that opens lanes, talks in them and ends them as it likes. Bytes: per message a length byte, then so many. */
#include "net/trunk.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- instead of net/ws.c -------------------------------------------------------------------- */

struct ws_conn {
	const struct ws_handler *handler;
	void *user;
	struct endpoint remote;
};

static struct ws_conn conn;

struct ws_conn *ws_dial_with(struct ws *w, const struct endpoint *e, const struct ws_tls *tls,
			     uint64_t deadline_ms, const struct ws_handler *handler, void *user)
{
	(void)w;
	(void)tls;
	(void)e;
	(void)deadline_ms;
	(void)handler;
	(void)user;
	abort();
}

void ws_use(struct ws_conn *c, const struct ws_handler *handler)
{
	c->handler = handler;
}

void ws_want_write(struct ws_conn *c)
{
	(void)c;
}

void ws_close(struct ws_conn *c)
{
	(void)c;
}

void ws_trust(struct ws_conn *c)
{
	(void)c;
}

const struct endpoint *ws_remote(const struct ws_conn *c)
{
	return &c->remote;
}

uint64_t ws_frame_bytes(size_t len, bool masked)
{
	return len + masked;
}

/* ---- whoever takes lanes -------------------------------------------------------------------- */

static const uint8_t device[DIGEST_BYTES] = {1};
static unsigned open_lanes;

static int on_received(void *user, struct slice m)
{
	struct lane *l = user;

	if (m.len > 1 && m.data[1] == 't')
		lane_trust(l, device);
	lane_want_write(l);
	return m.len > 1 && m.data[1] == 'x' ? -EBADMSG : 0;
}

static int on_writable(void *user, struct buf *out)
{
	(void)user;
	(void)out;
	return rand() % 4 ? 0 : -ECANCELED; /* NOLINT: any will do */
}

static void on_closed(void *user, const char *reason)
{
	(void)user;
	(void)reason;
	if (open_lanes-- == 0)
		abort();
}

static const struct lane_handler handler = {
	.received = on_received, .writable = on_writable, .closed = on_closed};

static void offered(void *ctx, struct lane *l, struct slice hello)
{
	(void)ctx;
	if (hello.data[0] == 'n')
		return;
	open_lanes++;
	l->handler = &handler;
	l->user = l;
	if (hello.data[0] != 'w')
		trunks_take(l, &handler, l);
}

static void due(void *ctx)
{
	(void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t own[DIGEST_BYTES];
	AUTO(buf_fini) struct buf out = {0};
	struct trunks *t = trunks_create(
		&(struct trunks_options){.own_id = own, .offered = offered, .due = due});
	size_t i = 0;

	srand(1);
	open_lanes = 0;
	conn = (struct ws_conn){0};
	conn.user = trunks_accept(t, &conn);
	while (i < size) {
		size_t len = data[i++];

		len = len < size - i ? len : size - i;
		if (conn.handler->received(conn.user, SLICE(data + i, len)) < 0)
			break;
		i += len;
		(void)trunks_tick(t, i);
		buf_clear(&out);
		if (len % 3 == 0 && conn.handler->writable(conn.user, &out) < 0)
			break;
		if (open_lanes > LANE_COUNT_MAX)
			abort();
	}
	conn.handler->closed(conn.user, "");
	if (open_lanes != 0)
		abort();
	trunks_destroy(t);
	return 0;
}
