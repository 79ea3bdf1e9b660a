/*
 * A large database, made without the kernel in between: through the same calls the mount makes, one thread.
 *
 *   fill HOME NAME RECORDS DIRECTORY_SIZE	adds RECORDS files of 200 bytes to the database NAME in HOME, so
 *						many to a directory: d0000/f0000000.json, ...
 *
 * Prints one JSON line, records a second. What it costs is the price of the database alone: a place for perf.
 */
#include "core/digest.h"
#include "core/keys.h"
#include "fs/vfs.h"
#include "tests/bench/measure.h"

static const struct vfs_caller caller = {.uid = 0, .gid = 0, .pid = 0, .umask = 022};

static void check(int r, const char *what, const struct why *why)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "fill: %s: %s %s\n", what, strerror(-r), why ? why->text : "");
	exit(1);
}

static void add_record(struct vfs *v, uint64_t dir, uint64_t i)
{
	struct vfs_handle *h = NULL;
	struct stat st;
	char name[NAME_BYTES], content[FILE_BYTES];

	name_of(i, name);
	content_of(i, content);
	check(vfs_create_file(v, &caller, dir, name, 0644, O_WRONLY | O_CREAT | O_EXCL, &h, &st),
	      name, NULL);
	check(vfs_write(v, &caller, h, 0, SLICE(content, sizeof(content)), false), name, NULL);
	check(vfs_flush(v, h), name, NULL);
	vfs_release(v, h);
	vfs_forget(v, st.st_ino, 1);
}

static void add_records(struct vfs *v, uint64_t count, uint64_t per_directory)
{
	uint64_t dir = 0;

	for (uint64_t i = 0; i < count; i++) {
		struct stat st;
		char name[32];

		if (i % per_directory == 0) {
			if (dir)
				vfs_forget(v, dir, 1);
			(void)snprintf(name, sizeof(name), "d%04llu",
				       (unsigned long long)(i / per_directory));
			check(vfs_mkdir(v, &caller, VFS_ROOT_INO, name, 0755, &st), name, NULL);
			dir = st.st_ino;
		}
		add_record(v, dir, i);
	}
	if (dir)
		vfs_forget(v, dir, 1);
}

int main(int argc, char **argv)
{
	struct keys *keys = NULL;
	struct db *db = NULL;
	struct vfs *v = NULL;
	struct why why = {0};

	if (argc != 5)
		return (void)fputs("usage: fill HOME NAME RECORDS DIRECTORY_SIZE\n", stderr), 2;
	uint64_t count = strtoull(argv[3], NULL, 10);
	uint64_t per_directory = strtoull(argv[4], NULL, 10);
	AUTO(free_ptr) char *key = xasprintf("%s/device.key", argv[1]);
	AUTO(free_ptr) char *dir = xasprintf("%s/%s", argv[1], argv[2]);
	check(per_directory ? 0 : -EINVAL, argv[4], NULL);
	digest_init();
	check(keys_load(key, &keys, &why), key, &why);
	check(db_open(dir, keys, NULL, &db, &why), dir, &why);
	const struct vfs_options options = {.db = db, .uid = getuid(), .gid = getgid()};
	check(vfs_create(&options, &v, &why), dir, &why);
	uint64_t start = now_ns();
	add_records(v, count, per_directory);
	double per_second = rate(count, start);
	print_rates("fill", &per_second, 1);
	vfs_destroy(v);
	db_close(db);
	keys_destroy(keys);
	return 0;
}
