/*
 * The relay at work: sockets, sessions, and the thread that flushes.
 *
 * Two threads. The network thread does everything but wait for the disk: what comes is written, passed on to whoever has the
 * mailbox open, and receipted only when the flusher has said that it is on stable storage. One flush is for all that came
 * before it, from whomever.
 */
#ifndef BLAZE_RELAY_SERVER_H
#define BLAZE_RELAY_SERVER_H

#include "relay/home.h"

struct server;

/** Binds and opens the store. config has to outlive it. */
int server_create(const struct relay_config *config, struct server **ret, struct why *why);
void server_destroy(struct server *s);
/** Where it really listens. */
void server_endpoint(const struct server *s, char out[ENDPOINT_TEXT_BYTES]);
const struct keys *server_keys(const struct server *s);
/** Serves until server_stop(). < 0: cannot go on. */
int server_run(struct server *s);
/** Any thread. */
void server_stop(struct server *s);
/** Looks at the certificate's files again. Any thread. */
void server_reload(struct server *s);
bool server_has_tls(const struct server *s);

#endif
