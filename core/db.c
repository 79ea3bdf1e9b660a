/*
 * Creating, opening and closing a database; its lock, its clock, its observers, its settings.
 *
 * A database's directory:
 *   format    "blaze database 5\n<database id>\n": says what this is before LevelDB touches anything
 *   lock      flock(2)ed by the process that has it open
 *   store/    LevelDB          ballast   see core/store.h
 *   files/    large content of the local namespace, see fs/backing.h
 *   chunks/   large content of records, see core/packs.h
 *
 * Store keys of its own: "m name", "m key" (the root key), "m counters", and 'S' + setting names.
 */
#include "core/account.h"
#include "core/db_chunks.h"
#include "core/db_i.h"
#include "core/stratum.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FORMAT_WORD "blaze database"
#define FORMAT_VERSION 6
#define HLC_AHEAD_MS_MAX 60000

/* ---- lock, clock, observers -------------------------------------------------------------------- */

void db_lock(struct db *db)
{
	mutex_lock(&db->lock);
}

void db_enter(struct db *db)
{
	mutex_lock(&db->lock);
}

void db_leave(struct db *db)
{
	mutex_unlock(&db->lock);
}

void db_unlock_changed(struct db *db)
{
	db->generation++;
	cond_broadcast(&db->changed);
	mutex_unlock(&db->lock);
	mutex_lock(&db->observers_lock);
	for (struct db_observer *o = db->observers; o; o = o->next)
		o->changed(o->ctx);
	mutex_unlock(&db->observers_lock);
}

void db_observe(struct db *db, struct db_observer *o)
{
	mutex_lock(&db->observers_lock);
	o->next = db->observers;
	db->observers = o;
	mutex_unlock(&db->observers_lock);
}

void db_unobserve(struct db *db, struct db_observer *o)
{
	mutex_lock(&db->observers_lock);
	for (struct db_observer **p = &db->observers; *p; p = &(*p)->next) {
		if (*p == o) {
			*p = o->next;
			break;
		}
	}
	mutex_unlock(&db->observers_lock);
}

struct watch *db_watch(struct db *db)
{
	return db->watch;
}

uint64_t db_generation(struct db *db)
{
	db_lock(db);
	uint64_t g = db->generation;
	mutex_unlock(&db->lock);
	return g;
}

uint64_t db_wait_change(struct db *db, uint64_t seen, uint64_t deadline_ms)
{
	db_lock(db);
	while (db->generation == seen && cond_wait_until(&db->changed, &db->lock, deadline_ms))
		;
	uint64_t g = db->generation;
	mutex_unlock(&db->lock);
	return g;
}

uint64_t db_tick(const struct db *db, uint64_t now_ms)
{
	uint64_t now = now_ms << 16;
	uint64_t limit = (now_ms + HLC_AHEAD_MS_MAX) << 16;

	if (now > db->hlc)
		return now;
	return db->hlc + 1 < limit ? db->hlc + 1 : now;
}

