/* Sockets, sessions and the flusher. */
#include "relay/server.h"

#include "core/log.h"
#include "core/thread.h"
#include "net/ws.h"
#include "relay/certs.h"
#include "relay/session.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How often mailboxes in use are trimmed, and how much at a time. */
#define TRIM_MS 10000
#define TRIM_ITEMS 500
#define STOP_MS 500
/* When slots go on for who was told of enough. */
#define LATER_MS 100
/* After a flush that failed. */
#define RETRY_MS 1000

struct server {
	const struct relay_config *config;
	struct session_host host;
	struct keys *keys;
	struct boxes *boxes;
	struct copies *copies;
	struct splices *splices;
	struct ws *ws;
	struct certs *certs; /* NULL: no TLS */
	struct session **sessions;
	size_t session_count;
	char endpoint[ENDPOINT_TEXT_BYTES];
	bool later; /* the timer for slots is set */
	bool stopping;
	uint64_t stop_ms;
	_Atomic bool stop_asked;
	_Atomic bool reload_asked;

	struct thread flusher;
	struct mutex lock;
	struct cond flush;
	uint64_t written;  /* protected by lock: what somebody waits for */
	bool flusher_ends; /* protected by lock */
	_Atomic uint64_t durable;
};

static uint64_t wall_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the flusher --------------------------------------------------------------------------------- */

static void *flusher_run(void *arg)
{
	struct server *s = arg;
	struct relay_store *store = boxes_store(s->boxes);

	mutex_lock(&s->lock);
	for (;;) {
		uint64_t target = s->written;

		if (target == atomic_load(&s->durable)) {
			if (s->flusher_ends)
				break;
			cond_wait(&s->flush, &s->lock);
			continue;
		}
		mutex_unlock(&s->lock);
		int r = store->ops->sync(store);
		if (r == 0) {
			atomic_store(&s->durable, target);
			ws_wake(s->ws);
		}
		mutex_lock(&s->lock);
		if (r < 0 && s->flusher_ends)
			break;
		if (r < 0) { /* nobody gets a receipt meanwhile */
			log_err("cannot flush the store: %s", strerror(-r));
			(void)cond_wait_until(&s->flush, &s->lock, monotonic_ms() + RETRY_MS);
		}
	}
	mutex_unlock(&s->lock);
	return NULL;
}

static void on_written(void *ctx)
{
	struct server *s = ctx;

	mutex_lock(&s->lock);
	s->written = boxes_written(s->boxes);
	cond_broadcast(&s->flush);
	mutex_unlock(&s->lock);
}

static uint64_t durable(void *ctx)
{
	struct server *s = ctx;

	return atomic_load(&s->durable);
}

/* The copies' thread has something to be said. */
static void on_news(void *ctx)
{
	struct server *s = ctx;

	ws_wake(s->ws);
}

/* ---- sessions ------------------------------------------------------------------------------------ */

static void on_changed(void *ctx, struct box *b)
{
	struct server *s = ctx;

	for (size_t i = 0; i < s->session_count; i++) {
		if (session_box(s->sessions[i]) == b)
			session_wake(s->sessions[i]);
	}
}

static void on_slot_changed(void *ctx, struct box *b)
{
	struct server *s = ctx;

	for (size_t i = 0; i < s->session_count; i++) {
		if (session_box(s->sessions[i]) == b)
			session_wake_for_slots(s->sessions[i]);
	}
}

static void on_later(void *ctx)
{
	struct server *s = ctx;

	if (!s->later)
		ws_set_path_timer(s->ws, LATER_MS);
	s->later = true;
}

static void on_later_timer(void *ctx)
{
	struct server *s = ctx;

	s->later = false;
	for (size_t i = 0; i < s->session_count; i++)
		session_wake_for_slots(s->sessions[i]);
}

static void on_gone(void *ctx, struct session *session)
{
	struct server *s = ctx;

	for (size_t i = 0; i < s->session_count; i++) {
		if (s->sessions[i] == session)
			s->sessions[i] = s->sessions[--s->session_count];
	}
}

static void *on_accepted(void *ctx, struct ws_conn *c)
{
	struct server *s = ctx;

	if (s->stopping)
		return NULL;
	s->sessions = xreallocarray(s->sessions, s->session_count + 1, sizeof(struct session *));
	struct session *session = session_create(&s->host, c);
	s->sessions[s->session_count++] = session;
	return session;
}

static void wake_all(struct server *s)
{
	for (size_t i = 0; i < s->session_count; i++)
		session_wake(s->sessions[i]);
}

static void on_woken(void *ctx)
{
	struct server *s = ctx;

	wake_all(s);
	if (atomic_exchange(&s->reload_asked, false))
		certs_look(s->certs, true);
	if (!atomic_load(&s->stop_asked) || s->stopping)
		return;
	s->stopping = true;
	s->stop_ms = monotonic_ms() + STOP_MS;
	for (size_t i = 0; i < s->session_count; i++)
		session_bye(s->sessions[i]);
	ws_set_timer(s->ws, STOP_MS);
}

