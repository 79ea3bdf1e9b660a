/* Certificate files: shown, watched, renewed. */
#include "relay/certs.h"

#include "core/log.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

/* By what a file is known to be another than before. */
struct stamp {
	ino_t inode;
	off_t size;
	struct timespec time;
};

struct certs {
	const struct relay_config *config;
	struct ws *ws;
	struct stamp cert;
	struct stamp key;
	uint8_t pin[TLS_PIN_BYTES];
	bool pinned; /* devices have this pin in their addresses */
	bool failed; /* the last time: two files are not replaced in one step, so one failure says little */
};

static struct stamp stamp_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return (struct stamp){0};
	return (struct stamp){.inode = st.st_ino, .size = st.st_size, .time = st.st_mtim};
}

static bool is_same(const struct stamp *a, const struct stamp *b)
{
	return a->inode == b->inode && a->size == b->size && a->time.tv_sec == b->time.tv_sec &&
	       a->time.tv_nsec == b->time.tv_nsec;
}

static int show(struct certs *c, const struct tls_identity *identity, struct why *why)
{
	if (ws_set_tls(c->ws, identity) < 0)
		return why_set(why, -EIO, "cannot begin TLS with %s", c->config->tls_cert);
	c->pinned = tls_identity_is_self_signed(identity);
	tls_identity_pin(identity, c->pin);
	return 0;
}

static void take_stamps(struct certs *c)
{
	c->cert = stamp_of(c->config->tls_cert);
	c->key = stamp_of(c->config->tls_key);
}

int certs_create(const struct relay_config *config, struct ws *ws, struct certs **ret,
		 struct why *why)
{
	struct certs *c = xcalloc(1, sizeof(*c));
	struct tls_identity *identity = NULL;
	struct why late = {""};

	c->config = config;
	c->ws = ws;
	int r = relay_home_tls(config, &identity, why);
	if (r == 0 && identity) {
		take_stamps(c);
		if (tls_identity_check_time(identity, time(NULL), &late) < 0)
			log_warn("%s; devices do not mind", late.text);
		r = show(c, identity, why);
	}
	bool plain = !identity;
	tls_identity_destroy(identity);
	if (r < 0 || plain)
		free(c);
	else
		*ret = c;
	return r;
}

void certs_destroy(struct certs *c)
{
	free(c);
}

static int renew(struct certs *c, struct why *why)
{
	struct tls_identity *identity = NULL;
	bool was_pinned = c->pinned;
	uint8_t pin[TLS_PIN_BYTES];
	int r = relay_home_tls(c->config, &identity, why);

	memcpy(pin, c->pin, sizeof(pin));
	if (r == 0)
		r = tls_identity_check_time(identity, time(NULL), why);
	if (r == 0)
		r = show(c, identity, why);
	tls_identity_destroy(identity);
	if (r < 0)
		return r;
	log_info("relay: shows the certificate in %s from now on", c->config->tls_cert);
	if (was_pinned && memcmp(pin, c->pin, sizeof(pin)) != 0)
		log_warn("the relay's certificate has another key than before: devices need its new "
			 "address, which blaze-relay address prints");
	return 0;
}

void certs_look(struct certs *c, bool asked)
{
	if (!c)
		return;
	struct stamp cert = stamp_of(c->config->tls_cert);
	struct stamp key = stamp_of(c->config->tls_key);
	struct why why = {""};

	if (!asked && is_same(&cert, &c->cert) && is_same(&key, &c->key))
		return;
	if (renew(c, &why) < 0) {
		/* At the second time it is taken for what it is; then not looked at until it changes. */
		if (asked || c->failed) {
			log_warn("%s; the certificate from before stays", why.text);
			c->cert = cert;
			c->key = key;
		}
		c->failed = !asked && !c->failed;
		return;
	}
	c->failed = false;
	c->cert = cert;
	c->key = key;
}