static uint64_t system_now_ms(void *ctx)
{
	struct timespec now;

	(void)ctx;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t db_now_ms(const struct db *db)
{
	return db->env.now_ms(db->env.ctx);
}

const char *db_name(const struct db *db)
{
	return db->name;
}

const char *db_dir(const struct db *db)
{
	return db->dir;
}

struct id db_id(const struct db *db)
{
	return db->id;
}

uint64_t db_actor(const struct db *db)
{
	return db->actor;
}

struct id db_root(const struct db *db)
{
	return db->root;
}

void db_set_view(struct db *db, const struct db_view *view)
{
	db_lock(db);
	db->view = view ? *view : (struct db_view){0};
	mutex_unlock(&db->lock);
}

bool db_is_unseen(struct db *db)
{
	AUTO(buf_fini) struct buf value = {0};

	return store_read(db->store, SLICE_STR("m unseen"), &value) == 0;
}

void db_set_seen(struct txn *t)
{
	store_delete(t->store, SLICE_STR("m unseen"));
}

/* ---- creating ---------------------------------------------------------------------------------- */

static struct id root_of(const struct id *db)
{
	const struct slice part = SLICE(db->b, sizeof(db->b));

	return digest_id("blaze root", &part, 1);
}

static int write_format(const char *dir, const struct id *id, struct why *why)
{
	AUTO(free_ptr) char *path = xasprintf("%s/format", dir);
	AUTO(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char hex[ID_HEX_BYTES];

	id_hex(id, hex);
	if (fd < 0 || dprintf(fd, "%s %d\n%s\n", FORMAT_WORD, FORMAT_VERSION, hex) < 0 ||
	    fsync(fd) != 0)
		return why_set(why, -errno, "cannot write '%s': %s", path, strerror(errno));
	return 0;
}

/* What a welcome says; a new database is a welcome to itself. */
struct seed {
	struct id id;
	struct slice name;
	bool limited;
	uint8_t root_key[DIGEST_BYTES]; /**< limited: the key of `auth` */
	struct slice founder;		/**< certificate */
	struct slice own;
	struct slice epochs;  /**< 32 bytes each */
	struct slice entries; /**< as db_welcome() wrote them */
	uint64_t entry_count;
};

/* What the store keeps of the members: the founder, this device, the operations and keys of the welcome. */
static int seed_members(struct store_txn *t, const struct seed *seed)
{
	struct reader keys = reader_init(seed->epochs);
	struct reader r = reader_init(seed->entries);

	store_put(t, SLICE_STR("m founder"), seed->founder);
	store_put(t, SLICE_STR("m own"), seed->own);
	while (reader_left(&keys)) {
		AUTO(buf_fini) struct buf at = {0};
		struct slice key = reader_take(&keys, DIGEST_BYTES);
		struct id id = epoch_id(key.data);

		buf_u8(&at, 'E');
		id_write(&at, &id);
		store_put(t, buf_slice(&at), key);
	}
	for (uint64_t i = 0; i < seed->entry_count; i++) {
		AUTO(buf_fini) struct buf key = BUF_SHORT;
		struct slice id = reader_take(&r, 16);
		struct slice value = reader_bytes(&r, AUTH_BYTES_MAX + 16);

		struct reader v = reader_init(value);
		(void)reader_varint(&v);
		if (r.bad || v.bad || !member_op_is_valid(SLICE(v.p, reader_left(&v))))
			return -EBADMSG;
		buf_u8(&key, 'A');
		buf_slice_append(&key, id);
		store_put(t, buf_slice(&key), value);
	}
	return reader_finish(&r);
}

static void seed_root(struct store_txn *t, const struct seed *seed)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	struct opid first = {.lamport = 1};
	struct node root = {
		.id = root_of(&seed->id), .kind = NODE_DIR, .place = first, .visible = true};

	node_touch(&root, NULL, 0, first);
	root.indexed = true;
	node_encode(&root, &value);
	store_put(t, key_node(&key, 'n', &root.id), buf_slice(&value));
	node_fini(&root);
}

static int seed_store(const char *dir, const struct seed *seed, struct why *why)
{
	struct store *s = NULL;
	int r = store_open(dir, &s, why);

	if (r < 0)
		return r;
	struct store_txn *t = store_begin(s);
	store_put(t, SLICE_STR("m name"), seed->name);
	store_put(t, seed->limited ? SLICE_STR("m auth") : SLICE_STR("m key"),
		  SLICE(seed->root_key, sizeof(seed->root_key)));
	r = seed_members(t, seed);
	seed_root(t, seed);
	if (!slice_eq(seed->founder, seed->own)) /* what others have is to be had from them */
		store_put(t, SLICE_STR("m joined"), SLICE("", 0));
	if (r == 0)
		r = store_commit(t);
	else
		store_abort(t);
	if (r == 0)
		r = store_sync(s);
	if (r < 0)
		(void)why_set(why, r, "cannot write the new database in '%s': %s", dir,
			      strerror(-r));
	store_close(s);
	return r;
}

static int create_from(const char *dir, const struct seed *seed, struct why *why)
{
	if (mkdir(dir, 0700) != 0)
		return why_set(why, -errno, "cannot create the directory '%s': %s", dir,
			       strerror(errno));
	int r = store_create(dir, why);
	if (r == 0)
		r = seed_store(dir, seed, why);
	if (r == 0) /* last: without it the directory is not a database */
		r = write_format(dir, &seed->id, why);
	return r;
}

/* The founder's first word, before there is a feed: every welcome passes it on. */
static void put_account(const struct keys *keys, const char *account, struct buf *out)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};
	const struct auth_op op = {.kind = AUTH_SETTING,
				   .name = SLICE_STR(ACCOUNT_SETTING),
				   .value = SLICE_STR(account)};
	struct auth_entry e = {.id = {.lamport = 1, .actor = keys_device(keys)->actor}};

	auth_encode(&op, &e.value);
	member_entry_encode(&e, &key, &value);
	buf_append(out, key.data + 1, key.len - 1);
	buf_bytes(out, buf_slice(&value));
	buf_fini(&e.value);
}

