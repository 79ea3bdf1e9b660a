/* .blaze without a mount: names, sizes that are true, snapshots that hold still, devices of any name. */
#include "fs/special.h"

#include "core/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char base[256];
static struct db *db;
static struct status *status;
static struct special *special;
static unsigned key_count;

static struct keys *new_keys(const char *name)
{
	AUTO(free_ptr) char *path = xasprintf("%s/key%u", base, key_count++);
	struct keys *k = NULL;
	struct why why = {""};

	if (keys_create(path, name, &k, &why) < 0) {
		(void)fprintf(stderr, "%s\n", why.text);
		abort();
	}
	return k;
}

/** Admits a device of this name; returns its actor. */
static uint64_t admit(const char *name)
{
	AUTO(buf_fini) struct buf cert = {0};
	struct keys *k = new_keys(name);
	uint64_t actor = keys_device(k)->actor;

	keys_cert(k, &cert);
	assert(db_admit(db, buf_slice(&cert), MEMBER_OWNER) == 0);
	keys_destroy(k);
	return actor;
}

/** The inode at a path below .blaze, "" for itself. */
static int walk(const char *path, struct stat *ret)
{
	AUTO(free_ptr) char *copy = xstrdup(path);
	char *save = NULL;
	int r = special_lookup(special, VFS_ROOT_INO, ".blaze", ret);

	for (char *p = strtok_r(copy, "/", &save); p && r == 0; p = strtok_r(NULL, "/", &save))
		r = special_lookup(special, ret->st_ino, p, ret);
	return r;
}

/** The content, which has to be as long as stat said just before. */
static char *content(const char *path)
{
	struct special_handle *h = NULL;
	struct stat st;

	assert(walk(path, &st) == 0);
	assert(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0400);
	assert(special_open(special, st.st_ino, &h) == 0);
	struct buf s = {0};
	assert(special_read(h, 0, 1 << 20, &s) == 0);
	assert(s.len == (size_t)st.st_size);
	assert(s.len > 0 && s.data[s.len - 1] == '\n');
	special_close(special, h);
	return buf_str(&s);
}

static void expect(const char *path, const char *text)
{
	AUTO(free_ptr) char *got = content(path);

	if (strcmp(got, text) != 0) {
		(void)fprintf(stderr, "%s: '%s', not '%s'\n", path, got, text);
		abort();
	}
}

/** How many names a directory lists; each of them has to be found by lookup as what it is listed. */
static size_t list(const char *path)
{
	struct special_dir *d = NULL;
	struct vfs_dirent e;
	struct stat dir, st;
	uint64_t n = 0;

	assert(walk(path, &dir) == 0);
	assert(S_ISDIR(dir.st_mode) && (dir.st_mode & 0577) == 0500);
	assert(special_opendir(special, dir.st_ino, &d) == 0);
	for (; special_readdir(d, n, &e) == 1; n++) {
		if (n < 2) {
			assert(strcmp(e.name, n ? ".." : ".") == 0);
			continue;
		}
		assert(special_lookup(special, dir.st_ino, e.name, &st) == 0);
		assert(st.st_ino == e.ino && (st.st_mode & S_IFMT) == e.type);
		assert(special_owns(st.st_ino));
	}
	special_closedir(special, d);
	return (size_t)n - 2;
}

static void test_names(void)
{
	struct stat st;

	assert(special_is_reserved(".blaze") && special_is_reserved(".BLAZE"));
	assert(special_is_reserved(".blaze-old") && special_is_reserved(".Blazer"));
	assert(!special_is_reserved("blaze") && !special_is_reserved(".blaz"));
	assert(special_lookup(special, VFS_ROOT_INO, ".BLAZE", &st) == -ENOENT);
	assert(walk("nothing", &st) == -ENOENT);
	assert(walk("state/x", &st) == -ENOTDIR);
	assert(walk("peers/nobody", &st) == -ENOENT);
	assert(special_getattr(special, UINT64_C(1) << 63, &st) == -ENOENT);
	assert(special_getattr(special, UINT64_MAX, &st) == -ENOENT);
	assert(list("") == 12);
}

static void test_files(void)
{
	AUTO(free_ptr) char *readme = content("README");
	AUTO(free_ptr) char *text = content("status");
	AUTO(free_ptr) char *json = content("status.json");

	expect("version", "1.2.3\n");
	assert(strstr(readme, "status.json"));
	assert(strstr(text, "work"));
	assert(strncmp(json, "{\"v\":1,", 7) == 0);
}

