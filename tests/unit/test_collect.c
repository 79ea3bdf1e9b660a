/* Chunks that are damaged, and chunks that nothing needs. */
#include "core/collect.h"
#include "core/thread.h"
#include "tests/unit/bulk.h"

#include <fcntl.h>

/* Flips a bit of every chunk in the packs of a device. */
static void rot(const struct side *s)
{
	AUTO(free_ptr) char *path = xasprintf("%s/chunks/00000001", s->dir);
	int fd = open(path, O_RDWR);
	uint8_t b = 0;

	CHECK(fd >= 0);
	for (off_t at = 1000; pread(fd, &b, 1, at) == 1; at += 8000) {
		b ^= 4;
		CHECK(pwrite(fd, &b, 1, at) == 1);
	}
	(void)close(fd);
}

static void test_damaged_chunks_are_fetched_again(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf is = {0};
	struct side s[2];
	struct db_missing missing;

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 2 * MIB, 71);
	save(&s[0], "f", &x);
	(void)meet(&s[0], &s[1]);
	check_shows(&s[1], "f", &x);
	rot(&s[1]);
	struct txn *t = db_begin(s[1].db);
	struct id node = node_of(&s[1], t, "f");
	struct manifest *m = NULL;
	(void)db_manifest(t, &node, &m);
	db_abort(t);
	if (m)
		CHECK(db_chunks_read(s[1].db, m, 0, MIB, &is) == -EIO);
	manifest_unref(m);
	CHECK(db_chunks_are_due(s[1].db) && db_chunks_flush(s[1].db) == 0);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count > 0 && missing.file_count == 0);
	/* It is known after a restart, too. */
	db_close(s[1].db);
	side_open(&s[1]);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count > 0);
	for (unsigned round = 0; round < 100 && missing.damaged_count; round++) {
		(void)meet(&s[0], &s[1]);
		t = db_begin(s[1].db);
		int r = db_manifest(t, &node, &m);
		db_abort(t);
		buf_clear(&is);
		for (uint64_t at = 0; r == 0 && at < m->size; at += 4000) /* finds more */
			(void)db_chunks_read(s[1].db, m, at, 1, &is);
		if (r == 0)
			manifest_unref(m);
		CHECK(db_chunks_flush(s[1].db) == 0);
		db_get_missing(s[1].db, &missing);
	}
	CHECK(missing.damaged_count == 0);
	check_shows(&s[1], "f", &x);
	db_close(s[1].db);
	side_open(&s[1]);
	db_get_missing(s[1].db, &missing);
	CHECK(missing.damaged_count == 0);
	check_shows(&s[1], "f", &x);
	part(s, 2);
	(void)printf("ok damaged_chunks_are_fetched_again\n");
}

static struct collect_stats collect_garbage(const struct side *s, uint64_t before_ms, bool dry_run)
{
	const struct collect_options o = {.before_ms = before_ms, .dry_run = dry_run};
	struct collect_stats stats = {0};

	CHECK(db_collect(s->db, &o, &stats) == 0);
	return stats;
}

/* Bytes that somebody began to save, and then did not. */
static void import_in_vain(struct side *s, const struct buf *bytes)
{
	AUTO(buf_fini) struct buf manifest = {0};
	struct import *im = import_create(s->db, bytes->len, NULL);
	const struct collect_options o = {0};
	struct collect_stats stats = {0};

	CHECK(import_data(im, buf_slice(bytes)) == 0 && import_finish(im, &manifest) == 0);
	CHECK(db_collect(s->db, &o, &stats) == -EAGAIN); /* it could still be meant */
	import_destroy(im);
}

