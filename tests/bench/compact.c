/*
 * What compaction saves and costs: RECORDS records, EDITS edits of one field each, no mount; then two new devices,
 * one that takes a snapshot and one that does not. Prints one JSON object a line. Usage: compact DIR RECORDS EDITS [text]:
 * with "text", records of text, an edit being a word in a line, and the logs of texts are packed, too.
 */
#include "core/compact.h"
#include "core/db_i.h"
#include "core/keys.h"
#include "core/snapshot.h"
#include "core/sync.h"
#include "core/sync_snapshot.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static uint64_t monotonic_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t rnd_state = 1;

static uint32_t rnd(uint32_t n)
{
	rnd_state = rnd_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rnd_state >> 33) % n;
}

static bool is_text;

static void put(struct db *db, const struct id *dir, unsigned record, const unsigned *values)
{
	char name[32];
	struct id id;
	AUTO(buf_fini) struct buf text = {0};
	struct txn *t = db_begin(db);

	(void)snprintf(name, sizeof(name), is_text ? "r%06u.txt" : "r%06u.json", record);
	(void)db_new_id(t, dir, name, NODE_RECORD, 0, &id);
	if (db_put_node(t, &id, NODE_RECORD, dir, name) < 0)
		abort();
	for (unsigned i = 0; i < 10 && is_text; i++)
		buf_printf(&text, "This is line %u, and somebody wrote %u into it.\n", i, values[i]);
	for (unsigned i = 0; i < 10 && !is_text; i++)
		buf_printf(&text, "%s\"field_%u\": \"value %u\"", i ? ",\n  " : "{\n  ", i,
			   values[i]);
	if (!is_text)
		buf_printf(&text, "\n}\n");
	if (db_put_content(t, &id, NULL, buf_slice(&text)) < 0 || db_commit(t) < 0)
		abort();
}

/* Messages from one to the other until nobody has anything to say, or the newcomer has the state. */
static size_t talk(struct sync *from[2], struct db *newcomer, bool refuse, bool to_the_end)
{
	const uint8_t none = SYNC_SNAPSHOT_NONE;
	AUTO(buf_fini) struct buf m = {0};
	size_t bytes = 0;
	unsigned quiet = 0;

	while (quiet < 3) {
		bool busy = false;

		for (unsigned i = 0; i < 2; i++) {
			if (sync_next(from[i], &m) != 1)
				continue;
			bytes += m.len;
			busy = true;
			if (refuse && m.data[0] == SYNC_SNAPSHOT_ASK
				    ? sync_receive(from[i], SLICE(&none, 1)) < 0
				    : sync_receive(from[!i], buf_slice(&m)) < 0)
				abort();
		}
		AUTO(free_ptr) struct snapshot_gap *gaps = NULL;
		if (!to_the_end && db_snapshot_gaps(newcomer, &gaps) > 0)
			return bytes;
		if (!busy && db_sync(newcomer) < 0)
			abort();
		quiet = busy || db_is_installing(newcomer) ? 0 : quiet + 1;
	}
	return bytes;
}

/* Bytes of the store on disk. */
static unsigned long long store_bytes(const char *dir)
{
	AUTO(free_ptr) char *path = xasprintf("%s/store", dir);
	DIR *d = opendir(path);
	unsigned long long sum = 0;
	struct stat st;

	for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
		if (fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			sum += (unsigned long long)st.st_size;
	}
	if (d)
		(void)closedir(d);
	return sum;
}

struct sum {
	unsigned long long keys;
	unsigned long long bytes;
};

static bool add_sizes(void *ctx, struct slice key, struct slice value)
{
	struct sum *s = ctx;

	s->keys++;
	s->bytes += key.len + value.len;
	return true;
}

/* Keys and their bytes with a prefix, as they are written. */
static struct sum sum_of(struct db *db, const char *prefix)
{
	struct store_txn *t = store_begin(db->store);
	struct sum s = {0};

	if (store_scan(t, SLICE_STR(prefix), SLICE("", 0), add_sizes, &s) < 0)
		abort();
	store_abort(t);
	return s;
}

/* What `blaze compact` does besides. */
static void pack(struct db *db, const char *dir)
{
	if (store_compact(db->store) < 0)
		abort();
	unsigned long long before = store_bytes(dir);
	struct sum x = sum_of(db, "x");
	uint64_t start = monotonic_us();
	if (db_pack_texts(db) < 0)
		abort();
	struct sum packed = sum_of(db, "x");
	struct sum h = sum_of(db, "h");
	(void)printf("{\"log_keys\":%llu,\"log_bytes\":%llu,\"log_keys_packed\":%llu,"
		     "\"log_bytes_packed\":%llu,\"index_bytes\":%llu}\n",
		     x.keys, x.bytes, packed.keys, packed.bytes, h.bytes);
	(void)printf("{\"store_bytes_folded\":%llu,\"store_bytes_packed\":%llu,\"pack_s\":%.2f}\n",
		     before, store_bytes(dir), (double)(monotonic_us() - start) / 1e6);
}