int db_create(const char *dir, const char *name, const struct keys *keys, struct why *why)
{
	return db_create_for(dir, name, keys, NULL, why);
}

int db_create_for(const char *dir, const char *name, const struct keys *keys, const char *account,
		  struct why *why)
{
	AUTO(buf_fini) struct buf entries = {0};
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(free_ptr) struct seed *seed = xcalloc(1, sizeof(*seed));

	random_bytes(seed->id.b, sizeof(seed->id.b));
	random_bytes(seed->root_key, sizeof(seed->root_key));
	seed->name = SLICE_STR(name);
	keys_cert(keys, &cert);
	seed->founder = seed->own = buf_slice(&cert);
	if (account)
		put_account(keys, account, &entries);
	seed->entries = buf_slice(&entries);
	seed->entry_count = account ? 1 : 0;
	int r = create_from(dir, seed, why);
	wipe(seed->root_key, sizeof(seed->root_key));
	return r;
}

static int parse_welcome(struct slice welcome, struct seed *seed)
{
	struct reader r = reader_init(welcome);
	struct device founder;

	if (reader_u8(&r) != DB_WELCOME_VERSION)
		return -EPROTO;
	seed->limited = reader_u8(&r) != 0;
	seed->id = id_read(&r);
	seed->name = reader_bytes(&r, 255);
	reader_copy(&r, seed->root_key, sizeof(seed->root_key));
	seed->founder = reader_bytes(&r, DEVICE_CERT_BYTES_MAX);
	uint64_t epochs = reader_varint_max(&r, EPOCHS_MAX);
	seed->epochs = reader_take(&r, (size_t)epochs * DIGEST_BYTES);
	seed->entry_count = reader_varint_max(&r, welcome.len / 16);
	seed->entries = reader_take(&r, reader_left(&r));
	if (r.bad || device_from_cert(seed->founder, &founder) < 0)
		return -EBADMSG;
	return 0;
}

int db_welcome_id(struct slice welcome, struct id *ret)
{
	AUTO(free_ptr) struct seed *seed = xcalloc(1, sizeof(*seed));
	int r = parse_welcome(welcome, seed);

	if (r == 0)
		*ret = seed->id;
	wipe(seed->root_key, sizeof(seed->root_key));
	return r;
}

int db_welcome_name(struct slice welcome, char **ret)
{
	AUTO(free_ptr) struct seed *seed = xcalloc(1, sizeof(*seed));
	int r = parse_welcome(welcome, seed);

	if (r == 0)
		*ret = xasprintf("%.*s", (int)seed->name.len, (const char *)seed->name.data);
	wipe(seed->root_key, sizeof(seed->root_key));
	return r;
}

int db_welcome_is_limited(struct slice welcome, bool *ret)
{
	AUTO(free_ptr) struct seed *seed = xcalloc(1, sizeof(*seed));
	int r = parse_welcome(welcome, seed);

	if (r == 0)
		*ret = seed->limited;
	wipe(seed->root_key, sizeof(seed->root_key));
	return r;
}

