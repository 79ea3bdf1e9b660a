/* .blaze: a table of files, each made of one sentence or value, and snapshots of them. */
#include "fs/special.h"

#include "core/thread.h"
#include "fs/special_conflicts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define OWN_BIT (UINT64_C(1) << 63)
#define PEER_NAME_BYTES DEVICE_LABEL_BYTES

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
	KIND_VERSION,
	KIND_CONFLICT,
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
	struct mutex lock;
	struct slot *slots; /* protected by lock */
	size_t slot_count;  /* protected by lock */
};

struct special_handle {
	struct db *db;
	struct snapshot *snapshot;
};

struct listed {
	char name[NAME_BYTES_MAX + 1];
	uint64_t ino;
	mode_t type;
};

struct special_dir {
	struct listed *entries;
	size_t count;
};

/** What an inode number says. */
struct where {
	enum kind kind;
	size_t slot;
	uint64_t actor;
	struct special_conflict conflict; /**< of KIND_CONFLICT only */
};

/* ---- what the files say ---------------------------------------------------------------------- */

static const char readme[] =
	"This directory tells how the database mounted here is doing. It exists only in the mount:\n"
	"listings of the mount do not show it, nothing in it is synced, nothing in it can be written.\n"
	"\n"
	"  status       is it synced? one sentence, then problems, then a table of the other devices\n"
	"  status.json  the same for programs, as one JSON object\n"
	"  state        the same as one word: synced, syncing, offline or error\n"
	"  version      the version of blaze that serves this mount\n"
	"  peers/       one directory for every other device of this database, with one value a file:\n"
	"    state        offline, connecting, syncing or synced\n"
	"    path         how it is reached: direct or none\n"
	"    rtt_ms       round trip in milliseconds, -1 if unknown\n"
	"    behind       changes made here that it has not got yet\n"
	"    last_seen    when it was last connected (UTC), or never\n"
	"    fingerprint  its identity, as shown by `blaze init` there\n"
	"  conflicts/   what lost when two devices changed the same thing, until a save changes it again:\n"
	"    PATH@DEVICE  the bytes that DEVICE saved; in PATH, / is %2F and % is %25\n"
	"    PATH@fields  fields of a JSON file, one a line: field, value, device, time (UTC)\n"
	"\n"
	"`blaze status` prints status; `blaze wait` waits until every change made here is on the\n"
	"other devices. The attributes blaze.id and blaze.rev of a file tell which record it is:\n"
	"getfattr -n blaze.id FILE.\n";

static struct report_source source(const struct special *s)
{
	struct report_source src = s->opt.report;

	if (s->opt.vfs)
		src.held_count = vfs_held_count(s->opt.vfs);
	return src;
}

static void write_time(uint64_t ms, struct buf *out)
{
	if (ms == 0)
		buf_printf(out, "never");
	else
		special_conflicts_put_time(ms, out);
	buf_u8(out, '\n');
}

static struct peer_status peer_status_of(const struct special *s, uint64_t actor)
{
	struct peer_status p = {.actor = actor, .state = PEER_OFFLINE, .rtt_us = -1};

	if (s->opt.report.status)
		(void)status_get(s->opt.report.status, actor, &p);
	return p;
}

static void write_rtt(const struct peer_status *p, struct buf *out)
{
	if (p->rtt_us < 0)
		buf_printf(out, "-1\n");
	else
		buf_printf(out, "%lld.%03d\n", (long long)(p->rtt_us / 1000),
			   (int)(p->rtt_us % 1000));
}

static void write_fingerprint(const struct special *s, uint64_t actor, struct buf *out)
{
	struct device d;
	char label[DEVICE_LABEL_BYTES];

	if (db_member(s->opt.report.db, actor, &d) < 0)
		return;
	device_label(&d, label);
	buf_printf(out, "%s\n", label);
}

static void write_peer(const struct special *s, const struct where *w, struct buf *out)
{
	struct peer_status p = peer_status_of(s, w->actor);
	bool connected = p.state == PEER_SYNCING || p.state == PEER_SYNCED;

	if (w->kind == KIND_PEER_STATE)
		buf_printf(out, "%s\n", peer_state_name(p.state));
	else if (w->kind == KIND_PEER_PATH)
		buf_printf(out, "%s\n", connected ? "direct" : "none");
	else if (w->kind == KIND_PEER_RTT)
		write_rtt(&p, out);
	else if (w->kind == KIND_PEER_BEHIND)
		buf_printf(out, "%llu\n",
			   (unsigned long long)db_peer_behind(s->opt.report.db, w->actor));
	else if (w->kind == KIND_PEER_LAST_SEEN)
		write_time(p.last_seen_ms, out);
	else if (w->kind == KIND_PEER_FINGERPRINT)
		write_fingerprint(s, w->actor, out);
}

