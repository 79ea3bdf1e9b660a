/* .blaze: a table of files, each made of one sentence or value, and snapshots of them. */
#include "fs/special.h"

#include "core/db_chunks.h"
#include "core/report_topology.h"
#include "core/thread.h"
#include "fs/special_conflicts.h"
#include "fs/special_list.h"
#include "fs/special_past.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define OWN_BIT (UINT64_C(1) << 63)

/** Directories first. KIND_NONE so that no inode number is just bit 63. */
enum kind {
	KIND_NONE,
	KIND_TOP,
	KIND_PEERS,
	KIND_PEER,
	KIND_CONFLICTS,
	KIND_README,
	KIND_STATUS,
	KIND_STATUS_JSON,
	KIND_STATE,
	KIND_TOPOLOGY_JSON,
	KIND_TOPOLOGY_DOT,
	KIND_VERSION,
	KIND_CONFLICT,
	KIND_PAST, /**< a file or directory of special_past.h */
	KIND_PEER_STATE,
	KIND_PEER_PATH,
	KIND_PEER_RTT,
	KIND_PEER_BEHIND,
	KIND_PEER_LAST_SEEN,
	KIND_PEER_FINGERPRINT,
	KIND_COUNT
};

struct snapshot {
	unsigned ref_count; /* protected by special->lock */
	uint64_t made_ms;   /* protected by special->lock */
	struct timespec modified;
	struct buf content;
	struct manifest *chunks; /**< of a large value that lost: in place of content */
};

/** A device that was looked up once keeps its slot, because its inode numbers contain it. */
struct slot {
	uint64_t actor; /**< 0 in slot 0: the files that belong to no device */
	struct snapshot *last[KIND_COUNT];
};

struct special {
	struct special_options opt;
	struct timespec started;
	struct special_conflicts *conflicts;
	struct special_past *past;
	struct mutex lock;
	struct slot *slots; /* protected by lock */
	size_t slot_count;  /* protected by lock */
};

struct special_handle {
	struct db *db;
	struct snapshot *snapshot;
};

/** What an inode number says. */
struct where {
	enum kind kind;
	size_t slot;
	uint64_t actor;
	struct special_conflict conflict; /**< of KIND_CONFLICT only */
};

/* ---- what the files say ---------------------------------------------------------------------- */

static struct report_source source(const struct special *s)
{
	struct report_source src = s->opt.report;

	if (s->opt.vfs) {
		src.held_count = vfs_held_count(s->opt.vfs);
		src.too_large = vfs_too_large;
		src.files = s->opt.vfs;
	}
	return src;
}

static struct peer_status peer_status_of(const struct special *s, uint64_t actor)
{
	struct peer_status p = {.actor = actor, .state = PEER_OFFLINE, .rtt_us = -1};

	if (s->opt.report.status)
		(void)status_get(s->opt.report.status, actor, &p);
	return p;
}

static void write_peer(const struct special *s, const struct where *w, struct buf *out)
{
	struct peer_status p = peer_status_of(s, w->actor);
	bool connected = p.state == PEER_SYNCING || p.state == PEER_SYNCED;

	if (w->kind == KIND_PEER_STATE)
		buf_printf(out, "%s\n", peer_state_name(p.state));
	else if (w->kind == KIND_PEER_PATH)
		buf_printf(out, "%s\n", connected ? peer_path_name(p.path) : "none");
	else if (w->kind == KIND_PEER_RTT)
		special_put_rtt(&p, out);
	else if (w->kind == KIND_PEER_BEHIND)
		buf_printf(out, "%llu\n",
			   (unsigned long long)db_peer_behind(s->opt.report.db, w->actor));
	else if (w->kind == KIND_PEER_LAST_SEEN)
		special_put_seen(&p, out);
	else if (w->kind == KIND_PEER_FINGERPRINT)
		special_put_fingerprint(s->opt.report.db, w->actor, out);
}

static void write_readme(const struct special *s, const struct where *w, struct buf *out)
{
	(void)s;
	(void)w;
	buf_append(out, special_readme, strlen(special_readme));
}

/** Appends the newline that a text file ends with. */
static void end_line(struct buf *out)
{
	if (out->len == 0 || out->data[out->len - 1] != '\n')
		buf_u8(out, '\n');
}