int db_join(const char *dir, const struct keys *keys, struct slice welcome, struct why *why)
{
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(free_ptr) struct seed *seed = xcalloc(1, sizeof(*seed));
	int r = parse_welcome(welcome, seed);

	if (r < 0)
		return why_set(why, r,
			       "the other device's welcome is not understood; is it a newer Blaze?");
	keys_cert(keys, &cert);
	seed->own = buf_slice(&cert);
	r = create_from(dir, seed, why);
	wipe(seed->root_key, sizeof(seed->root_key));
	return r;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static int read_format(const char *dir, struct id *ret, struct why *why)
{
	AUTO(free_ptr) char *path = xasprintf("%s/format", dir);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[128] = "";
	char hex[64] = "";
	int version = 0;

	if (fd < 0 && errno == ENOENT)
		return why_set(why, access(dir, F_OK) == 0 ? -EBADMSG : -ENOENT,
			       "'%s' is not a Blaze database; create one with: blaze init NAME",
			       dir);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return why_set(why, -EIO, "cannot read '%s': %s", path, strerror(errno));
	if (sscanf(text, FORMAT_WORD " %d\n%63s", &version, hex) < 1)
		return why_set(why, -EBADMSG, "'%s' is damaged or not Blaze's; nothing was changed",
			       path);
	if (version > FORMAT_VERSION)
		return why_set(
			why, -EPROTONOSUPPORT,
			"the database in '%s' has format %d, this program knows %d; install a newer "
			"Blaze (nothing was changed)",
			dir, version, FORMAT_VERSION);
	if (version != FORMAT_VERSION || !id_from_hex(hex, ret))
		return why_set(why, -EBADMSG, "'%s' is damaged or not Blaze's; nothing was changed",
			       path);
	return 0;
}

static int take_lock(struct db *db, struct why *why)
{
	AUTO(free_ptr) char *path = xasprintf("%s/lock", db->dir);

	db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (db->lock_fd < 0)
		return why_set(why, -errno, "cannot open '%s': %s", path, strerror(errno));
	if (flock(db->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return why_set(why, -EBUSY, "'%s' is in use by another process", db->dir);
	return 0;
}

static int load_basics(struct db *db)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = store_read(db->store, SLICE_STR("m name"), &value);

	if (r < 0)
		return r;
	db->name = xstrdup(buf_str(&value));
	r = store_read(db->store, SLICE_STR("m key"), &value);
	db->limited = r == -ENOENT;
	if (db->limited)
		r = store_read(db->store, SLICE_STR("m auth"), &value);
	if (r < 0)
		return r;
	if (value.len != sizeof(db->root_key))
		return -EBADMSG;
	memcpy(db->limited ? db->auth_key : db->root_key, value.data, value.len);
	wipe(value.data, value.len);
	db->arrival = 1;
	r = store_read(db->store, SLICE_STR("m counters"), &value);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	struct reader c = reader_init(buf_slice(&value));
	db->record_count = reader_varint(&c);
	db->arrival = reader_varint(&c);
	return reader_finish(&c);
}

/* What checksums cannot see: a log file that vanished takes the newest changes of a feed with it. */
static int check_feeds(struct db *db, struct why *why)
{
	AUTO(buf_fini) struct buf key = BUF_SHORT;
	AUTO(buf_fini) struct buf value = {0};

	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		if (f->sealed == f->seq)
			continue;
		feed_key(&key, 'c', &f->stream, f->actor);
		buf_be64(&key, f->seq);
		if (store_read(db->store, buf_slice(&key), &value) < 0)
			return why_set(
				why, -EBADMSG,
				"the store in '%s' is damaged: a change made here is missing; restore it "
				"from a backup, or pair this device again",
				db->dir);
	}
	return 0;
}

/*
 * A scan ends at the first key behind its prefix. Behind the epochs and the settings come the loose changes, which are
 * deleted when they are sealed, and LevelDB goes through what is left of a million deleted keys to find one that is
 * not. So there is one right before them.
 */
static int put_fence(struct db *db)
{
	AUTO(buf_fini) struct buf value = {0};
	int r = store_read(db->store, SLICE_STR("T"), &value);

	if (r != -ENOENT)
		return r;
	struct store_txn *t = store_begin(db->store);
	store_put(t, SLICE_STR("T"), SLICE("", 0));
	r = store_commit(t);
	return r == -ENOSPC ? 0 : r; /* it is only slower without */
}

static int load(struct db *db, struct why *why)
{
	int r = load_basics(db);

	if (r == 0)
		r = put_fence(db);
	if (r == 0) {
		db->root = root_of(&db->id);
		db->root_stream = feed_stream_id(db, "root", &db->root);
		db->auth_stream = feed_stream_id(db, "auth", &db->root);
		db->lamport = 1;
		r = feed_load(db);
	}
	if (r == 0)
		r = member_load(db);
	if (r == 0)
		r = quarantine_load(db);
	if (r == 0)
		r = snapshot_load(db);
	if (r == 0)
		r = txn_load_wants(db);
	db->follow_due = db->second_due = true; /* until somebody has looked */
	if (r < 0)
		return why_set(
			why, -EBADMSG,
			"the store in '%s' is damaged; restore the directory from a backup, or move it "
			"away and pair this device again",
			db->dir);
	r = check_feeds(db, why);
	struct device own;
	if (r == 0 &&
	    (device_from_cert(buf_slice(&db->own_cert), &own) < 0 || own.actor != db->actor))
		return why_set(why, -EACCES,
			       "this device's key is not a member of '%s'; was device.key replaced?",
			       db->name);
	return r;
}

static int open_chunks(struct db *db, struct why *why)
{
	chunk_keys_init(&db->chunk_keys, db->root_key);
	int r = packs_open(db->dir, db->store, &db->chunk_keys, &db->packs);

	if (r == 0)
		db_chunks_init(db);
	return r < 0 ? why_set(why, r, "cannot open '%s/chunks': %s", db->dir, strerror(-r)) : 0;
}

static void db_free(struct db *db)
{
	snapshot_fini(db);
	changes_forget(db);
	packs_close(db->packs);
	store_close(db->store);
	wants_fini(&db->wants);
	for (size_t i = 0; i < countof(db->chunk_cache.items); i++)
		buf_fini(&db->chunk_cache.items[i].bytes);
	wipe(&db->chunk_keys, sizeof(db->chunk_keys));
	mutex_fini(&db->chunk_cache.lock);
	mutex_fini(&db->flush_lock);
	mutex_fini(&db->collect_lock);
	strata_cache_drop(db);
	member_fini(db);
	free(db->flags);
	free(db->kept);
	epoch_fini(db);
	grant_fini(db);
	for (size_t i = 0; i < db->acked_count; i++)
		free(db->acked[i].pos);
	tree_dirs_forget(db);
	free(db->acked);
	free(db->feeds);
	free(db->durable);
	wipe(db->root_key, sizeof(db->root_key));
	cond_fini(&db->changed);
	mutex_fini(&db->lock);
	mutex_fini(&db->observers_lock);
	watch_destroy(db->watch);
	close_fd(&db->lock_fd);
	free(db->name);
	free(db->dir);
	free(db);
}

int db_open(const char *dir, const struct keys *keys, const struct db_env *env, struct db **ret,
	    struct why *why)
{
	struct db *db = xcalloc(1, sizeof(*db));

	digest_init();
	random_bytes(&db->salt, sizeof(db->salt));
	db->lock_fd = -1;
	db->dir = xstrdup(dir);
	db->keys = keys;
	db->actor = keys_device(keys)->actor;
	db->env = env ? *env : (struct db_env){0};
	if (!db->env.now_ms)
		db->env.now_ms = system_now_ms;
	if (!db->env.stratum_changes)
		db->env.stratum_changes = STRATUM_CHANGES;
	mutex_init(&db->observers_lock);
	db->watch = watch_create();
	mutex_init(&db->flush_lock);
	mutex_init(&db->collect_lock);
	mutex_init(&db->chunk_cache.lock);
	mutex_init(&db->lock);
	cond_init(&db->changed);
	int r = read_format(dir, &db->id, why);
	if (r == 0)
		r = take_lock(db, why);
	if (r == 0)
		r = store_open(dir, &db->store, why);
	if (r == 0)
		r = load(db, why);
	if (r == 0)
		r = open_chunks(db, why);
	if (r == 0)
		r = db_sync(db);
	if (r < 0) {
		db_free(db);
		return r;
	}
	*ret = db;
	return 0;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	(void)db_chunks_flush(db);
	(void)db_seal(db);
	db_free(db);
}

void db_tend(struct db *db)
{
	store_tend(db->store);
}

void db_tend_stop(struct db *db)
{
	store_tend_stop(db->store);
}

int db_sync(struct db *db)
{
	int r = db_chunks_flush(db);

	if (r < 0)
		return r;
	db_lock(db);
	struct feed_pos *now = xcalloc(db->feed_count, sizeof(*now));
	size_t n = 0;
	for (size_t i = 0; i < db->feed_count; i++) {
		const struct feed *f = &db->feeds[i];

		/* What lacks chunks is not here; but where none will ever come, it is as much here as it can be. */
		uint64_t seq = db->limited ? f->seq
					   : wants_limit(&db->wants, &f->stream, f->actor, f->seq);

		if (!snapshot_covers(db, f))
			continue;

		now[n++] = (struct feed_pos){.stream = f->stream, .actor = f->actor, .seq = seq};
	}
	mutex_unlock(&db->lock);

	r = store_sync(db->store);

	db_lock(db);
	if (r < 0) {
		free(now);
		mutex_unlock(&db->lock);
		return r;
	}
	bool news = n != db->durable_count || (n && memcmp(now, db->durable, n * sizeof(*now)) != 0);
	free(db->durable);
	db->durable = now;
	db->durable_count = n;
	if (news)
		db_unlock_changed(db);
	else
		mutex_unlock(&db->lock);
	return 0;
}

size_t db_durable(struct db *db, struct feed_pos **ret)
{
	db_lock(db);
	size_t n = db->durable_count;
	*ret = xmemdup(db->durable, n * sizeof(*db->durable));
	mutex_unlock(&db->lock);
	return n;
}

/* ---- settings ---------------------------------------------------------------------------------- */

static void setting_key(struct buf *key, const char *name)
{
	buf_u8(key, 'S');
	buf_append(key, name, strlen(name));
}

int db_get_setting(struct db *db, const char *key, char **ret)
{
	AUTO(buf_fini) struct buf k = {0};
	AUTO(buf_fini) struct buf value = {0};

	setting_key(&k, key);
	int r = store_read(db->store, buf_slice(&k), &value);
	if (r == 0)
		*ret = xstrdup(buf_str(&value));
	return r;
}

int db_set_setting(struct db *db, const char *key, const char *value)
{
	AUTO(buf_fini) struct buf k = {0};
	struct txn *t = db_begin(db);

	setting_key(&k, key);
	store_put(t->store, buf_slice(&k), SLICE_STR(value));
	return db_commit(t);
}

static void endpoint_key(uint64_t actor, char out[40])
{
	(void)snprintf(out, 40, "endpoint.%016llx", (unsigned long long)actor);
}

void db_peer_endpoint(struct db *db, uint64_t actor, char out[256])
{
	char key[40];
	char *value = NULL;

	out[0] = 0;
	endpoint_key(actor, key);
	if (db_get_setting(db, key, &value) == 0)
		(void)snprintf(out, 256, "%s", value);
	free(value);
}

int db_set_peer_endpoint(struct db *db, uint64_t actor, const char *endpoint)
{
	char key[40];

	endpoint_key(actor, key);
	return db_set_setting(db, key, endpoint);
}
