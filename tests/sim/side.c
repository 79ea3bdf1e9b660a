/* Devices: families of them, made once and restored for each history; how they end; how they talk. */
#include "tests/sim/light.h"
#include "tests/sim/memory.h"
#include "tests/sim/sim.h"

#include "core/snapshot.h"
#include "core/sync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define START_MS UINT64_C(1700000000000)

/* The families made so far: [count][variant]. */
static struct family {
	struct keys *keys[DEVICES_MAX + 1];
} * families[DEVICES_MAX + 1][VARIANTS];
static char base[200];

void family_init(const char *dir)
{
	(void)snprintf(base, sizeof(base), "%s", dir);
}

static uint64_t now_ms(void *ctx)
{
	const struct side *d = ctx;

	return d->sim->now_ms + (uint64_t)d->skew_ms;
}

void side_open(struct side *d)
{
	const struct db_env env = {now_ms, d, d->stratum_changes};
	struct why why = {""};

	if (db_open(d->dir, d->keys, &env, &d->db, &why) != 0)
		fail(d->sim, "a device cannot be opened: %s", why.text);
}

static void drop_handles(struct side *d)
{
	for (size_t i = 0; i < HANDLES_MAX; i++)
		handle_drop(&d->handles[i]);
}

void side_end(struct side *d, enum step_kind how, uint32_t n)
{
	drop_handles(d);
	if (how != STEP_RESTART)
		disk_freeze(d->dir);
	db_close(d->db);
	d->db = NULL;
	if (how != STEP_RESTART)
		disk_thaw(d->dir, how == STEP_POWER, n);
}

void side_restart(struct side *d, enum step_kind how, uint32_t n)
{
	struct id root = db_root(d->db);
	struct tokens before = {0};
	struct tokens after = {0};
	struct tokens lost;
	struct tokens wrong;

	tree_tokens(d, &root, &before);
	side_end(d, how, n);
	side_open(d);
	tree_tokens(d, &root, &after);
	if (!tokens_minus(&before, &after, &lost))
		return;
	if (how != STEP_POWER)
		fail(d->sim, "%s: a restart (%c) lost content", d->dir, (char)how);
	/* What others made comes again; what was durable must be here. */
	(void)tokens_minus(&lost, &d->unsynced, &wrong);
	(void)tokens_minus(&lost, &wrong, &lost);
	tokens_merge(&d->sim->removed, &lost);
}

/* A founder, and members it welcomes and admits; everybody knows everybody. */
static void found(struct sim *s, struct family *f, unsigned total)
{
	struct why why = {""};
	struct rng r = {7};

	for (unsigned i = 0; i < total; i++) {
		AUTO(free_ptr) char *key = xasprintf("%s.key", s->devices[i].dir);
		AUTO(free_ptr) char *name = xasprintf("dev%u", i);

		if (keys_create(key, name, &f->keys[i], &why) != 0)
			fail(s, "%s", why.text);
		s->devices[i].keys = f->keys[i];
	}
	if (db_create(s->devices[0].dir, "work", f->keys[0], &why) != 0)
		fail(s, "%s", why.text);
	side_open(&s->devices[0]);
	for (unsigned i = 1; i < total; i++) {
		AUTO(buf_fini) struct buf welcome = {0};
		AUTO(buf_fini) struct buf cert = {0};

		db_welcome(s->devices[0].db, &welcome);
		if (db_join(s->devices[i].dir, f->keys[i], buf_slice(&welcome), &why) != 0)
			fail(s, "%s", why.text);
		side_open(&s->devices[i]);
		keys_cert(f->keys[i], &cert);
		assert(db_admit(s->devices[0].db, buf_slice(&cert), MEMBER_OWNER) == 0);
	}
	for (unsigned i = 1; i < total; i++)
		side_talk(&s->devices[0], &s->devices[i], &r, UINT32_MAX);
	for (unsigned i = 0; i < total; i++) {
		side_end(&s->devices[i], STEP_RESTART, 0);
		disk_save(s->devices[i].dir);
	}
}