static void write_status(const struct special *s, const struct where *w, struct buf *out)
{
	struct report_source src = source(s);

	if (w->kind == KIND_STATUS)
		report_text(&src, out);
	else if (w->kind == KIND_STATUS_JSON)
		report_json(&src, out);
	else if (w->kind == KIND_TOPOLOGY_JSON)
		report_topology_json(&src, out);
	else if (w->kind == KIND_TOPOLOGY_DOT)
		report_topology_dot(&src, out);
	else
		buf_printf(out, "%s", report_state(&src));
	end_line(out);
}

static void write_version(const struct special *s, const struct where *w, struct buf *out)
{
	(void)w;
	buf_printf(out, "%s\n", s->opt.version);
}

/** All names but those of devices and conflicts. */
static const struct entry {
	const char *name;
	enum kind kind;
	enum kind parent;
	void (*write)(const struct special *s, const struct where *w, struct buf *out);
} entries[] = {
	{"README", KIND_README, KIND_TOP, write_readme},
	{"status", KIND_STATUS, KIND_TOP, write_status},
	{"status.json", KIND_STATUS_JSON, KIND_TOP, write_status},
	{"state", KIND_STATE, KIND_TOP, write_status},
	{"topology.json", KIND_TOPOLOGY_JSON, KIND_TOP, write_status},
	{"topology.dot", KIND_TOPOLOGY_DOT, KIND_TOP, write_status},
	{"version", KIND_VERSION, KIND_TOP, write_version},
	{"peers", KIND_PEERS, KIND_TOP, NULL},
	{"conflicts", KIND_CONFLICTS, KIND_TOP, NULL},
	{"state", KIND_PEER_STATE, KIND_PEER, write_peer},
	{"path", KIND_PEER_PATH, KIND_PEER, write_peer},
	{"rtt_ms", KIND_PEER_RTT, KIND_PEER, write_peer},
	{"behind", KIND_PEER_BEHIND, KIND_PEER, write_peer},
	{"last_seen", KIND_PEER_LAST_SEEN, KIND_PEER, write_peer},
	{"fingerprint", KIND_PEER_FINGERPRINT, KIND_PEER, write_peer},
};

static const char *const past_tops[] = {"at", "deleted", "history"};

static bool is_dir(enum kind kind)
{
	return kind < KIND_README;
}

static bool is_directory(const struct where *w)
{
	return is_dir(w->kind) || (w->kind == KIND_CONFLICT && w->conflict.is_dir);
}

/* conflicts/ or a directory in it. */
static bool has_conflicts(const struct where *w)
{
	return w->kind == KIND_CONFLICTS || (w->kind == KIND_CONFLICT && w->conflict.is_dir);
}

static const struct entry *entry_of(enum kind kind)
{
	for (size_t i = 0; i < countof(entries); i++) {
		if (entries[i].kind == kind)
			return &entries[i];
	}
	return NULL;
}

/* ---- inode numbers --------------------------------------------------------------------------- */

/** number: a slot, or that of a conflict. */
static uint64_t ino_of(enum kind kind, uint64_t number)
{
	assert(number >> SPECIAL_CONFLICT_BITS == 0);
	return OWN_BIT | number << 8 | (uint64_t)kind;
}

static uint64_t ino_from_where(const struct where *w)
{
	return ino_of(w->kind, w->kind == KIND_CONFLICT ? w->conflict.number : w->slot);
}

static bool is_past(uint64_t ino)
{
	return special_owns(ino) && (ino & 0xff) == KIND_PAST;
}

static uint64_t past_number(uint64_t ino)
{
	return (ino & ~OWN_BIT) >> 8;
}

static int where_from_ino(struct special *s, uint64_t ino, struct where *ret)
{
	uint64_t number = (ino & ~OWN_BIT) >> 8;
	struct where w = {.kind = (enum kind)(ino & 0xff), .slot = (size_t)number};
	bool of_peer = w.kind == KIND_PEER || w.kind >= KIND_PEER_STATE;

	if (!special_owns(ino) || w.kind == KIND_NONE || w.kind >= KIND_COUNT || w.kind == KIND_PAST)
		return -ENOENT;
	if (w.kind == KIND_CONFLICT) {
		*ret = (struct where){.kind = KIND_CONFLICT};
		return special_conflicts_get(s->conflicts, number, &ret->conflict);
	}
	if (of_peer != (w.slot > 0))
		return -ENOENT;
	mutex_lock(&s->lock);
	bool known = w.slot < s->slot_count;
	if (known)
		w.actor = s->slots[w.slot].actor;
	mutex_unlock(&s->lock);
	if (!known)
		return -ENOENT;
	*ret = w;
	return 0;
}

