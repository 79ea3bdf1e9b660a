/*
 * libwebsockets 4.1.6, asked for as little as possible.
 *
 * What must not be done with this version, and is not done here: permessage-deflate (the client may
 * spin for ever), an external poll loop, LWS_CALLBACK_HTTP_CONFIRM_UPGRADE (use after free),
 * HTTP/2, calling anything but lws_cancel_service() from another thread, two lws_write() in one
 * WRITEABLE.
 *
 * Listening sockets are ours (net/endpoint.h), so that an error at bind has a name; libwebsockets
 * only tells when one is readable, and adopts what accept() gives.
 */
#include "net/ws.h"

#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"
#include "net/local.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WS_PATH "/blaze/1"
#define WS_PROTOCOL "blaze1"
#define WS_LISTENER "blaze-listen"
#define WS_ACCEPTS_AT_ONCE 8
/* For what is dialled, and for libwebsockets itself. */
#define WS_DESCRIPTORS_SPARE 448
#define WS_REASON_BYTES 96

struct ws {
	struct ws_handler handler;
	struct ws_limits limits;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct ws_conn *first; /* oldest; all that lws knows, and failed dials not told yet */
	struct ws_conn *last;
	size_t incoming_count;
	size_t untrusted_count; /* of the incoming ones */
	bool ending;		/* lws is being destroyed: it must not be asked for anything */
	int spare_fd;		/* given up to accept and close one when descriptors run out */
	struct buf out;
	lws_sorted_usec_list_t user_timer;
	lws_sorted_usec_list_t path_timer;
	lws_sorted_usec_list_t deadline_timer;
	lws_sorted_usec_list_t failed_timer;
};

struct ws_conn {
	struct ws *ws;
	const struct ws_handler *handler;
	struct ws_conn *prev;
	struct ws_conn *next;
	struct lws *wsi; /* NULL once lws has destroyed it */
	void *user;	 /* non-NULL: closed() is still to be called */
	bool incoming;
	bool open;
	bool trusted;
	bool dialling; /* within ws_dial() */
	bool overdue;
	uint64_t deadline_ms; /* monotonic; 0 = none */
	struct endpoint remote;
	uint64_t up;
	uint64_t down;
	struct buf in; /* a message that comes in pieces */
	char reason[WS_REASON_BYTES];
};

static const lws_retry_bo_t idle_policy = {
	/* We reconnect ourselves, but 4.1.6 reads before an empty table. */
	.retry_ms_table = (const uint32_t[]){1000},
	.retry_ms_table_count = 1,
	.conceal_count = 1,
	.secs_since_valid_ping = WS_PING_S,
	.secs_since_valid_hangup = WS_HANGUP_S,
};

/* ---- connections ---------------------------------------------------------------------------- */

static struct ws_conn *conn_create(struct ws *w, bool incoming)
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

static void conn_destroy(struct ws_conn *c)
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

static void conn_closed(struct ws_conn *c)
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
static uint64_t frame_bytes(size_t len, bool masked)
{
	return len + 2 + (len > 65535 ? 8 : len > 125 ? 2 : 0) + (masked ? 4 : 0);
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

static void set_deadline(struct ws_conn *c, uint64_t delay_ms)
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

/* ---- events of libwebsockets ---------------------------------------------------------------- */

static int on_refuse(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)wsi;
	(void)c;
	(void)in;
	return -1;
}

static bool header_is(struct lws *wsi, enum lws_token_indexes token, const char *value)
{
	char text[32];
	int n = lws_hdr_copy(wsi, text, sizeof(text), token);

	return n > 0 && strcmp(text, value) == 0;
}

/* Before the 101: our path and our subprotocol, nothing else. */
static int on_filter(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)in;
	if (c && header_is(wsi, WSI_TOKEN_GET_URI, WS_PATH) &&
	    header_is(wsi, WSI_TOKEN_PROTOCOL, WS_PROTOCOL))
		return 0;
	return -1;
}

static int on_accepted(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)wsi;
	(void)in;
	if (!c)
		return -1;
	c->open = true;
	c->user = w->handler.accepted(w->handler.ctx, c);
	return c->user ? 0 : -1;
}

