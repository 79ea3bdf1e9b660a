/*
 * Accepting connections, and LIMITS on those who have not shown who they are.
 *
 * Listening sockets are ours (net/endpoint.h), so that an error at bind has a name; libwebsockets
 * only tells when one is readable, and adopts what accept() gives.
 */
#include "net/ws_i.h"

#include "core/log.h"
#include "core/platform.h"
#include "net/local.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WS_ACCEPTS_AT_ONCE 8

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

/* LIMITS: one address alone cannot take the places of all who have not shown who they are. */
static bool has_too_many(const struct ws *w, const struct endpoint *from)
{
	char place[ENDPOINT_TEXT_BYTES];
	size_t n = 0;

	if (endpoint_is_loopback(from))
		return false;
	endpoint_place(from, place);
	for (const struct ws_conn *c = w->first; c; c = c->next) {
		char other[ENDPOINT_TEXT_BYTES];

		if (!c->incoming || c->trusted)
			continue;
		endpoint_place(&c->remote, other);
		n += strcmp(place, other) == 0;
	}
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
	struct ws_conn *c = ws_conn_create(w, true);
	c->remote = from;
	ws_set_nodelay(fd);
	c->tls = w->tls_vhost && !endpoint_is_local(&from);
	lws_adopt_desc_t desc = {
		.vh = c->tls ? w->tls_vhost : w->vhost,
		.type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | (c->tls ? LWS_ADOPT_ALLOW_SSL : 0),
		.fd.sockfd = fd,
	};
	c->wsi = lws_adopt_descriptor_vhost_via_info(&desc); /* closes fd when it fails */
	if (!c->wsi) {
		ws_conn_destroy(c);
		return;
	}
	lws_set_opaque_user_data(c->wsi, c);
	ws_conn_deadline(c, WS_UNTRUSTED_MS);
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

int ws_on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
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