/** The slot of a device; 0 when there are too many. */
static size_t slot_of(struct special *s, uint64_t actor)
{
	size_t i = 1;

	assert(actor);
	mutex_lock(&s->lock);
	while (i < s->slot_count && s->slots[i].actor != actor)
		i++;
	if (i == s->slot_count && i <= SPECIAL_PEERS_MAX) {
		s->slots = xreallocarray(s->slots, i + 1, sizeof(*s->slots));
		s->slots[i] = (struct slot){.actor = actor};
		s->slot_count++;
	}
	bool found = i < s->slot_count;
	mutex_unlock(&s->lock);
	return found ? i : 0;
}

/* ---- names of devices ------------------------------------------------------------------------ */

static int find_peer(struct special *s, const char *name, size_t *ret_slot)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->opt.report.db, &peers);
	size_t slot = 0;

	for (size_t i = 0; i < n && !slot; i++) {
		char shown[SPECIAL_PEER_NAME_BYTES];

		special_peer_name(peers, i, shown);
		if (strcmp(shown, name) == 0)
			slot = slot_of(s, peers[i].actor);
	}
	free(peers);
	if (!slot)
		return -ENOENT;
	*ret_slot = slot;
	return 0;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static void unref_locked(struct snapshot *snap)
{
	if (!snap || --snap->ref_count > 0)
		return;
	buf_fini(&snap->content);
	manifest_unref(snap->chunks);
	free(snap);
}

/** Puts a new snapshot in the place of the last one, which gives it its time if nothing changed. */
static void install_locked(struct special *s, const struct where *w, struct snapshot *snap)
{
	struct snapshot **last = &s->slots[w->slot].last[w->kind];

	if (*last && slice_eq(buf_slice(&(*last)->content), buf_slice(&snap->content)))
		snap->modified = (*last)->modified;
	unref_locked(*last);
	*last = snap;
	snap->ref_count++;
}

/** A snapshot not older than SPECIAL_KEEP_MS, with one reference for the caller. */
static struct snapshot *snapshot_ref(struct special *s, const struct where *w)
{
	const struct entry *e = entry_of(w->kind);
	uint64_t now_ms = monotonic_ms();

	assert(e && e->write);
	mutex_lock(&s->lock);
	struct snapshot *snap = s->slots[w->slot].last[w->kind];
	bool fresh = snap && now_ms - snap->made_ms <= SPECIAL_KEEP_MS;
	if (fresh)
		snap->ref_count++;
	mutex_unlock(&s->lock);
	if (fresh)
		return snap;

	/* Made without the lock: writing takes the database's. */
	snap = xcalloc(1, sizeof(*snap));
	snap->ref_count = 1;
	snap->made_ms = now_ms;
	if (w->kind == KIND_README || w->kind == KIND_VERSION)
		snap->modified = s->started;
	else
		(void)clock_gettime(CLOCK_REALTIME, &snap->modified);
	e->write(s, w, &snap->content);
	mutex_lock(&s->lock);
	install_locked(s, w, snap);
	mutex_unlock(&s->lock);
	return snap;
}

/** Conflicts can be large: their bytes are kept by those who have them open, and nowhere else. */
static int conflict_ref(struct special *s, const struct where *w, struct snapshot **ret)
{
	struct snapshot *snap = xcalloc(1, sizeof(*snap));
	int r = special_conflicts_read(s->conflicts, w->conflict.number, &snap->content,
				       &snap->chunks);

	snap->ref_count = 1;
	if (r < 0) {
		buf_fini(&snap->content);
		free(snap);
		return r;
	}
	*ret = snap;
	return 0;
}

static void snapshot_unref(struct special *s, struct snapshot *snap)
{
	mutex_lock(&s->lock);
	unref_locked(snap);
	mutex_unlock(&s->lock);
}

/* ---- lookup and attributes ------------------------------------------------------------------- */

