/*
 * TLS in libwebsockets. Incoming connections that are inside TLS belong to a virtual host of their own, whose SSL_CTX
 * shows an identity of ours: another one is put into the same SSL_CTX, and connections that are there keep what they have.
 */
#include "net/ws_i.h"

#include <stdio.h>

int ws_set_tls(struct ws *w, const struct tls_identity *identity)
{
	const struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.vhost_name = "blaze-tls",
		.protocols = ws_protocols,
		.timeout_secs = 10,
		.retry_and_idle_policy = &ws_idle_policy,
		.alpn = "http/1.1",
		.http_proxy_address = "",
		.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
			   LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX |
			   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
			   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
	};

	if (w->server_ctx)
		return tls_serve(w->server_ctx, identity);
	w->identity = identity;
	w->tls_vhost = lws_create_vhost(w->context, &info);
	w->identity = NULL;
	return w->tls_vhost && w->server_ctx ? 0 : -EIO;
}

int ws_on_server_ctx(struct ws *w, void *ssl_ctx)
{
	w->server_ctx = ssl_ctx;
	return w->identity && tls_serve(ssl_ctx, w->identity) == 0 ? 0 : -1;
}

int ws_on_certificate(struct ws_conn *c, void *store_ctx)
{
	if (!c)
		return -1;
	if (tls_accept_peer(store_ctx, c->pinned ? c->pin : NULL))
		return 0;
	(void)snprintf(c->reason, sizeof(c->reason), WS_WRONG_PIN);
	return -1;
}