static void test_open_file_keeps_its_bytes(void)
{
	struct special_handle *h = NULL;
	struct stat st, later;
	uint64_t end = 0;

	assert(walk("status.json", &st) == 0);
	assert(special_open(special, st.st_ino, &h) == 0);
	AUTO(buf_fini) struct buf before = {0};
	AUTO(buf_fini) struct buf after = {0};
	assert(special_read(h, 0, 1 << 20, &before) == 0);
	(void)admit("newcomer");
	/* Beyond the time that lookups repeat themselves for. */
	(void)usleep((SPECIAL_KEEP_MS + 50) * 1000);
	assert(walk("status.json", &later) == 0);
	assert(later.st_size > st.st_size);
	assert(special_read(h, 0, 1 << 20, &after) == 0);
	assert(slice_eq(buf_slice(&after), buf_slice(&before)));
	assert(special_read(h, before.len, 10, &after) == 0 && after.len == 0);
	assert(special_read(h, 3, 2, &after) == 0);
	assert(slice_eq(buf_slice(&after), SLICE(before.data + 3, 2)));
	assert(special_lseek(h, 5, SEEK_DATA, &end) == 0 && end == 5);
	assert(special_lseek(h, 5, SEEK_HOLE, &end) == 0 && end == before.len);
	assert(special_lseek(h, before.len, SEEK_DATA, &end) == -ENXIO);
	special_close(special, h);
}

static void test_time_is_that_of_the_last_change(void)
{
	struct stat first, second;

	assert(walk("state", &first) == 0);
	(void)usleep((SPECIAL_KEEP_MS + 50) * 1000);
	assert(walk("state", &second) == 0);
	assert(first.st_mtim.tv_sec == second.st_mtim.tv_sec);
	assert(first.st_mtim.tv_nsec == second.st_mtim.tv_nsec);
}

static void connect_peer(struct peer_status *p, void *ctx)
{
	(void)ctx;
	p->state = PEER_SYNCED;
	p->path = PATH_DIRECT;
	p->rtt_us = 1234;
	p->last_seen_ms = UINT64_C(1700000000000);
}

static void test_peers(void)
{
	uint64_t desk = admit("desk");
	struct stat st;

	assert(list("peers/desk") == 6);
	expect("peers/desk/state", "offline\n");
	expect("peers/desk/path", "none\n");
	expect("peers/desk/rtt_ms", "-1\n");
	expect("peers/desk/last_seen", "never\n");
	status_edit(status, desk, connect_peer, NULL);
	(void)usleep((SPECIAL_KEEP_MS + 50) * 1000);
	expect("peers/desk/state", "synced\n");
	expect("peers/desk/path", "direct\n");
	expect("peers/desk/rtt_ms", "1.234\n");
	expect("peers/desk/last_seen", "2023-11-14T22:13:20Z\n");
	AUTO(free_ptr) char *fingerprint = content("peers/desk/fingerprint");
	assert(strncmp(fingerprint, "b1:desk-", 8) == 0);
	assert(walk("peers/desk", &st) == 0);
	assert(special_open(special, st.st_ino, &(struct special_handle *){NULL}) == -EISDIR);
}

static void test_devices_of_the_same_name(void)
{
	size_t before = list("peers");

	(void)admit("twin");
	(void)admit("twin");
	(void)admit("..");
	assert(list("peers") == before + 3);
}

/** A record at the root whose last two saves were based on the same earlier one. */
static struct id make_conflict(const char *name, const char *lost, const char *won)
{
	struct txn *t = db_begin(db);
	struct id root = db_root(db);
	struct doc *seen = NULL;
	struct id id;

	(void)db_new_id(t, &root, name, NODE_RECORD, 0, &id);
	assert(db_put_node(t, &id, NODE_RECORD, &root, name) >= 0);
	assert(db_put_content(t, &id, NULL, SLICE_STR("{\"a\":0}")) == 1);
	assert(db_doc(t, &id, &seen) == 0);
	assert(db_put_content(t, &id, seen, SLICE_STR(lost)) == 1);
	assert(db_put_content(t, &id, seen, SLICE_STR(won)) == 1);
	doc_destroy(seen);
	assert(db_commit(t) == 0);
	(void)usleep((SPECIAL_KEEP_MS + 50) * 1000);
	return id;
}