static void fill_stat(struct special *s, const struct where *w, struct stat *ret)
{
	struct stat st = {
		.st_ino = ino_from_where(w),
		.st_uid = s->opt.uid,
		.st_gid = s->opt.gid,
		.st_blksize = 4096,
		.st_nlink = 1,
	};

	if (is_directory(w)) {
		/* What lost is settled by removing it. */
		st.st_mode = S_IFDIR | (has_conflicts(w) ? 0700 : 0500);
		st.st_nlink = 2;
		st.st_mtim = s->started;
	} else if (w->kind == KIND_CONFLICT) {
		uint64_t ms = w->conflict.time_ms;

		st.st_mode = S_IFREG | 0400;
		st.st_size = (off_t)w->conflict.size;
		st.st_mtim.tv_sec = (time_t)(ms / 1000);
		st.st_mtim.tv_nsec = (long)(ms % 1000 * 1000000);
	} else {
		struct snapshot *snap = snapshot_ref(s, w);

		st.st_mode = S_IFREG | 0400;
		st.st_size = (off_t)snap->content.len;
		st.st_mtim = snap->modified;
		snapshot_unref(s, snap);
	}
	st.st_blocks = (st.st_size + 511) / 512;
	st.st_ctim = st.st_mtim;
	st.st_atim = st.st_mtim;
	*ret = st;
}

static int past_stat(const struct special *s, int r, const struct special_past_info *info,
		     struct stat *ret)
{
	if (r < 0)
		return r;
	special_past_stat(info, ret);
	ret->st_ino = ino_of(KIND_PAST, info->number);
	ret->st_uid = s->opt.uid;
	ret->st_gid = s->opt.gid;
	return 0;
}

/* One of at/, deleted/ and history/; -ENOENT for other names. */
static int past_top(struct special *s, const char *name, struct stat *ret)
{
	struct special_past_info info;

	for (size_t i = 0; i < countof(past_tops); i++) {
		if (strcmp(past_tops[i], name) == 0)
			return past_stat(
				s,
				special_past_get(s->past,
						 special_past_number((enum special_past_top)i),
						 &info),
				&info, ret);
	}
	return -ENOENT;
}

bool special_is_reserved(const char *name)
{
	return strncasecmp(name, SPECIAL_NAME, strlen(SPECIAL_NAME)) == 0;
}

static int find(struct special *s, const struct where *parent, const char *name, struct where *ret)
{
	struct where w = {.slot = parent->slot, .actor = parent->actor};

	if (!is_directory(parent))
		return -ENOTDIR;
	if (parent->kind == KIND_PEERS) {
		int r = find_peer(s, name, &w.slot);

		if (r < 0)
			return r;
		return where_from_ino(s, ino_of(KIND_PEER, w.slot), ret);
	}
	if (has_conflicts(parent)) {
		w.kind = KIND_CONFLICT;
		*ret = w;
		return special_conflicts_find(s->conflicts, parent->conflict.number, name,
					      &ret->conflict);
	}
	for (size_t i = 0; i < countof(entries); i++) {
		if (entries[i].parent == parent->kind && strcmp(entries[i].name, name) == 0) {
			w.kind = entries[i].kind;
			*ret = w;
			return 0;
		}
	}
	return -ENOENT;
}

int special_lookup(struct special *s, uint64_t parent, const char *name, struct stat *ret)
{
	struct where w = {.kind = KIND_TOP};
	struct where dir;
	int r;

	if (is_past(parent)) {
		struct special_past_info info;

		r = special_past_lookup(s->past, past_number(parent), name, &info);
		return past_stat(s, r, &info, ret);
	}
	if (parent == ino_of(KIND_TOP, 0) && past_top(s, name, ret) == 0)
		return 0;
	if (parent == VFS_ROOT_INO) {
		if (strcmp(name, SPECIAL_NAME) != 0)
			return -ENOENT;
	} else {
		r = where_from_ino(s, parent, &dir);
		if (r >= 0)
			r = find(s, &dir, name, &w);
		if (r < 0)
			return r;
	}
	fill_stat(s, &w, ret);
	return 0;
}

