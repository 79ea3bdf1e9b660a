/*
 * Where a relay keeps what it is: a directory of mode 0700 with
 *
 *   relay.key    its keys, as core/keys.h writes them; 0600
 *   token        16 random bytes in base64url: who knows it may connect, and make mailboxes; 0600
 *   relay.conf   "name value" a line, "#" begins a comment: the names are those of the options
 *   tls.crt      a certificate of its own, if it was set up with one, and tls.key, 0600
 *   store/       what it was given
 *   read/        copies of what it may read: copies.h
 */
#ifndef BLAZE_RELAY_HOME_H
#define BLAZE_RELAY_HOME_H

#include "net/mailaddr.h"
#include "relay/box.h"

struct relay_config {
	char *home;
	char *listen;	/**< "A:P" */
	char *address;	/**< "HOST:PORT" that devices dial; NULL: where it listens */
	char *tls_cert; /**< PEM files; NULL: no TLS */
	char *tls_key;
	struct box_limits limits;
	uint64_t copies; /**< databases it reads some of */
	uint64_t connections;
	uint64_t rate;
	uint64_t burst;
};

/** The defaults. home: borrowed until relay_config_fini(). */
void relay_config_init(struct relay_config *c);
void relay_config_fini(struct relay_config *c);
/** One setting by its name. -ENOENT no such name; -EINVAL. */
int relay_config_set(struct relay_config *c, const char *name, const char *value, struct why *why);
/** Reads relay.conf, if there is one. */
int relay_config_read(struct relay_config *c, struct why *why);

/**
 * Makes the directory, keys and token, those that are not there; writes relay.conf if there is none, and into one that is
 * there only where the certificate is. self_signed: makes a certificate of its own, unless there is one.
 */
int relay_home_create(struct relay_config *c, bool self_signed, struct why *why);
/** tls_identity_destroy() it; NULL: it has no TLS. */
int relay_home_tls(const struct relay_config *c, struct tls_identity **ret, struct why *why);
/** keys_destroy() it. -ENOENT: it was not set up. */
int relay_home_keys(const struct relay_config *c, struct keys **ret, struct why *why);
int relay_home_token(const struct relay_config *c, uint8_t ret[MAIL_TOKEN_BYTES], struct why *why);
/** The address to be given to devices, at `endpoint` if the configuration names none. */
int relay_home_address(const struct relay_config *c, const struct keys *keys, const char *endpoint,
		       char out[MAILADDR_TEXT_BYTES], struct why *why);

#endif