static void write_readme(const struct special *s, const struct where *w, struct buf *out)
{
	(void)s;
	(void)w;
	buf_append(out, readme, strlen(readme));
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

static bool is_dir(enum kind kind)
{
	return kind < KIND_README;
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

static int where_from_ino(struct special *s, uint64_t ino, struct where *ret)
{
	uint64_t number = (ino & ~OWN_BIT) >> 8;
	struct where w = {.kind = (enum kind)(ino & 0xff), .slot = (size_t)number};
	bool of_peer = w.kind == KIND_PEER || w.kind >= KIND_PEER_STATE;

	if (!special_owns(ino) || w.kind == KIND_NONE || w.kind >= KIND_COUNT)
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

/** The i-th device's name as a file name: its own, or its label where that would be unclear. */
static void peer_name(const struct device *peers, size_t i, char out[PEER_NAME_BYTES])
{
	const char *name = peers[i].name;
	bool clear = name[0] && name[0] != '.' && !strchr(name, '/');

	for (size_t k = 0; k < i && clear; k++)
		clear = strcmp(peers[k].name, name) != 0;
	if (clear) {
		memcpy(out, name, strlen(name) + 1);
		return;
	}
	device_label(&peers[i], out);
	for (char *p = out; *p; p++) {
		if (*p == '/')
			*p = '_';
	}
}

static int find_peer(struct special *s, const char *name, size_t *ret_slot)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->opt.report.db, &peers);
	size_t slot = 0;

	for (size_t i = 0; i < n && !slot; i++) {
		char shown[PEER_NAME_BYTES];

		peer_name(peers, i, shown);
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

	if (is_dir(w->kind)) {
		st.st_mode = S_IFDIR | 0500;
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

bool special_is_reserved(const char *name)
{
	return strncasecmp(name, SPECIAL_NAME, strlen(SPECIAL_NAME)) == 0;
}

static int find(struct special *s, const struct where *parent, const char *name, struct where *ret)
{
	struct where w = {.slot = parent->slot, .actor = parent->actor};

	if (!is_dir(parent->kind))
		return -ENOTDIR;
	if (parent->kind == KIND_PEERS) {
		int r = find_peer(s, name, &w.slot);

		if (r < 0)
			return r;
		return where_from_ino(s, ino_of(KIND_PEER, w.slot), ret);
	}
	if (parent->kind == KIND_CONFLICTS) {
		w.kind = KIND_CONFLICT;
		*ret = w;
		return special_conflicts_find(s->conflicts, name, &ret->conflict);
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
	int r = where_from_ino(s, ino, &w);

	if (r < 0)
		return r;
	fill_stat(s, &w, ret);
	return 0;
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

static int open_as(struct special *s, uint64_t ino, bool shown, struct special_handle **ret)
{
	struct where w;
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

int special_read_chunks(const struct special_handle *h, uint64_t offset, size_t size,
			struct buf *ret)
{
	if (!h->snapshot->chunks)
		return -ENODATA;
	return db_chunks_read(h->db, h->snapshot->chunks, offset, size, ret);
}

struct slice special_read(const struct special_handle *h, uint64_t offset, size_t size)
{
	struct slice all = buf_slice(&h->snapshot->content);

	if (offset >= all.len)
		return SLICE(all.data, 0);
	size_t left = all.len - (size_t)offset;
	return SLICE(all.data + offset, size < left ? size : left);
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

static void list_add(struct special_dir *d, const char *name, uint64_t ino, mode_t type)
{
	size_t n = strlen(name);

	assert(n <= NAME_BYTES_MAX);
	d->entries = xreallocarray(d->entries, d->count + 1, sizeof(*d->entries));
	struct listed *e = &d->entries[d->count++];
	memcpy(e->name, name, n + 1);
	e->ino = ino;
	e->type = type;
}

static void list_peers(struct special *s, struct special_dir *d)
{
	struct device *peers = NULL;
	size_t n = db_peers(s->opt.report.db, &peers);

	for (size_t i = 0; i < n; i++) {
		char name[PEER_NAME_BYTES];
		size_t slot = slot_of(s, peers[i].actor);

		if (!slot)
			break;
		peer_name(peers, i, name);
		list_add(d, name, ino_of(KIND_PEER, slot), S_IFDIR);
	}
	free(peers);
}

static void list_conflicts(struct special *s, struct special_dir *d)
{
	struct special_conflict *all = NULL;
	size_t n = special_conflicts_list(s->conflicts, &all);

	for (size_t i = 0; i < n; i++)
		list_add(d, all[i].name, ino_of(KIND_CONFLICT, all[i].number), S_IFREG);
	free(all);
}

int special_opendir(struct special *s, uint64_t ino, struct special_dir **ret)
{
	struct where w;
	int r = where_from_ino(s, ino, &w);

	if (r < 0)
		return r;
	if (!is_dir(w.kind))
		return -ENOTDIR;
	uint64_t up = w.kind == KIND_TOP ? VFS_ROOT_INO
					 : ino_of(w.kind == KIND_PEER ? KIND_PEERS : KIND_TOP, 0);
	struct special_dir *d = xcalloc(1, sizeof(*d));
	list_add(d, ".", ino, S_IFDIR);
	list_add(d, "..", up, S_IFDIR);
	for (size_t i = 0; i < countof(entries); i++) {
		const struct entry *e = &entries[i];

		if (e->parent == w.kind)
			list_add(d, e->name, ino_of(e->kind, w.slot),
				 is_dir(e->kind) ? S_IFDIR : S_IFREG);
	}
	if (w.kind == KIND_PEERS)
		list_peers(s, d);
	if (w.kind == KIND_CONFLICTS)
		list_conflicts(s, d);
	*ret = d;
	return 0;
}

int special_readdir(struct special_dir *d, uint64_t index, struct vfs_dirent *ret)
{
	if (index >= d->count)
		return 0;
	const struct listed *e = &d->entries[index];
	*ret = (struct vfs_dirent){.name = e->name, .ino = e->ino, .type = e->type};
	return 1;
}

void special_closedir(struct special *s, struct special_dir *d)
{
	(void)s;
	free(d->entries);
	free(d);
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
	mutex_fini(&s->lock);
	free(s);
}
