/*
 * libwebsockets 4.1.6, asked for as little as possible. Here: the context, connections, timers. What libwebsockets calls
 * is in ws_events.c, accepting in ws_listen.c, dialling in ws_dial.c.
 *
 * What must not be done with this version, and is not done here: permessage-deflate (the client may
 * spin for ever), an external poll loop, LWS_CALLBACK_HTTP_CONFIRM_UPGRADE (use after free),
 * HTTP/2, calling anything but lws_cancel_service() from another thread, two lws_write() in one
 * WRITEABLE.
 */
#include "net/ws_i.h"

#include "core/thread.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* For what is dialled, and for libwebsockets itself. */
#define WS_DESCRIPTORS_SPARE 448

const lws_retry_bo_t ws_idle_policy = {
	/* We reconnect ourselves, but 4.1.6 reads before an empty table. */
	.retry_ms_table = (const uint32_t[]){1000},
	.retry_ms_table_count = 1,
	.conceal_count = 1,
	.secs_since_valid_ping = WS_PING_S,
	.secs_since_valid_hangup = WS_HANGUP_S,
};

/* ---- connections ---------------------------------------------------------------------------- */

struct ws_conn *ws_conn_create(struct ws *w, bool incoming)
{
	struct ws_conn *c = xcalloc(1, sizeof(*c));

	c->ws = w;
	c->handler = &w->handler;
	c->incoming = incoming;
	c->prev = w->last;
	if (w->last)
		w->last->next = c;
	else
		w->first = c;
	w->last = c;
	if (incoming) {
		w->incoming_count++;
		w->untrusted_count++;
	}
	return c;
}

void ws_conn_destroy(struct ws_conn *c)
{
	struct ws *w = c->ws;

	assert(!c->user && !c->wsi);
	if (c->incoming)
		w->incoming_count--;
	if (c->incoming && !c->trusted)
		w->untrusted_count--;
	if (c->prev)
		c->prev->next = c->next;
	else
		w->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		w->last = c->prev;
	if (c->in.data)
		wipe(c->in.data, c->in.cap);
	buf_fini(&c->in);
	free(c);
}

void ws_conn_closed(struct ws_conn *c)
{
	void *user = STEAL(c->user);

	c->open = false;
	if (user)
		c->handler->closed(user, c->overdue ? WS_TIMED_OUT : c->reason);
}

void ws_close(struct ws_conn *c)
{
	c->deadline_ms = 0;
	if (c->wsi && !c->ws->ending)
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

void ws_want_write(struct ws_conn *c)
{
	if (c->wsi && c->open && !c->ws->ending)
		(void)lws_callback_on_writable(c->wsi);
}

void ws_trust(struct ws_conn *c)
{
	if (c->trusted)
		return;
	c->trusted = true;
	c->deadline_ms = 0;
	if (c->incoming && c->tls && c->wsi)
		tls_trust(lws_get_ssl(c->wsi));
	if (c->incoming)
		c->ws->untrusted_count--;
}

bool ws_is_incoming(const struct ws_conn *c)
{
	return c->incoming;
}

const struct endpoint *ws_remote(const struct ws_conn *c)
{
	return &c->remote;
}

void ws_traffic(const struct ws_conn *c, uint64_t *ret_up, uint64_t *ret_down)
{
	*ret_up = c->up;
	*ret_down = c->down;
}

/* RFC 6455: 2 bytes, 2 or 8 more for the length, 4 for the mask of a client. */
uint64_t ws_frame_bytes(size_t len, bool masked)
{
	return len + 2 + (len > 65535 ? 8 : len > 125 ? 2 : 0) + (masked ? 4 : 0);
}

void ws_use(struct ws_conn *c, const struct ws_handler *handler)
{
	c->handler = handler;
}

/* ---- deadlines ------------------------------------------------------------------------------ */

static void check_deadlines(lws_sorted_usec_list_t *timer);

static void schedule_deadlines(struct ws *w)
{
	uint64_t now = monotonic_ms();
	uint64_t next = 0;

	for (const struct ws_conn *c = w->first; c; c = c->next) {
		if (c->deadline_ms > 0 && (next == 0 || c->deadline_ms < next))
			next = c->deadline_ms;
	}
	if (next == 0)
		return;
	uint64_t delay_ms = next > now ? next - now : 1;
	lws_sul_schedule(w->context, 0, &w->deadline_timer, check_deadlines,
			 (lws_usec_t)(delay_ms * LWS_US_PER_MS));
}

static void check_deadlines(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, deadline_timer);
	uint64_t now = monotonic_ms();

	for (struct ws_conn *c = w->first; c; c = c->next) {
		if (c->deadline_ms == 0 || c->deadline_ms > now)
			continue;
		c->overdue = true;
		ws_close(c);
	}
	schedule_deadlines(w);
}