static void add_device(const char *base, struct db *db, bool with_snapshot)
{
	struct why why = {""};
	struct keys *keys = NULL;
	struct db *newcomer = NULL;
	AUTO(buf_fini) struct buf welcome = {0};
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(free_ptr) char *key = xasprintf("%s/key%d", base, with_snapshot);
	AUTO(free_ptr) char *dir = xasprintf("%s/db%d", base, with_snapshot);

	if (keys_create(key, "new", &keys, &why) < 0)
		abort();
	db_welcome(db, &welcome);
	keys_cert(keys, &cert);
	if (db_join(dir, keys, buf_slice(&welcome), &why) < 0 ||
	    db_open(dir, keys, NULL, &newcomer, &why) < 0 ||
	    db_admit(db, buf_slice(&cert), MEMBER_OWNER) < 0)
		abort();
	const struct sync_options to_old = {
		.db = newcomer, .peer = db_actor(db), .endpoint = "", .now_ms = 1};
	const struct sync_options to_new = {
		.db = db, .peer = db_actor(newcomer), .endpoint = "", .now_ms = 1};
	struct sync *both[2] = {sync_create(&to_old), sync_create(&to_new)};
	uint64_t start = monotonic_us();
	size_t bytes = talk(both, newcomer, !with_snapshot, !with_snapshot);
	uint64_t state = monotonic_us();
	size_t more = talk(both, newcomer, !with_snapshot, true);
	uint64_t end = monotonic_us();
	(void)printf("{\"snapshot\":%s,\"state_s\":%.2f,\"state_bytes\":%zu,\"all_s\":%.2f,"
		     "\"all_bytes\":%zu}\n",
		     with_snapshot ? "true" : "false", (double)(state - start) / 1e6, bytes,
		     (double)(end - start) / 1e6, bytes + more);
	sync_destroy(both[0]);
	sync_destroy(both[1]);
	db_close(newcomer);
	keys_destroy(keys);
}

int main(int argc, char **argv)
{
	struct why why = {""};
	struct keys *keys = NULL;
	struct db *db = NULL;

	if (argc < 4)
		return 2;
	is_text = argc > 4;
	unsigned records = (unsigned)atoi(argv[2]);
	unsigned edits = (unsigned)atoi(argv[3]);
	digest_init();
	AUTO(free_ptr) char *key = xasprintf("%s/key", argv[1]);
	AUTO(free_ptr) char *dir = xasprintf("%s/db", argv[1]);
	if (keys_create(key, "bench", &keys, &why) < 0 || db_create(dir, "bench", keys, &why) < 0 ||
	    db_open(dir, keys, NULL, &db, &why) < 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		return 1;
	}
	unsigned(*values)[10] = xcalloc(records, sizeof(*values));
	struct id root = db_root(db);
	uint64_t start = monotonic_us();
	for (unsigned i = 0; i < records; i++)
		put(db, &root, i, values[i]);
	for (unsigned i = 0; i < edits; i++) {
		unsigned record = rnd(records);

		values[record][rnd(10)] = rnd(100000);
		put(db, &root, record, values[record]);
	}
	uint64_t wrote = monotonic_us();
	if (db_seal(db) < 0 || db_sync(db) < 0)
		abort();
	uint64_t sealed = monotonic_us();
	uint64_t longest = 0;
	unsigned steps = 0;
	for (int r = 1; r == 1; steps++) {
		uint64_t t0 = monotonic_us();

		r = db_compact_step(db);
		longest = monotonic_us() - t0 > longest ? monotonic_us() - t0 : longest;
		if (r < 0)
			abort();
	}
	uint64_t folded = monotonic_us();
	struct compact_stats s;
	if (db_get_compact_stats(db, &s) < 0)
		abort();
	(void)printf(
		"{\"records\":%u,\"edits\":%u,\"write_us\":%.2f,\"seal_us\":%.2f,\"fold_us\":%.2f,"
		"\"steps\":%u,\"longest_step_ms\":%.1f,\"folded\":%llu,\"strata\":%llu,"
		"\"bytes_per_change\":%.2f}\n",
		records, edits, (double)(wrote - start) / (records + edits),
		(double)(sealed - wrote) / (records + edits),
		(double)(folded - sealed) / (double)(s.folded_count ? s.folded_count : 1), steps,
		(double)longest / 1000, (unsigned long long)s.folded_count,
		(unsigned long long)s.strata_count,
		(double)s.strata_bytes / (double)(s.folded_count ? s.folded_count : 1));
	pack(db, dir);
	add_device(argv[1], db, true);
	add_device(argv[1], db, false);
	db_close(db);
	keys_destroy(keys);
	free(values);
	return 0;
}
