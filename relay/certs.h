/*
 * The relay's certificate, where it serves inside TLS: shown to who connects, and looked at again when its files change
 * (certbot renews them) or somebody asks (SIGHUP). What is wrong with new files is said, and what was there goes on.
 */
#ifndef BLAZE_RELAY_CERTS_H
#define BLAZE_RELAY_CERTS_H

#include "net/ws.h"
#include "relay/home.h"

struct certs;

/** *ret is NULL where there is no TLS. An expired certificate serves: devices do not look at dates. */
int certs_create(const struct relay_config *config, struct ws *ws, struct certs **ret,
		 struct why *why);
void certs_destroy(struct certs *c);
/** Network thread. asked: by a person, who is told what came of it; else only when the files are others. NULL is allowed. */
void certs_look(struct certs *c, bool asked);

#endif