void ws_conn_deadline(struct ws_conn *c, uint64_t delay_ms)
{
	c->deadline_ms = monotonic_ms() + delay_ms;
	schedule_deadlines(c->ws);
}

static void user_timer_fired(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, user_timer);

	w->handler.timer(w->handler.ctx);
}

void ws_set_timer(struct ws *w, uint64_t delay_ms)
{
	if (!w->ending)
		lws_sul_schedule(w->context, 0, &w->user_timer, user_timer_fired,
				 (lws_usec_t)(delay_ms * LWS_US_PER_MS) + 1);
}

static void path_timer_fired(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, path_timer);

	w->handler.path_timer(w->handler.ctx);
}

void ws_set_path_timer(struct ws *w, uint64_t delay_ms)
{
	if (!w->ending)
		lws_sul_schedule(w->context, 0, &w->path_timer, path_timer_fired,
				 (lws_usec_t)(delay_ms * LWS_US_PER_MS) + 1);
}

static void lane_timer_fired(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, lane_timer);

	w->handler.lane_timer(w->handler.ctx);
}

void ws_set_lane_timer(struct ws *w, uint64_t delay_ms)
{
	if (!w->ending)
		lws_sul_schedule(w->context, 0, &w->lane_timer, lane_timer_fired,
				 (lws_usec_t)(delay_ms * LWS_US_PER_MS) + 1);
}

/* ---- the context ---------------------------------------------------------------------------- */

const struct lws_protocols ws_protocols[] = {
	{.name = WS_PROTOCOL, .callback = ws_on_event, .rx_buffer_size = WS_MESSAGE_BYTES_MAX + 64},
	{.name = WS_LISTENER, .callback = ws_on_listener},
	{.name = NULL},
};

static size_t limit(size_t wanted, size_t standard)
{
	return wanted > 0 ? wanted : standard;
}

struct ws *ws_create(const struct ws_handler *handler, const struct ws_limits *limits)
{
	const struct ws_limits none = {0};
	const struct ws_limits *l = limits ? limits : &none;
	struct ws *w = xcalloc(1, sizeof(*w));
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = "blaze",
		.protocols = ws_protocols,
		.gid = -1,
		.uid = -1,
		.user = w,
		.fd_limit_per_thread =
			(unsigned)(limit(l->incoming_max, WS_INCOMING_MAX) + WS_DESCRIPTORS_SPARE),
		.pt_serv_buf_size = WS_MESSAGE_BYTES_MAX + 512,
		.timeout_secs = 10,
		.connect_timeout_secs = 10,
		.retry_and_idle_policy = &ws_idle_policy,
		.alpn = "http/1.1",
		/* Not NULL, or the environment's http_proxy would be used. */
		.http_proxy_address = "",
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
			   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
	};

	/*
	 * Its log has one buffer for all threads, and says nothing that our callbacks are not told.
	 */
	lws_set_log_level(0, NULL);
	w->handler = *handler;
	w->limits = (struct ws_limits){
		.incoming_max = limit(l->incoming_max, WS_INCOMING_MAX),
		.untrusted_max = limit(l->untrusted_max, WS_UNTRUSTED_MAX),
		.untrusted_per_address_max =
			limit(l->untrusted_per_address_max, WS_UNTRUSTED_PER_ADDRESS_MAX),
	};
	w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	w->context = lws_create_context(&info);
	if (w->context)
		w->vhost = lws_create_vhost(w->context, &info);
	if (!w->vhost) {
		ws_destroy(w);
		return NULL;
	}
	return w;
}

void ws_destroy(struct ws *w)
{
	if (!w)
		return;
	w->ending = true;
	if (w->context)
		lws_context_destroy(w->context);
	while (w->first) { /* dials that failed and were not told */
		struct ws_conn *c = w->first;

		c->wsi = NULL;
		ws_conn_closed(c);
		ws_conn_destroy(c);
	}
	close_fd(&w->spare_fd);
	buf_fini(&w->out);
	free(w);
}

int ws_service(struct ws *w)
{
	return lws_service(w->context, 0) < 0 ? -EIO : 0;
}

void ws_wake(struct ws *w)
{
	if (!w->ending)
		lws_cancel_service(w->context);
}
