/* Connections that we begin. */
#include "net/ws_i.h"

#include <stdio.h>
#include <string.h>

/* What a certificate has to be like, tls_accept_peer() says alone. */
#define USE_TLS                                                                                    \
	(LCCSCF_USE_SSL | LCCSCF_ALLOW_SELFSIGNED | LCCSCF_ALLOW_EXPIRED | LCCSCF_ALLOW_INSECURE | \
	 LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK)

static void tell_failed(lws_sorted_usec_list_t *timer)
{
	struct ws *w = container_of(timer, struct ws, failed_timer);
	struct ws_conn *next = NULL;

	for (struct ws_conn *c = w->first; c; c = next) {
		next = c->next;
		if (c->wsi || c->incoming)
			continue;
		ws_conn_closed(c);
		ws_conn_destroy(c);
		next = w->first; /* closed() may have changed the list */
	}
}

struct ws_conn *ws_dial(struct ws *w, const struct endpoint *e, uint64_t deadline_ms, void *user)
{
	const struct ws_tls unpinned = {0};

	return ws_dial_with(w, e, e->tls ? &unpinned : NULL, deadline_ms, &w->handler, user);
}

struct ws_conn *ws_dial_with(struct ws *w, const struct endpoint *e, const struct ws_tls *tls,
			     uint64_t deadline_ms, const struct ws_handler *handler, void *user)
{
	struct ws_conn *c = ws_conn_create(w, false);
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
	c->tls = tls != NULL;
	c->pinned = tls && tls->pinned;
	if (c->pinned)
		memcpy(c->pin, tls->pin, sizeof(c->pin));
	c->dialling = true;
	struct lws_client_connect_info info = {
		.context = w->context,
		.vhost = w->vhost,
		.address = address,
		.port = e->port,
		.path = WS_PATH,
		.host = host,
		.origin = NULL,
		.protocol = NULL, /* the path says it; the header would be a third of each upgrade */
		.local_protocol_name = WS_PROTOCOL,
		.ietf_version_or_minus_one = -1,
		.opaque_user_data = c,
		.retry_and_idle_policy = &ws_idle_policy,
		.pwsi = &c->wsi,
		.ssl_connection = tls ? USE_TLS : 0,
	};
	struct lws *wsi = lws_client_connect_via_info(&info);
	c->dialling = false;
	c->wsi = wsi;
	if (wsi)
		ws_conn_deadline(c, deadline_ms);
	else
		lws_sul_schedule(w->context, 0, &w->failed_timer, tell_failed, 1);
	if (!wsi && !c->reason[0])
		(void)snprintf(c->reason, sizeof(c->reason), "the host is not known");
	return c;
}