int special_getattr(struct special *s, uint64_t ino, struct stat *ret)
{
	struct where w;

	if (is_past(ino)) {
		struct special_past_info info;
		int found = special_past_get(s->past, past_number(ino), &info);

		return past_stat(s, found, &info, ret);
	}
	int r = where_from_ino(s, ino, &w);
	if (r < 0)
		return r;
	fill_stat(s, &w, ret);
	return 0;
}

void special_forget(struct special *s, uint64_t ino, uint64_t count)
{
	if (is_past(ino))
		special_past_forget(s->past, past_number(ino), count);
}

int special_move_out(struct special *s, uint64_t parent, const char *name, const struct id *new_dir,
		     const char *new_name)
{
	if (is_past(parent))
		return special_past_move_out(s->past, past_number(parent), name, new_dir, new_name);
	struct where w;
	if (where_from_ino(s, parent, &w) < 0 || !has_conflicts(&w))
		return -EPERM;
	const struct special_conflict_place from = {.in = w.conflict.number, .name = name};
	return special_conflicts_use(s->conflicts, &from, new_dir, new_name);
}

int special_unlink(struct special *s, uint64_t parent, const char *name)
{
	struct where w;

	if (where_from_ino(s, parent, &w) < 0 || !has_conflicts(&w))
		return -EPERM;
	return special_conflicts_drop(s->conflicts, w.conflict.number, name);
}

int special_readlink(struct special *s, uint64_t ino, struct buf *ret)
{
	struct manifest *none = NULL;
	struct special_past_info info;
	int r = is_past(ino) ? special_past_get(s->past, past_number(ino), &info) : -EINVAL;

	if (r == 0 && !S_ISLNK(info.mode))
		r = -EINVAL;
	return r < 0 ? r : special_past_read(s->past, past_number(ino), ret, &none);
}

/* ---- files ----------------------------------------------------------------------------------- */

/** What was shown last, however old; NULL = nothing was. */
static struct snapshot *last_ref(struct special *s, const struct where *w)
{
	mutex_lock(&s->lock);
	struct snapshot *snap = s->slots[w->slot].last[w->kind];
	if (snap)
		snap->ref_count++;
	mutex_unlock(&s->lock);
	return snap;
}

static int open_past(struct special *s, uint64_t ino, struct special_handle **ret)
{
	struct special_handle *h = xcalloc(1, sizeof(*h));

	h->db = s->opt.report.db;
	h->snapshot = xcalloc(1, sizeof(*h->snapshot));
	h->snapshot->ref_count = 1;
	int r = special_past_read(s->past, past_number(ino), &h->snapshot->content,
				  &h->snapshot->chunks);
	if (r < 0)
		special_close(s, h);
	else
		*ret = h;
	return r;
}

static int open_as(struct special *s, uint64_t ino, bool shown, struct special_handle **ret)
{
	struct where w;

	if (is_past(ino))
		return open_past(s, ino, ret);
	int r = where_from_ino(s, ino, &w);
	if (r < 0)
		return r;
	if (is_dir(w.kind))
		return -EISDIR;
	struct snapshot *snap = NULL;
	if (w.kind == KIND_CONFLICT)
		r = conflict_ref(s, &w, &snap);
	else if (shown)
		snap = last_ref(s, &w);
	if (r < 0)
		return r;
	*ret = xcalloc(1, sizeof(**ret));
	(*ret)->snapshot = snap ? snap : snapshot_ref(s, &w);
	(*ret)->db = s->opt.report.db;
	return 0;
}

int special_open(struct special *s, uint64_t ino, struct special_handle **ret)
{
	return open_as(s, ino, false, ret);
}

int special_open_shown(struct special *s, uint64_t ino, struct special_handle **ret)
{
	return open_as(s, ino, true, ret);
}

int special_read(const struct special_handle *h, uint64_t offset, size_t size, struct buf *ret)
{
	struct slice all = buf_slice(&h->snapshot->content);

	buf_clear(ret);
	if (h->snapshot->chunks)
		return db_chunks_read(h->db, h->snapshot->chunks, offset, size, ret);
	if (offset >= all.len)
		return 0;
	size_t left = all.len - (size_t)offset;
	buf_append(ret, all.data + offset, size < left ? size : left);
	return 0;
}

