/* What libwebsockets tells, made into the calls of struct ws_handler. */
#include "net/ws_i.h"

#include "core/log.h"
#include "net/local.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

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

/* Before the 101: our path and no subprotocol, nothing else. */
static int on_filter(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)in;
	if (c && header_is(wsi, WSI_TOKEN_GET_URI, WS_PATH) &&
	    lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) == 0)
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

void ws_set_nodelay(int fd)
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
		ws_set_nodelay(fd);
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

/* In words for people; else as libwebsockets has it. */
static void say_reason(struct ws_conn *c, struct slice said)
{
	static const struct {
		const char *said;
		const char *means;
	} table[] = {
		{"Unable to connect", "refused, or no way to there"},
		{"connect SSL", WS_NO_TLS},
		{"read failed", WS_HUNG_UP},
		{"Closed before conn", WS_HUNG_UP},
	};

	if (said.len == 0)
		said = SLICE_STR(table[0].means);
	for (size_t i = 0; i < countof(table); i++) {
		size_t len = strlen(table[i].said);

		if (said.len >= len && memcmp(said.data, table[i].said, len) == 0)
			said = SLICE_STR(table[i].means);
	}
	(void)snprintf(c->reason, sizeof(c->reason), "%.*s", (int)said.len, (const char *)said.data);
}

static int on_connect_failed(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)wsi;
	if (!c)
		return 0;
	if (!c->reason[0]) /* else we know better */
		say_reason(c, in);
	if (!c->dialling)
		ws_conn_closed(c);
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
		c->down += ws_frame_bytes(in.len, c->incoming);
		return c->handler->received(c->user, in) < 0 ? -1 : 0;
	}
	buf_slice_append(&c->in, in);
	if (!last)
		return 0;
	c->down += ws_frame_bytes(c->in.len, c->incoming);
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
	c->up += ws_frame_bytes(len, !c->incoming);
	(void)lws_callback_on_writable(wsi);
	return 0;
}

static int on_closed(struct ws *w, struct lws *wsi, struct ws_conn *c, struct slice in)
{
	(void)w;
	(void)wsi;
	(void)in;
	if (c && !c->dialling)
		ws_conn_closed(c);
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
	ws_conn_closed(c);
	ws_conn_destroy(c);
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

int ws_on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	if (reason == LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION)
		return ws_on_certificate(lws_get_opaque_user_data(wsi), user);
	if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
		return ws_on_server_ctx(lws_context_user(lws_get_context(wsi)), user);
	for (size_t i = 0; i < countof(events); i++) {
		if (events[i].reason != reason)
			continue;
		struct ws *w = lws_context_user(lws_get_context(wsi));
		struct ws_conn *c = lws_get_opaque_user_data(wsi);

		return events[i].handle(w, wsi, c, in ? SLICE(in, len) : SLICE("", 0));
	}
	return 0;
}