static void test_what_nothing_needs_is_removed(void)
{
	AUTO(buf_fini) struct buf x = {0};
	AUTO(buf_fini) struct buf y = {0};
	AUTO(buf_fini) struct buf z = {0};
	struct side s[2];

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	fill(&x, 3 * MIB, 81);
	fill(&y, 3 * MIB, 82);
	fill(&z, 4 * MIB, 83);
	save(&s[0], "f", &x);
	save(&s[0], "f", &y);
	CHECK(collect_garbage(&s[0], 0, false).garbage_count == 0); /* x is history */
	import_in_vain(&s[0], &z);
	struct collect_stats dry = collect_garbage(&s[0], 0, true);
	CHECK(dry.garbage_bytes > 4 * MIB && dry.file_bytes > 10 * MIB && dry.freed_bytes == 0);
	struct collect_stats done = collect_garbage(&s[0], 0, false);
	CHECK(done.garbage_count == dry.garbage_count && done.garbage_bytes == dry.garbage_bytes);
	CHECK(done.freed_bytes > 4 * MIB && done.file_bytes < 6 * MIB + 100000);
	check_shows(&s[0], "f", &y);
	CHECK(collect_garbage(&s[0], 0, false).garbage_count == 0);
	save(&s[0], "g", &z); /* it can be saved again */
	check_shows(&s[0], "g", &z);

	/* Not all devices know that x was replaced: somebody may still ask for it. */
	CHECK(collect_garbage(&s[0], UINT64_MAX, false).version_count == 0);
	(void)meet(&s[0], &s[1]);
	(void)meet(&s[0], &s[1]);
	done = collect_garbage(&s[0], UINT64_MAX, false);
	CHECK(done.version_count == 1 && done.garbage_bytes > 3 * MIB && done.freed_bytes > 3 * MIB);
	for (unsigned i = 0; i < 2; i++) {
		db_close(s[i].db);
		side_open(&s[i]);
		check_shows(&s[i], "f", &y);
		check_shows(&s[i], "g", &z);
	}
	part(s, 2);
	(void)printf("ok what_nothing_needs_is_removed\n");
}

struct busy {
	struct side *side;
	bool stop; /* atomic */
	unsigned collections;
};

static void *collect_all_the_time(void *arg)
{
	struct busy *b = arg;

	while (!__atomic_load_n(&b->stop, __ATOMIC_RELAXED)) {
		const struct collect_options o = {.before_ms = UINT64_MAX};
		struct collect_stats stats = {0};
		int r = db_collect(b->side->db, &o, &stats);

		CHECK(r == 0 || r == -EAGAIN);
		b->collections += r == 0;
	}
	return NULL;
}

/* Saves of what was just found useless, reads, and what a peer gives, while it is collected all the time. */
static void test_collection_disturbs_nobody(void)
{
	struct side s[2];
	struct buf contents[4] = {{0}};
	AUTO(buf_fini) struct buf first = {0};
	struct thread thread;

	family(s, 2);
	(void)meet(&s[0], &s[1]);
	struct busy b = {.side = &s[1]};
	thread_start(&thread, "collect", collect_all_the_time, &b);
	for (unsigned i = 0; i < countof(contents); i++)
		fill(&contents[i], 700000 + i * 50000, 90 + i / 2);
	for (unsigned i = 0; i < 60; i++) {
		const struct buf *c = &contents[rnd(countof(contents))];
		struct side *at = &s[rnd(2)];

		save(at, "f", c);
		check_shows(at, "f", c);
		if (rnd(3) == 0) {
			(void)meet(&s[0], &s[1]);
			CHECK(shown(&s[0], "f", &first));
			check_shows(&s[1], "f", &first);
		}
	}
	__atomic_store_n(&b.stop, true, __ATOMIC_RELAXED);
	thread_join(&thread);
	CHECK(b.collections > 0);
	for (unsigned i = 0; i < countof(contents); i++)
		buf_fini(&contents[i]);
	part(s, 2);
	(void)printf("ok collection_disturbs_nobody (%u collections)\n", b.collections);
}

int main(void)
{
	(void)snprintf(base, sizeof(base), "/tmp/blaze-test-collect-XXXXXX");
	CHECK(mkdtemp(base));
	digest_init();
	test_damaged_chunks_are_fetched_again();
	test_what_nothing_needs_is_removed();
	test_collection_disturbs_nobody();
	AUTO(free_ptr) char *command = xasprintf("rm -r %s", base);
	CHECK(system(command) == 0);
	return 0;
}
