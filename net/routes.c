/* The addresses of a member, in the order to try them. */
#include "net/routes.h"

#include "core/contact.h"
#include "net/local.h"
#include "net/nearby.h"

#include <stdlib.h>
#include <string.h>

static bool is_same(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->tls == b->tls && strcmp(a->host, b->host) == 0;
}

void routes_add(struct routes *r, const struct endpoint *e)
{
	for (size_t i = 0; i < r->count; i++) {
		if (is_same(&r->at[i], e))
			return;
	}
	if (r->count < ROUTES_MAX)
		r->at[r->count++] = *e;
}

static void add_text(struct routes *r, const char *text)
{
	struct endpoint e;

	if (endpoint_parse_dialled(text, &e) == 0 && e.port > 0)
		routes_add(r, &e);
}

/* The lower, the sooner it is tried. */
static unsigned distance(const struct endpoint *e)
{
	static const char *const private[] = {"10.",	 "192.168.", "172.16.", "172.17.",
					      "172.18.", "172.19.",  "172.2",	"172.30.",
					      "172.31.", "fd",	     "fc"};

	if (endpoint_is_loopback(e))
		return 2;
	for (size_t i = 0; i < countof(private); i++) {
		if (strncmp(e->host, private[i], strlen(private[i])) == 0)
			return 0;
	}
	return 1;
}

/* A peer's word is no reason to look up names: numbers only. */
static void add_told(struct routes *r, struct db *db, uint64_t actor)
{
	struct contact *c = xcalloc(1, sizeof(*c));
	struct endpoint e;

	if (contact_get(db, actor, c) < 0)
		c->count = 0;
	for (unsigned d = 0; d <= 2; d++) {
		for (size_t i = 0; i < c->count; i++) {
			if (endpoint_parse(c->addresses[i], &e) == 0 && endpoint_is_numeric(&e) &&
			    !endpoint_is_any(&e) && e.port > 0 && distance(&e) == d)
				routes_add(r, &e);
		}
	}
	free(c);
}

void routes_find(struct db *db, uint64_t actor, const struct nearby *nearby, struct routes *ret)
{
	char known[ENDPOINT_TEXT_BYTES] = "";
	struct endpoint local;

	*ret = (struct routes){0};
	if (local_endpoint(actor, &local) && local_is_there(&local))
		routes_add(ret, &local);
	if (nearby)
		nearby_add_routes(nearby, actor, ret);
	db_peer_endpoint(db, actor, known);
	add_text(ret, known);
	add_told(ret, db, actor);
}