static void set_nodelay(int fd)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void remember_remote(struct ws_conn *c, int fd)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	if (getpeername(fd, (struct sockaddr *)&address, &len) == 0)
		(void)endpoint_from_sockaddr(&address, &c->remote);
}

static int on_connected(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)in;
	assert(c);
	int fd = lws_get_socket_fd(wsi);
	if (!endpoint_is_local(&c->remote)) {
		set_nodelay(fd);
		remember_remote(c, fd);
	} else if (!local_is_own_user(fd)) {
		(void)snprintf(c->reason, sizeof(c->reason), "the socket is another user's");
		return -1;
	}
	c->open = true;
	c->deadline_ms = 0;
	c->handler->connected(c->user);
	return 0;
}

static int on_connect_failed(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)wsi;
	if (!c)
		return 0;
	if (in.len == 0 || slice_eq(in, SLICE_STR("Unable to connect")))
		in = SLICE_STR("refused, or no way to there");
	size_t len = in.len < sizeof(c->reason) - 1 ? in.len : sizeof(c->reason) - 1;
	memcpy(c->reason, in.data, len);
	c->reason[len] = 0;
	if (!c->dialling)
		conn_closed(c);
	(void)w;
	return 0;
}

/*
 * A whole message that came at once is passed on as it lies; pieces are put together, up to the
 * limit.
 */
static int on_received(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	if (!c || !c->user || !lws_frame_is_binary(wsi))
		return -1;
	bool last = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
	if (in.len > WS_MESSAGE_BYTES_MAX - c->in.len) {
		log_info("connection from %s: message above %d bytes", c->remote.host,
			 WS_MESSAGE_BYTES_MAX);
		lws_close_reason(wsi, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, NULL, 0);
		return -1;
	}
	if (last && c->in.len == 0) {
		c->down += frame_bytes(in.len, c->incoming);
		return c->handler->received(c->user, in) < 0 ? -1 : 0;
	}
	buf_slice_append(&c->in, in);
	if (!last)
		return 0;
	c->down += frame_bytes(c->in.len, c->incoming);
	int r = c->handler->received(c->user, buf_slice(&c->in));
	buf_clear(&c->in);
	return r < 0 ? -1 : 0;
}

static int on_writable(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)in;
	if (!c || !c->user)
		return -1;
	buf_clear(&w->out);
	buf_resize(&w->out, LWS_PRE);
	int r = c->handler->writable(c->user, &w->out);
	if (r < 0) {
		lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
		return -1;
	}
	if (r == 0)
		return 0;
	size_t len = w->out.len - LWS_PRE;
	assert(len > 0 && len <= WS_MESSAGE_BYTES_MAX);
	if (lws_write(wsi, w->out.data + LWS_PRE, len, LWS_WRITE_BINARY) < (int)len)
		return -1;
	c->up += frame_bytes(len, !c->incoming);
	(void)lws_callback_on_writable(wsi);
	return 0;
}

static int on_closed(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)wsi;
	(void)in;
	if (c && !c->dialling)
		conn_closed(c);
	return 0;
}

static int on_destroyed(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)in;
	if (!c || c->wsi != wsi)
		return 0;
	c->wsi = NULL;
	if (c->dialling)
		return 0;
	conn_closed(c);
	conn_destroy(c);
	return 0;
}

static int on_woken(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)wsi;
	(void)c;
	(void)in;
	w->handler.woken(w->handler.ctx);
	return 0;
}

static const struct {
	enum lws_callback_reasons reason;
	int (*handle)(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in);
} events[] = {
	{LWS_CALLBACK_RECEIVE, on_received},
	{LWS_CALLBACK_CLIENT_RECEIVE, on_received},
	{LWS_CALLBACK_SERVER_WRITEABLE, on_writable},
	{LWS_CALLBACK_CLIENT_WRITEABLE, on_writable},
	{LWS_CALLBACK_EVENT_WAIT_CANCELLED, on_woken},
	{LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION, on_filter},
	{LWS_CALLBACK_ESTABLISHED, on_accepted},
	{LWS_CALLBACK_CLIENT_ESTABLISHED, on_connected},
	{LWS_CALLBACK_CLIENT_CONNECTION_ERROR, on_connect_failed},
	{LWS_CALLBACK_CLOSED, on_closed},
	{LWS_CALLBACK_CLIENT_CLOSED, on_closed},
	{LWS_CALLBACK_WSI_DESTROY, on_destroyed},
	{LWS_CALLBACK_HTTP, on_refuse},
	{LWS_CALLBACK_HTTP_BODY, on_refuse},
};