int special_lseek(const struct special_handle *h, uint64_t offset, int whence, uint64_t *ret)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EOPNOTSUPP;
	const struct snapshot *snap = h->snapshot;
	uint64_t size = snap->chunks ? snap->chunks->size : snap->content.len;
	if (offset >= size)
		return -ENXIO;
	*ret = whence == SEEK_DATA ? offset : size;
	return 0;
}

void special_close(struct special *s, struct special_handle *h)
{
	snapshot_unref(s, h->snapshot);
	free(h);
}

/* ---- directories ----------------------------------------------------------------------------- */

static void list_peers(struct special *s, struct special_dir *d)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->opt.report.db, &peers);

	for (size_t i = 0; i < n; i++) {
		char name[SPECIAL_PEER_NAME_BYTES];
		size_t slot = slot_of(s, peers[i].actor);

		if (!slot)
			break;
		special_peer_name(peers, i, name);
		special_list_add(d, name, ino_of(KIND_PEER, slot), S_IFDIR);
	}
	free(peers);
}

static void list_conflicts(struct special *s, uint64_t dir, struct special_dir *d)
{
	struct special_conflict *all = NULL;
	size_t n = special_conflicts_list(s->conflicts, dir, &all);

	for (size_t i = 0; i < n; i++)
		special_list_add(d, all[i].name, ino_of(KIND_CONFLICT, all[i].number),
				 all[i].is_dir ? S_IFDIR : S_IFREG);
	free(all);
}

static void list_past(void *ctx, const char *name, uint64_t number, mode_t type)
{
	special_list_add(ctx, name, ino_of(KIND_PAST, number), type);
}

static int open_past_dir(struct special *s, uint64_t ino, struct special_dir **ret)
{
	struct special_dir *d = special_list_create();

	special_list_add(d, ".", ino, S_IFDIR);
	special_list_add(d, "..", ino_of(KIND_TOP, 0), S_IFDIR);
	int r = special_past_list(s->past, past_number(ino), list_past, d);
	if (r < 0)
		special_closedir(s, d);
	else
		*ret = d;
	return r;
}

int special_opendir(struct special *s, uint64_t ino, struct special_dir **ret)
{
	struct where w;

	if (is_past(ino))
		return open_past_dir(s, ino, ret);
	int r = where_from_ino(s, ino, &w);
	if (r < 0)
		return r;
	if (!is_directory(&w))
		return -ENOTDIR;
	uint64_t up = w.kind == KIND_TOP ? VFS_ROOT_INO
					 : ino_of(w.kind == KIND_PEER ? KIND_PEERS : KIND_TOP, 0);
	struct special_dir *d = special_list_create();
	special_list_add(d, ".", ino, S_IFDIR);
	special_list_add(d, "..", up, S_IFDIR);
	for (size_t i = 0; i < countof(entries); i++) {
		const struct entry *e = &entries[i];

		if (e->parent == w.kind)
			special_list_add(d, e->name, ino_of(e->kind, w.slot),
					 is_dir(e->kind) ? S_IFDIR : S_IFREG);
	}
	for (size_t i = 0; w.kind == KIND_TOP && i < countof(past_tops); i++)
		special_list_add(d, past_tops[i],
				 ino_of(KIND_PAST, special_past_number((enum special_past_top)i)),
				 S_IFDIR);
	if (w.kind == KIND_PEERS)
		list_peers(s, d);
	if (has_conflicts(&w))
		list_conflicts(s, w.conflict.number, d);
	*ret = d;
	return 0;
}

/* ---- lifetime -------------------------------------------------------------------------------- */

struct special *special_create(const struct special_options *options)
{
	struct special *s = xcalloc(1, sizeof(*s));

	assert(options->report.db && options->version);
	s->opt = *options;
	mutex_init(&s->lock);
	(void)clock_gettime(CLOCK_REALTIME, &s->started);
	s->slots = xcalloc(1, sizeof(*s->slots));
	s->slot_count = 1;
	s->conflicts = special_conflicts_create(options->report.db);
	s->past = special_past_create(options->report.db);
	return s;
}

void special_destroy(struct special *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->slot_count; i++) {
		for (size_t k = 0; k < KIND_COUNT; k++)
			unref_locked(s->slots[i].last[k]);
	}
	free(s->slots);
	special_conflicts_destroy(s->conflicts);
	special_past_destroy(s->past);
	mutex_fini(&s->lock);
	free(s);
}
