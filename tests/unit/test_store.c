/* core/store: what is read is what was written, deferred or not; and fs/counts. Prints "ok NAME" for each test. */
#include "core/store.h"
#include "fs/counts.h"
#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_value(void *ctx, struct slice key, struct slice value)
{
	struct buf *out = ctx;

	(void)key;
	buf_slice_append(out, value);
	return true;
}

/* The value, as another transaction sees it; "-" if there is none. */
static const char *value_of(struct store *s, const char *key)
{
	static struct buf value;
	int r = store_read(s, SLICE_STR(key), &value);

	CHECK(r == 0 || r == -ENOENT);
	return r == 0 ? buf_str(&value) : "-";
}

static const char *all(struct store *s, struct store_txn *own)
{
	static struct buf values;
	struct store_txn *t = own ? own : store_begin(s);

	buf_clear(&values);
	CHECK(store_scan(t, SLICE_STR("k"), SLICE("", 0), add_value, &values) == 0);
	if (!own)
		store_abort(t);
	return buf_str(&values);
}

static void put(struct store *s, const char *key, const char *value, bool later)
{
	struct store_txn *t = store_begin(s);

	if (value)
		store_put(t, SLICE_STR(key), SLICE_STR(value));
	else
		store_delete(t, SLICE_STR(key));
	CHECK((later ? store_defer(t) : store_commit(t)) == 0);
}

/* A copy of the store as a crash would leave it, now. */
static struct store *after_crash(void)
{
	struct store *s = NULL;

	CHECK(system("rm -rf crash && mkdir crash && cp -r db/. crash/ && rm -f crash/store/LOCK") ==
	      0);
	CHECK(store_open("crash", &s, NULL) == 0);
	return s;
}

static void test_deferred(struct store *s)
{
	put(s, "ka", "1", false);
	put(s, "kb", "2", true);
	put(s, "ka", "3", true);
	CHECK(strcmp(value_of(s, "ka"), "3") == 0 && strcmp(value_of(s, "kb"), "2") == 0);
	CHECK(strcmp(all(s, NULL), "32") == 0);
	struct store *crash = after_crash();
	CHECK(strcmp(all(crash, NULL), "1") == 0);
	store_close(crash);

	/* The next batch takes along what was deferred, and wins over it. */
	put(s, "kb", "4", false);
	CHECK(strcmp(all(s, NULL), "34") == 0);
	crash = after_crash();
	CHECK(strcmp(all(crash, NULL), "34") == 0);
	store_close(crash);

	/* What is deleted before it was written leaves nothing; what was written is deleted. */
	struct store_txn *fresh = store_begin(s);
	store_put_fresh(fresh, SLICE_STR("kf"), SLICE_STR("6"));
	CHECK(store_defer(fresh) == 0 && strcmp(all(s, NULL), "346") == 0);
	put(s, "kf", NULL, false);
	CHECK(strcmp(all(s, NULL), "34") == 0 && strcmp(value_of(s, "kf"), "-") == 0);
	fresh = store_begin(s);
	store_put_fresh(fresh, SLICE_STR("kf"), SLICE_STR("6"));
	CHECK(store_defer(fresh) == 0 && store_sync(s) == 0);
	put(s, "kf", NULL, true);
	CHECK(strcmp(all(s, NULL), "34") == 0);
	put(s, "kb", "4", false);
	crash = after_crash();
	CHECK(strcmp(all(crash, NULL), "34") == 0);
	store_close(crash);

	put(s, "ka", NULL, true);
	CHECK(strcmp(value_of(s, "ka"), "-") == 0 && strcmp(all(s, NULL), "4") == 0);
	struct store_txn *t = store_begin(s);
	store_put(t, SLICE_STR("ka"), SLICE_STR("5"));
	CHECK(strcmp(all(s, t), "54") == 0);
	store_abort(t);
	CHECK(store_sync(s) == 0);
	crash = after_crash();
	CHECK(strcmp(all(crash, NULL), "4") == 0);
	store_close(crash);
	(void)puts("ok deferred");
}

/* Values of all sizes, over and over, so that the cache forgets and replaces. */
static void test_reads(struct store *s)
{
	static uint32_t length[512];
	AUTO(buf_fini) struct buf value = {0};
	char key[32];

	for (uint32_t n = 0; n < 20000; n++) {
		uint32_t i = n * 2654435761u >> 23;
		struct store_txn *t = store_begin(s);

		(void)snprintf(key, sizeof(key), "r%u", i);
		length[i] = n % 7 == 0 ? 0 : n % 700;
		buf_clear(&value);
		buf_resize(&value, length[i]);
		if (length[i])
			store_put(t, SLICE_STR(key), buf_slice(&value));
		else
			store_delete(t, SLICE_STR(key));
		CHECK((n % 3 ? store_defer(t) : store_commit(t)) == 0);
		i = n * 40503u % 512;
		(void)snprintf(key, sizeof(key), "r%u", i);
		int r = store_read(s, SLICE_STR(key), &value);
		CHECK(length[i] ? r == 0 && value.len == length[i] : r == -ENOENT);
	}
	(void)puts("ok reads");
}

static void test_counts(void)
{
	static uint32_t model[4096];
	struct counts c = {0};
	struct count got;
	size_t used = 0;

	for (uint32_t n = 0; n < 200000; n++) {
		uint32_t ino = 1 + (n * 2654435761u >> 20) % 4095;

		if (n % 5 < (n / 50000 % 2 ? 1 : 3)) {
			used += model[ino] == 0;
			model[ino] = n + 1;
			counts_put(&c, ino * 1024ull, (struct count){.lookups = n + 1});
		} else {
			bool there = counts_take(&c, ino * 1024ull, &got);

			CHECK(there == (model[ino] != 0) && (!there || got.lookups == model[ino]));
			used -= there;
			model[ino] = 0;
		}
		CHECK(c.used == used);
	}
	counts_fini(&c);
	(void)puts("ok counts");
}

int main(void)
{
	struct store *s = NULL;

	CHECK(system("rm -rf db && mkdir db") == 0);
	CHECK(store_create("db", NULL) == 0 && store_open("db", &s, NULL) == 0);
	test_deferred(s);
	test_reads(s);
	store_close(s);
	test_counts();
	return 0;
}