static int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		       size_t len)
{
	(void)user;
	for (size_t i = 0; i < countof(events); i++) {
		if (events[i].reason != reason)
			continue;
		struct ws *w = lws_context_user(lws_get_context(wsi));
		struct ws_conn *c = lws_get_opaque_user_data(wsi);

		return events[i].handle(w, wsi, c, in ? SLICE(in, len) : SLICE("", 0));
	}
	return 0;
}

/* ---- listening ------------------------------------------------------------------------------ */

/* Closes the oldest connection that has not shown who it is, to make room for a new one. */
static void drop_oldest_untrusted(struct ws *w)
{
	for (struct ws_conn *c = w->first; c; c = c->next) {
		if (c->incoming && !c->trusted && !c->overdue) {
			c->overdue = true;
			ws_close(c);
			return;
		}
	}
}

/* Whether both come from one place: the same address, or the same /64, which one subscriber has. */
static bool is_same_place(const struct endpoint *a, const struct endpoint *b)
{
	struct in6_addr x, y;

	if (inet_pton(AF_INET6, a->host, &x) == 1 && inet_pton(AF_INET6, b->host, &y) == 1)
		return memcmp(&x, &y, 8) == 0;
	return strcmp(a->host, b->host) == 0;
}

/* LIMITS: one address alone cannot take the places of all who have not shown who they are. */
static bool has_too_many(const struct ws *w, const struct endpoint *from)
{
	size_t n = 0;

	if (endpoint_is_loopback(from))
		return false;
	for (const struct ws_conn *c = w->first; c; c = c->next)
		n += c->incoming && !c->trusted && is_same_place(&c->remote, from);
	return n >= w->limits.untrusted_per_address_max;
}

/* Where an incoming connection is from: of a Unix socket, the path it came to. -EACCES: another user. */
static int find_remote(int fd, struct endpoint *ret)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_un local = {0};
	socklen_t len = sizeof(address);

	if (getpeername(fd, (struct sockaddr *)&address, &len) < 0)
		return 0;
	if (address.ss_family != AF_UNIX) {
		(void)endpoint_from_sockaddr(&address, ret);
		return 0;
	}
	len = sizeof(local) - 1;
	if (!local_is_own_user(fd) || getsockname(fd, (struct sockaddr *)&local, &len) < 0)
		return -EACCES;
	(void)snprintf(ret->host, sizeof(ret->host), "%s", local.sun_path);
	return 0;
}

static void adopt(struct ws *w, int fd)
{
	struct endpoint from = {0};

	if (find_remote(fd, &from) < 0) {
		log_warn("refused a connection: it is another user's");
		(void)close(fd);
		return;
	}
	if (has_too_many(w, &from)) {
		log_debug("refused a connection: %s has %zu unproven ones", from.host,
			  w->limits.untrusted_per_address_max);
		(void)close(fd);
		return;
	}
	if (w->incoming_count >= w->limits.incoming_max) {
		log_debug("refused a connection: there are %zu", w->limits.incoming_max);
		(void)close(fd);
		return;
	}
	if (w->untrusted_count >= w->limits.untrusted_max)
		drop_oldest_untrusted(w);
	struct ws_conn *c = conn_create(w, true);
	c->remote = from;
	set_nodelay(fd);
	lws_adopt_desc_t desc = {
		.vh = w->vhost,
		.type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP,
		.fd.sockfd = fd,
	};
	c->wsi = lws_adopt_descriptor_vhost_via_info(&desc); /* closes fd when it fails */
	if (!c->wsi) {
		conn_destroy(c);
		return;
	}
	lws_set_opaque_user_data(c->wsi, c);
	set_deadline(c, WS_UNTRUSTED_MS);
}