static void on_timer(void *ctx)
{
	struct server *s = ctx;

	for (size_t i = 0; i < s->session_count; i++) {
		struct box *b = session_box(s->sessions[i]);
		int r = b ? box_trim(b, TRIM_ITEMS, wall_ms()) : 0;

		if (r < 0)
			log_warn("cannot trim a mailbox: %s", strerror(-r));
	}
	splice_tick(s->splices, monotonic_ms());
	certs_look(s->certs, false);
	if (!s->stopping)
		ws_set_timer(s->ws, TRIM_MS);
	else
		ws_wake(s->ws);
}

static void on_connected(void *user)
{
	(void)user; /* a relay dials nobody */
}

/* ---- life ---------------------------------------------------------------------------------------- */

static int open_boxes(struct server *s, struct why *why)
{
	const char *dir = s->config->home;
	struct relay_store *store = NULL;
	int r = relay_store_open_leveldb(dir, &store, why);

	if (r < 0)
		return r;
	r = boxes_create(store, &s->config->limits, &s->boxes);
	if (r == 0)
		return 0;
	store->ops->close(store);
	return why_set(why, r, "the store in %s cannot be read: %s", dir, strerror(-r));
}

static int open_copies(struct server *s, struct why *why)
{
	const struct copies_options o = {
		.home = s->config->home,
		.keys = s->keys,
		.count_max = s->config->copies,
		.bytes_max = s->config->limits.box_bytes,
		.news = on_news,
		.ctx = s,
	};

	return copies_create(&o, &s->copies, why);
}

static int open_network(struct server *s, struct why *why)
{
	const struct ws_handler handler = {
		.accepted = on_accepted,
		.connected = on_connected,
		.received = session_received,
		.writable = session_writable,
		.closed = session_closed,
		.woken = on_woken,
		.timer = on_timer,
		.path_timer = on_later_timer,
		.ctx = s,
	};
	const struct ws_limits limits = {
		.incoming_max = s->config->connections,
		.untrusted_max = s->config->connections / 4 + 24,
		.untrusted_per_address_max = 24, /* many devices may be behind one address */
	};
	struct endpoint e;
	int fd = endpoint_listen(s->config->listen, &e, why);

	if (fd < 0)
		return fd;
	endpoint_format(&e, s->endpoint);
	s->ws = ws_create(&handler, &limits);
	if (!s->ws || ws_listen(s->ws, fd) < 0)
		return why_set(why, -EIO, "cannot use the network: too many open files?");
	return certs_create(s->config, s->ws, &s->certs, why);
}

int server_create(const struct relay_config *config, struct server **ret, struct why *why)
{
	struct server *s = xcalloc(1, sizeof(*s));
	uint8_t token[MAIL_TOKEN_BYTES];

	s->config = config;
	mutex_init(&s->lock);
	cond_init(&s->flush);
	int r = relay_home_keys(config, &s->keys, why);
	if (r == 0)
		r = relay_home_token(config, token, why);
	if (r == 0)
		r = open_boxes(s, why);
	if (r == 0)
		r = open_copies(s, why);
	if (r == 0)
		r = open_network(s, why);
	if (r < 0) {
		server_destroy(s);
		return r;
	}
	s->splices = splice_create(&(struct splice_ops){.say = session_say, .wake = session_wake});
	s->host = (struct session_host){
		.keys = s->keys,
		.boxes = s->boxes,
		.copies = s->copies,
		.splices = s->splices,
		.rate = config->rate,
		.burst = config->burst,
		.now_ms = wall_ms,
		.durable = durable,
		.written = on_written,
		.changed = on_changed,
		.slot_changed = on_slot_changed,
		.later = on_later,
		.gone = on_gone,
		.ctx = s,
	};
	mailaddr_psk(token, s->host.psk);
	wipe(token, sizeof(token));
	*ret = s;
	return 0;
}

void server_destroy(struct server *s)
{
	if (!s)
		return;
	if (s->flusher.running) { /* first: it wakes the network thread */
		mutex_lock(&s->lock);
		s->flusher_ends = true;
		cond_broadcast(&s->flush);
		mutex_unlock(&s->lock);
		thread_join(&s->flusher);
	}
	copies_stop(s->copies); /* as does this */
	ws_destroy(s->ws);
	copies_destroy(s->copies);
	splice_destroy(s->splices);
	certs_destroy(s->certs);
	boxes_destroy(s->boxes);
	keys_destroy(s->keys);
	free(s->sessions);
	cond_fini(&s->flush);
	mutex_fini(&s->lock);
	wipe(s, sizeof(*s));
	free(s);
}

void server_endpoint(const struct server *s, char out[ENDPOINT_TEXT_BYTES])
{
	memcpy(out, s->endpoint, sizeof(s->endpoint));
}

const struct keys *server_keys(const struct server *s)
{
	return s->keys;
}

int server_run(struct server *s)
{
	thread_start(&s->flusher, "relay-flush", flusher_run, s);
	copies_start(s->copies);
	ws_set_timer(s->ws, TRIM_MS);
	for (;;) {
		if (s->stopping && (s->session_count == 0 || monotonic_ms() >= s->stop_ms))
			return 0;
		if (ws_service(s->ws) < 0)
			return -EIO;
	}
}

void server_stop(struct server *s)
{
	atomic_store(&s->stop_asked, true);
	ws_wake(s->ws);
}

void server_reload(struct server *s)
{
	atomic_store(&s->reload_asked, true);
	ws_wake(s->ws);
}

bool server_has_tls(const struct server *s)
{
	return s->certs != NULL;
}
