/* See sync_kept.h. */
#include "core/sync_kept.h"

#include "core/quarantine.h"

#include <stdlib.h>
#include <string.h>

static int pos_cmp(const void *a, const void *b)
{
	const struct feed_pos *x = a;
	const struct feed_pos *y = b;
	int c = id_cmp(&x->stream, &y->stream);

	return c ? c : (x->actor > y->actor) - (x->actor < y->actor);
}

static struct feed_pos *find(struct feed_pos *list, size_t count, const struct feed_pos *p)
{
	return count ? bsearch(p, list, count, sizeof(*p), pos_cmp) : NULL;
}

void sync_kept_fini(struct sync_kept *k)
{
	free(k->theirs);
	*k = (struct sync_kept){0};
}

/* ---- what is kept ------------------------------------------------------------------------------- */

void sync_kept_receive(struct sync_kept *k, struct db *db, struct feed_pos *vv, size_t count)
{
	free(k->theirs);
	k->theirs = vv;
	k->theirs_count = count;
	k->theirs_known = true;
	k->answer = db_lacks_kept(db, vv, count);
}

bool sync_kept_tell(struct sync_kept *k, struct db *db, struct feed_pos **ret, size_t *ret_count)
{
	uint64_t revision = db_kept_revision(db);

	if (k->told == revision && !k->answer)
		return false;
	size_t n = db_kept(db, ret);
	bool news = n > 0 || k->told > 0 || k->answer;
	k->told = revision;
	k->answer = false;
	*ret_count = n;
	if (!news)
		free(*ret);
	return news;
}

/* Where the feed stands there, as far as is known; *ret_entry: its own word on it, or NULL. */
static uint64_t stands_at(const struct sync_kept *k, struct feed_pos *vv, size_t vv_count,
			  const struct feed_pos *feed, struct feed_pos **ret_entry)
{
	const struct feed_pos *applied = find(vv, vv_count, feed);
	struct feed_pos *entry = find(k->theirs, k->theirs_count, feed);
	uint64_t has = applied ? applied->seq : 0;

	*ret_entry = entry;
	return entry && entry->seq > has ? entry->seq : has;
}

static void raise_entry(struct sync_kept *k, struct feed_pos *entry, const struct feed_pos *to)
{
	if (entry) {
		entry->seq = to->seq;
		return;
	}
	k->theirs = xreallocarray(k->theirs, k->theirs_count + 1, sizeof(*k->theirs));
	k->theirs[k->theirs_count++] = *to;
	qsort(k->theirs, k->theirs_count, sizeof(*k->theirs), pos_cmp);
}

int sync_kept_next(struct sync_kept *k, struct db *db, struct feed_pos *vv, size_t vv_count,
		   struct feed_item *ret_item, struct buf *ret)
{
	struct feed_pos *here = NULL;
	size_t n = k->theirs_known ? db_kept(db, &here) : 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct feed_pos *entry = NULL;
		struct feed_pos after = here[i];

		after.seq = stands_at(k, vv, vv_count, &here[i], &entry);
		if (after.seq >= here[i].seq)
			continue;
		r = db_next_kept(db, &after, ret_item, ret);
		/* What does not follow there is of another branch: it is not sent for nothing again and again. */
		raise_entry(k, entry, r > 0 ? &ret_item->pos : &here[i]);
	}
	free(here);
	return r;
}

/* ---- OUTSIDE ------------------------------------------------------------------------------------- */

bool sync_kept_listens(struct db *db, uint64_t peer, uint8_t type)
{
	/*
	 * HELLO, DIGEST, HAVE, HAVE_AUTH, ENVELOPE, THIN; ACK and STRATUM for the names of feeds that they give; what asks for a snapshot, which
	 * is refused: as in core/sync.c.
	 */
	static const uint8_t types[] = {1, 2, 3, 4, 5, 15, 17, 20, 21, 24};

	return memchr(types, type, sizeof(types)) || !db_is_outside(db, peer);
}

bool sync_kept_may_go_on(struct sync_kept *k, struct db *db, uint64_t peer)
{
	return !db_is_outside(db, peer) || ++k->refused < SYNC_KEPT_REFUSED_MAX;
}

size_t sync_kept_have(struct db *db, uint64_t peer, struct feed_pos **list, size_t count)
{
	struct feed_pos *own = NULL;
	size_t n = db_have_of(db, peer, &own);

	*list = xreallocarray(*list, count + n + 1, sizeof(**list));
	for (size_t i = 0; i < n; i++)
		(*list)[count + i] = own[i];
	free(own);
	qsort(*list, count + n, sizeof(**list), pos_cmp);
	return count + n;
}

void sync_kept_confine(struct sync_kept *k, struct db *db, struct feed_pos **list, size_t *count)
{
	struct feed_pos *here = NULL;
	size_t n = k->confined ? 0 : db_have_of_others(db, &here);
	size_t all = *count;

	if (n == 0) {
		free(here);
		return;
	}
	k->confined = n;
	*list = xreallocarray(*list, *count + n, sizeof(**list));
	for (size_t i = 0; i < n; i++) {
		struct feed_pos *have = find(*list, *count, &here[i]);

		if (have)
			have->seq = here[i].seq > have->seq ? here[i].seq : have->seq;
		else
			(*list)[all++] = here[i];
	}
	free(here);
	*count = all;
	qsort(*list, *count, sizeof(**list), pos_cmp);
}