static void settle(const struct id *id, const char *bytes)
{
	struct txn *t = db_begin(db);

	assert(db_put_content(t, id, NULL, SLICE_STR(bytes)) == 1);
	assert(db_commit(t) == 0);
	(void)usleep((SPECIAL_KEEP_MS + 50) * 1000);
}

static void test_conflicts_of_whole_values(void)
{
	struct special_handle *h = NULL;
	struct stat st;

	assert(list("conflicts") == 0);
	struct id id = make_conflict("50%@x", "mine\n", "yours\n");
	assert(list("conflicts") == 1);
	expect("conflicts/50%@x@laptop", "mine\n");
	assert(walk("conflicts/50%@x@laptop", &st) == 0);
	assert(special_open(special, st.st_ino, &h) == 0);
	settle(&id, "ours\n");
	AUTO(buf_fini) struct buf mine = {0};
	assert(special_read(h, 0, 100, &mine) == 0);
	assert(slice_eq(buf_slice(&mine), SLICE_STR("mine\n")));
	special_close(special, h);
	assert(list("conflicts") == 0);
	assert(special_getattr(special, st.st_ino, &st) == -ENOENT);
	assert(special_open(special, st.st_ino, &h) == -ENOENT);
}

static void test_conflicts_of_fields(void)
{
	struct id id = make_conflict("f.json", "{\"a\":[1,\n2]}", "{\"a\":3}");

	assert(list("conflicts") == 1);
	AUTO(free_ptr) char *lines = content("conflicts/f.json@fields");
	assert(strncmp(lines, "a  [1,2]  laptop  2", 19) == 0);
	assert(strlen(lines) == strlen("a  [1,2]  laptop  2026-11-22T14:01:58Z\n"));
	settle(&id, "{\"a\":4}");
	assert(list("conflicts") == 0);
}

/** Names are cut to what a directory can hold, between characters, and begin with no dot. */
static void test_conflicts_with_long_names(void)
{
	char name[NAME_BYTES_MAX + 1] = ".";
	struct special_dir *d = NULL;
	struct vfs_dirent e;
	struct stat st;

	while (strlen(name) + strlen("€%") <= NAME_BYTES_MAX)
		(void)snprintf(name + strlen(name), sizeof(name) - strlen(name), "€%%");
	struct id id = make_conflict(name, "mine\n", "yours\n");
	struct id dot = make_conflict(".rc", "mine\n", "yours\n");
	assert(list("conflicts") == 2);
	expect("conflicts/.rc@laptop", "mine\n");
	assert(walk("conflicts", &st) == 0);
	assert(special_opendir(special, st.st_ino, &d) == 0);
	assert(special_readdir(d, 2, &e) == 1);
	assert(strncmp(e.name, "%~", 2) == 0 && strlen(e.name) <= NAME_BYTES_MAX);
	assert(name_is_plain(SLICE_STR(e.name)));
	assert(strcmp(e.name + strlen(e.name) - strlen("€%@laptop"), "€%@laptop") == 0);
	special_closedir(special, d);
	settle(&id, "x\n");
	settle(&dot, "x\n");
}

int main(void)
{
	struct why why = {""};

	digest_init();
	(void)snprintf(base, sizeof(base), "/tmp/test_special.XXXXXX");
	assert(mkdtemp(base));
	AUTO(free_ptr) char *dir = xasprintf("%s/db", base);
	struct keys *keys = new_keys("laptop");
	assert(db_create(dir, "work", keys, &why) == 0);
	assert(db_open(dir, keys, NULL, &db, &why) == 0);
	status = status_create();
	special = special_create(&(struct special_options){
		.report = {.db = db, .status = status, .mountpoint = "/mnt"},
		.version = "1.2.3",
		.uid = getuid(),
		.gid = getgid(),
	});
	test_names();
	test_files();
	test_open_file_keeps_its_bytes();
	test_time_is_that_of_the_last_change();
	test_peers();
	test_devices_of_the_same_name();
	test_conflicts_of_whole_values();
	test_conflicts_of_fields();
	test_conflicts_with_long_names();
	special_destroy(special);
	status_destroy(status);
	db_close(db);
	keys_destroy(keys);
	AUTO(free_ptr) char *command = xasprintf("rm -rf '%s'", base);
	return system(command) != 0;
}
