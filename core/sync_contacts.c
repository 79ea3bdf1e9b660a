/* Passing on where devices can be reached. */
#include "core/sync_contacts.h"

#include <stdlib.h>

void sync_contacts_fini(struct sync_contacts *c)
{
	for (size_t i = 0; i < c->early_count; i++)
		buf_fini(&c->early[i]);
	free(c->told);
	*c = (struct sync_contacts){0};
}

/* Notes that the peer has the record of that time. true: it had none so new. */
static bool tell(struct sync_contacts *c, uint64_t actor, uint64_t time_ms)
{
	for (size_t i = 0; i < c->told_count; i++) {
		struct sync_contacts_told *t = &c->told[i];

		if (t->actor != actor)
			continue;
		bool news = t->time_ms < time_ms;
		t->time_ms = news ? time_ms : t->time_ms;
		return news;
	}
	c->told = xreallocarray(c->told, c->told_count + 1, sizeof(*c->told));
	c->told[c->told_count++] = (struct sync_contacts_told){actor, time_ms};
	return true;
}

void sync_contacts_start(struct sync_contacts *c, struct db *db, bool same)
{
	AUTO(buf_fini) struct buf record = {0};
	uint64_t actor = 0;
	uint64_t time_ms = 0;

	c->revision = contact_revision(db);
	c->looking = !same;
	while (same && contact_next(db, &actor, &time_ms, &record) > 0)
		(void)tell(c, actor, time_ms);
}

/* As contact_take(). */
static int take(struct sync_contacts *c, struct db *db, struct slice record)
{
	struct reader in = reader_init(record);

	(void)reader_u8(&in);
	uint64_t actor = reader_be64(&in);
	uint64_t time_ms = reader_varint(&in);
	int err = contact_take(db, record);
	if (err > 0)
		(void)tell(c, actor, time_ms);
	return err;
}

int sync_contacts_receive(struct sync_contacts *c, struct db *db, struct reader *r)
{
	struct slice record = reader_take(r, reader_left(r));
	uint64_t generation = db_generation(db);
	int err = take(c, db, record);

	if (err != -EAGAIN)
		return err < 0 ? err : 0;
	if (c->early_count == SYNC_CONTACTS_EARLY_MAX)
		return 0;
	c->tried = c->early_count ? c->tried : generation;
	c->early[c->early_count] = (struct buf){0};
	buf_slice_append(&c->early[c->early_count++], record);
	return 0;
}

/* What came before its device was a member. */
static int retry(struct sync_contacts *c, struct db *db)
{
	uint64_t generation = c->early_count ? db_generation(db) : 0;
	size_t kept = 0;
	int err = 0;

	if (c->early_count == 0 || generation == c->tried)
		return 0;
	c->tried = generation;
	for (size_t i = 0; i < c->early_count; i++) {
		int e = err < 0 ? -EAGAIN : take(c, db, buf_slice(&c->early[i]));

		if (e == -EAGAIN) {
			c->early[kept++] = c->early[i];
			continue;
		}
		err = e < 0 ? e : err;
		buf_fini(&c->early[i]);
	}
	c->early_count = kept;
	return err;
}

int sync_contacts_next(struct sync_contacts *c, struct db *db, uint64_t peer, struct buf *out)
{
	AUTO(buf_fini) struct buf record = {0};
	uint64_t time_ms = 0;
	int r = retry(c, db);

	if (r < 0)
		return r;
	uint64_t revision = contact_revision(db);
	if (revision != c->revision) {
		c->revision = revision;
		c->looking = true;
		c->at = 0;
	}
	while (c->looking && (r = contact_next(db, &c->at, &time_ms, &record)) > 0) {
		if (c->at == peer || !tell(c, c->at, time_ms))
			continue;
		buf_u8(out, SYNC_ENDPOINT);
		buf_slice_append(out, buf_slice(&record));
		return 1;
	}
	c->looking = false;
	return r;
}
