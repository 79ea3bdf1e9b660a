/* The relay's store on this machine: LevelDB, with the rules around it that core/store.h has. */
#include "relay/store.h"

#include "core/store.h"

#include <stdlib.h>
#include <sys/stat.h>

struct leveldb_store {
	struct relay_store base;
	struct store *store;
};

static struct store *store_of(struct relay_store *s)
{
	return container_of(s, struct leveldb_store, base)->store;
}

static int leveldb_write(struct relay_store *s, const struct relay_write *writes, size_t count)
{
	struct store_txn *t = store_begin(store_of(s));
	bool only_deletes = true;

	for (size_t i = 0; i < count; i++) {
		only_deletes = only_deletes && !writes[i].value.data;
		if (writes[i].value.data)
			store_put(t, writes[i].key, writes[i].value);
		else
			store_delete(t, writes[i].key);
	}
	if (only_deletes)
		store_frees_space(t);
	return store_commit(t);
}

static int leveldb_read(struct relay_store *s, struct slice key, struct buf *ret)
{
	return store_read(store_of(s), key, ret);
}

static int leveldb_scan(struct relay_store *s, struct slice prefix, struct slice from,
			bool (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	struct store_txn *t = store_begin(store_of(s));
	int r = store_scan(t, prefix, from, fn, ctx);

	store_abort(t);
	return r;
}

static int leveldb_sync(struct relay_store *s)
{
	return store_sync(store_of(s));
}

static void leveldb_close(struct relay_store *s)
{
	store_close(store_of(s));
	free(container_of(s, struct leveldb_store, base));
}

static const struct relay_store_ops ops = {
	.write = leveldb_write,
	.read = leveldb_read,
	.scan = leveldb_scan,
	.sync = leveldb_sync,
	.close = leveldb_close,
};

int relay_store_open_leveldb(const char *dir, struct relay_store **ret, struct why *why)
{
	struct leveldb_store *s = xcalloc(1, sizeof(*s));
	AUTO(free_ptr) char *store = xasprintf("%s/store", dir);
	struct stat st;
	int r = stat(store, &st) == 0 ? 0 : store_create(dir, why);

	s->base.ops = &ops;
	if (r == 0)
		r = store_open(dir, &s->store, why);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = &s->base;
	return 0;
}
