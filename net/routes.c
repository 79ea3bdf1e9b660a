/* The addresses of a member, in the order to try them. */
#include "net/routes.h"

#include "net/local.h"

#include <string.h>

static bool is_same(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void add(struct routes *r, const struct endpoint *e)
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

	if (endpoint_parse(text, &e) == 0 && e.port > 0)
		add(r, &e);
}

void routes_find(struct db *db, uint64_t actor, struct routes *ret)
{
	char known[ENDPOINT_TEXT_BYTES] = "";
	struct id id = db_id(db);
	struct endpoint local;

	*ret = (struct routes){0};
	if (local_endpoint(actor, &id, &local) && local_is_there(&local))
		add(ret, &local);
	db_peer_endpoint(db, actor, known);
	add_text(ret, known);
}