/* Without a free descriptor accept() fails and the socket stays readable: that would spin. */
static void accept_and_close(struct ws *w, int listen_fd)
{
	if (w->spare_fd < 0)
		return;
	(void)close(w->spare_fd);
	int fd = platform_accept(listen_fd, true);
	if (fd >= 0)
		(void)close(fd);
	w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int listen_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
			   size_t len)
{
	(void)user;
	(void)in;
	(void)len;
	if (reason != LWS_CALLBACK_RAW_RX_FILE)
		return 0;
	struct ws *w = lws_context_user(lws_get_context(wsi));
	int listen_fd = lws_get_socket_fd(wsi);
	for (size_t i = 0; i < WS_ACCEPTS_AT_ONCE; i++) {
		int fd = platform_accept(listen_fd, true);

		if (fd == -EMFILE || fd == -ENFILE)
			accept_and_close(w, listen_fd);
		if (fd < 0)
			return 0;
		adopt(w, fd);
	}
	return 0;
}

int ws_listen(struct ws *w, int fd)
{
	lws_adopt_desc_t desc = {
		.vh = w->vhost,
		.type = LWS_ADOPT_RAW_FILE_DESC,
		.fd.filefd = fd,
		.vh_prot_name = WS_LISTENER,
	};

	return lws_adopt_descriptor_vhost_via_info(&desc) ? 0 : -EIO;
}

/* ---- dialling ------------------------------------------------------------------------------- */

static void tell_failed(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, failed_timer);
	struct ws_conn *next = NULL;

	for (struct ws_conn *c = w->first; c; c = next) {
		next = c->next;
		if (c->wsi || c->incoming)
			continue;
		conn_closed(c);
		conn_destroy(c);
		next = w->first; /* closed() may have changed the list */
	}
}

struct ws_conn *ws_dial(struct ws *w, const struct endpoint *e, uint64_t deadline_ms, void *user)
{
	return ws_dial_with(w, e, deadline_ms, &w->handler, user);
}

struct ws_conn *ws_dial_with(struct ws *w, const struct endpoint *e, uint64_t deadline_ms,
			     const struct ws_handler *handler, void *user)
{
	struct ws_conn *c = conn_create(w, false);
	char host[ENDPOINT_TEXT_BYTES];
	char address[ENDPOINT_TEXT_BYTES];

	c->handler = handler;
	if (endpoint_is_local(e)) {
		(void)snprintf(host, sizeof(host), "localhost");
		(void)snprintf(address, sizeof(address), "+%s",
			       e->host); /* libwebsockets' way to say it */
	} else {
		endpoint_format(e, host);
		(void)snprintf(address, sizeof(address), "%s", e->host);
	}
	c->user = user;
	c->remote = *e;
	c->trusted = true;
	c->dialling = true;
	struct lws_client_connect_info info = {
		.context = w->context,
		.vhost = w->vhost,
		.address = address,
		.port = e->port,
		.path = WS_PATH,
		.host = host,
		.origin = NULL,
		.protocol = WS_PROTOCOL,
		.local_protocol_name = WS_PROTOCOL,
		.ietf_version_or_minus_one = -1,
		.opaque_user_data = c,
		.retry_and_idle_policy = &idle_policy,
		.pwsi = &c->wsi,
	};
	struct lws *wsi = lws_client_connect_via_info(&info);
	c->dialling = false;
	c->wsi = wsi;
	if (wsi)
		set_deadline(c, deadline_ms);
	else
		lws_sul_schedule(w->context, 0, &w->failed_timer, tell_failed, 1);
	if (!wsi && !c->reason[0])
		(void)snprintf(c->reason, sizeof(c->reason), "the host is not known");
	return c;
}

/* ---- the context ---------------------------------------------------------------------------- */

static const struct lws_protocols protocols[] = {
	{.name = WS_PROTOCOL, .callback = ws_callback, .rx_buffer_size = WS_MESSAGE_BYTES_MAX + 64},
	{.name = WS_LISTENER, .callback = listen_callback},
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
		.protocols = protocols,
		.gid = -1,
		.uid = -1,
		.user = w,
		.fd_limit_per_thread =
			(unsigned)(limit(l->incoming_max, WS_INCOMING_MAX) + WS_DESCRIPTORS_SPARE),
		.pt_serv_buf_size = WS_MESSAGE_BYTES_MAX + 512,
		.timeout_secs = 10,
		.connect_timeout_secs = 10,
		.retry_and_idle_policy = &idle_policy,
		.alpn = "http/1.1",
		/* Not NULL, or the environment's http_proxy would be used. */
		.http_proxy_address = "",
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
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
		conn_closed(c);
		conn_destroy(c);
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
