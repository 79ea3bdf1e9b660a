/* Private to net/ws*.c: a ws, its connections, and what one file needs of another. */
#ifndef BLAZE_NET_WS_I_H
#define BLAZE_NET_WS_I_H

#include "net/tls.h"
#include "net/ws.h"

#include <libwebsockets.h>

#define WS_PATH "/blaze/1"
#define WS_PROTOCOL "blaze1"
#define WS_LISTENER "blaze-listen"
#define WS_REASON_BYTES 96

struct ws {
	struct ws_handler handler;
	struct ws_limits limits;
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct lws_vhost *tls_vhost; /* of incoming connections inside TLS; NULL = none are */
	void *server_ctx;	     /* its SSL_CTX */
	const struct tls_identity *identity; /* while it is made */
	struct ws_conn *first; /* oldest; all that lws knows, and failed dials not told yet */
	struct ws_conn *last;
	size_t incoming_count;
	size_t untrusted_count; /* of the incoming ones */
	bool ending;		/* lws is being destroyed: it must not be asked for anything */
	int spare_fd;		/* given up to accept and close one when descriptors run out */
	struct buf out;
	lws_sorted_usec_list_t user_timer;
	lws_sorted_usec_list_t path_timer;
	lws_sorted_usec_list_t lane_timer;
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
	bool tls;
	bool pinned; /* dialled: pin is set */
	uint8_t pin[TLS_PIN_BYTES];
	uint64_t deadline_ms; /* monotonic; 0 = none */
	struct endpoint remote;
	uint64_t up;
	uint64_t down;
	struct buf in; /* a message that comes in pieces */
	char reason[WS_REASON_BYTES];
};

/* ws.c */
extern const lws_retry_bo_t ws_idle_policy;
extern const struct lws_protocols ws_protocols[];
struct ws_conn *ws_conn_create(struct ws *w, bool incoming);
void ws_conn_destroy(struct ws_conn *c);
/** Calls closed(), once. */
void ws_conn_closed(struct ws_conn *c);
void ws_conn_deadline(struct ws_conn *c, uint64_t delay_ms);

/* ws_events.c: what libwebsockets calls */
int ws_on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
/** Small messages leave at once. */
void ws_set_nodelay(int fd);

/* ws_listen.c: the same, for listening sockets */
int ws_on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		   size_t len);

/* ws_tls.c */
/** The SSL_CTX of tls_vhost is ready to be filled. < 0: it cannot be. */
int ws_on_server_ctx(struct ws *w, void *ssl_ctx);
/** The peer that was dialled shows its certificate (X509_STORE_CTX). < 0: it is another than pinned. */
int ws_on_certificate(struct ws_conn *c, void *store_ctx);

#endif