void family_open(struct sim *s, unsigned count, unsigned variant)
{
	unsigned total = count + 1;

	*s = (struct sim){.count = count, .now_ms = START_MS, .verbose = s->verbose};
	for (unsigned i = 0; i < total; i++) {
		struct side *d = &s->devices[i];

		d->sim = s;
		d->stratum_changes = (uint64_t)variant * 2;
		(void)snprintf(d->dir, sizeof(d->dir), "%s/%u.%u.%u", base, count, variant, i);
	}
	struct family **f = &families[count][variant];
	if (!*f) {
		light_seed(1000 * count + variant);
		*f = xcalloc(1, sizeof(**f));
		found(s, *f, total);
	}
	light_seed(1);
	for (unsigned i = 0; i < total; i++) {
		s->devices[i].keys = (*f)->keys[i];
		disk_restore(s->devices[i].dir);
		side_open(&s->devices[i]);
	}
}

void family_close(struct sim *s)
{
	for (unsigned i = 0; i <= s->count; i++)
		side_end(&s->devices[i], STEP_RESTART, 0);
}

void family_fini(void)
{
	for (size_t i = 0; i < countof(families); i++) {
		for (size_t k = 0; k < VARIANTS; k++) {
			for (size_t n = 0; families[i][k] && n <= DEVICES_MAX; n++)
				keys_destroy(families[i][k]->keys[n]);
			free(families[i][k]);
			families[i][k] = NULL;
		}
	}
}

/* ---- talking ----------------------------------------------------------------------------------- */

struct line {
	struct sync *from;
	struct sync *to;
};

/* One message, if there is one. */
static bool pass(struct sim *s, struct line l, uint32_t *messages)
{
	AUTO(buf_fini) struct buf m = {0};

	if (*messages == 0 || sync_next(l.from, &m) != 1)
		return false;
	--*messages;
	int r = sync_receive(l.to, buf_slice(&m));
	if (r != 0)
		fail(s, "a message was refused: %s", strerror(-r));
	return true;
}

bool side_lacks_history(struct side *d)
{
	AUTO(free_ptr) struct snapshot_gap *gaps = NULL;

	return db_snapshot_gaps(d->db, &gaps) > 0;
}

static void check_in_sync(struct side *a, struct side *b, struct line l)
{
	struct sync_info x;
	struct sync_info y;

	sync_get_info(l.from, &x);
	sync_get_info(l.to, &y);
	if ((!x.in_sync || !y.in_sync) && !side_lacks_history(a) && !side_lacks_history(b))
		fail(a->sim, "%s and %s have nothing to say but are not in sync", a->dir, b->dir);
}

void side_talk(struct side *a, struct side *b, struct rng *r, uint32_t messages)
{
	struct sync_options oa = {
		.db = a->db, .peer = db_actor(b->db), .endpoint = "", .now_ms = now_ms(a)};
	struct sync_options ob = {
		.db = b->db, .peer = db_actor(a->db), .endpoint = "", .now_ms = now_ms(b)};
	const struct line there = {sync_create(&oa), sync_create(&ob)};
	const struct line back = {there.to, there.from};
	bool whole = messages == UINT32_MAX;
	bool busy = true;

	for (unsigned rounds = 0; busy; rounds++) {
		if (rounds > 10000)
			fail(a->sim, "they talk for ever");
		busy = false;
		while (!rng_once_in(r, 4) && pass(a->sim, there, &messages))
			busy = true;
		while (!rng_once_in(r, 4) && pass(a->sim, back, &messages))
			busy = true;
		if (busy)
			continue;
		assert(db_sync(a->db) == 0 && db_sync(b->db) == 0);
		/* What is done in steps, as installing a snapshot is, goes on when the database has changed. */
		uint64_t before = db_generation(a->db) + db_generation(b->db);
		busy = pass(a->sim, there, &messages);
		busy = pass(a->sim, back, &messages) || busy;
		busy = busy ||
		       (messages > 0 && db_generation(a->db) + db_generation(b->db) != before);
	}
	if (whole)
		check_in_sync(a, b, there);
	sync_destroy(there.from);
	sync_destroy(there.to);
}
