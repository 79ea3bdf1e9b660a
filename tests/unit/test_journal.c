/*
 * The journal before LevelDB: a store that is killed at any moment holds what the first N commits made, where N is at
 * least what was acknowledged, and nothing of a later one. After a power cut N is at least what a barrier was
 * acknowledged for. Prints "ok NAME" for each test.
 */
#include "core/journal.h"
#include "core/store.h"
#include "core/thread.h"
#include "tests/unit/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint32_t random_below(uint32_t n)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

static const char *program;

#define KEYS 60u
#define KILLS 25u

/* ---- what the store holds after commit n: a function of n ------------------------------------------- */

/* The last commit up to n that touched this key, or 0. */
static uint32_t toucher(uint32_t key, uint32_t n)
{
	return n < key + 1 ? 0 : n - (n - key - 1) % KEYS;
}

static bool deletes(uint32_t n)
{
	return n / KEYS % 5 == 3 || n % 11 == 0;
}

static void value_at(uint32_t n, struct buf *ret)
{
	/* Mostly small; some are too large for the journal. */
	size_t len = n % 6007 == 5 ? 300000 : n % 31 == 0 ? 20000 : 100 + n % 400;

	buf_clear(ret);
	buf_printf(ret, "%u:", n);
	size_t from = ret->len;
	buf_resize(ret, from + len);
	memset(ret->data + from, 'a' + (int)(n % 26), len);
}

static struct slice key_of(uint32_t key, char room[16])
{
	return SLICE(room, (size_t)snprintf(room, 16, "k%02u", key));
}

static uint32_t count_of(struct store *s)
{
	AUTO(buf_fini) struct buf b = {0};
	int r = store_read(s, SLICE_STR("count"), &b);

	CHECK(r == 0 || r == -ENOENT);
	return r == 0 ? (uint32_t)strtoul(buf_str(&b), NULL, 10) : 0;
}

static void check_key(struct store *s, uint32_t key, uint32_t n)
{
	AUTO(buf_fini) struct buf got = {0};
	AUTO(buf_fini) struct buf want = {0};
	char room[16];
	uint32_t by = toucher(key, n);
	int r = store_read(s, key_of(key, room), &got);

	if (by == 0 || deletes(by)) {
		CHECK(r == -ENOENT);
		return;
	}
	value_at(by, &want);
	CHECK(r == 0 && slice_eq(buf_slice(&got), buf_slice(&want)));
}

static bool count_key(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	++*(uint32_t *)ctx;
	return true;
}

/* Reads, a scan, and a view agree with the function. */
static void check_all(struct store *s, uint32_t n, bool view)
{
	uint32_t want = 0;
	uint32_t got = 0;

	for (uint32_t key = 0; key < KEYS; key++) {
		uint32_t by = toucher(key, n);

		check_key(s, key, n);
		want += by && !deletes(by);
	}
	struct store_txn *t = store_begin(s);
	CHECK(store_scan(t, SLICE_STR("k"), SLICE("", 0), count_key, &got) == 0 && got == want);
	store_abort(t);
	if (!view)
		return;
	struct store_view *v = store_view_create(s);
	got = 0;
	CHECK(v && store_view_scan(v, SLICE_STR("k"), SLICE("", 0), count_key, &got) == 0);
	CHECK(got == want);
	store_view_destroy(v);
}

static void commit(struct store *s, uint32_t n)
{
	AUTO(buf_fini) struct buf value = {0};
	char room[16];
	char number[16];
	struct store_txn *t = store_begin(s);

	if (deletes(n)) {
		store_delete(t, key_of((n - 1) % KEYS, room));
	} else {
		value_at(n, &value);
		store_put(t, key_of((n - 1) % KEYS, room), buf_slice(&value));
	}
	if (n % 4 == 1) { /* belongs to this commit, but in two steps */
		CHECK(store_defer(t) == 0);
		t = store_begin(s);
	}
	store_put(t, SLICE_STR("count"),
		  SLICE(number, (size_t)snprintf(number, sizeof(number), "%u", n)));
	CHECK(store_commit(t) == 0);
}

/* ---- killing --------------------------------------------------------------------------------------- */

static void *tend(void *s)
{
	store_tend(s);
	return NULL;
}

static struct thread start_tending(struct store *s)
{
	struct thread thread;

	thread_start(&thread, "tender", tend, s);
	return thread;
}

/* Commits and says so, until it is killed: a program of its own, because it has threads. */
static int work(int to)
{
	struct store *s = NULL;

	CHECK(store_open("journal", &s, NULL) == 0);
	(void)start_tending(s);
	for (uint32_t n = count_of(s) + 1;; n++) {
		commit(s, n);
		check_key(s, n * 37 % KEYS, n);
		if (n % 501 == 0)
			check_all(s, n, n % 5 == 0);
		if (n % 2777 == 0)
			CHECK(store_sync(s) == 0);
		CHECK(write(to, &n, sizeof(n)) == sizeof(n));
	}
}

/* Says only what a barrier is done for. */
static int work_with_barriers(int to)
{
	struct store *s = NULL;

	CHECK(store_open("journal", &s, NULL) == 0);
	(void)start_tending(s);
	for (uint32_t n = count_of(s) + 1;; n++) {
		commit(s, n);
		if (n * 2654435761u >> 26 != 0)
			continue;
		CHECK(store_sync(s) == 0);
		CHECK(write(to, &n, sizeof(n)) == sizeof(n));
	}
}

/* Kills a worker after it acknowledged so often; the last commit that it acknowledged. */
static uint32_t work_and_kill_mode(uint32_t commits, const char *mode)
{
	int fd[2];
	uint32_t n = 0;

	CHECK(pipe(fd) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		char number[16];

		(void)close(fd[0]);
		(void)snprintf(number, sizeof(number), "%d", fd[1]);
		(void)execl(program, program, number, mode, (char *)NULL);
		_exit(1);
	}
	(void)close(fd[1]);
	for (uint32_t i = 0; i < commits; i++)
		CHECK(read(fd[0], &n, sizeof(n)) == sizeof(n));
	CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	while (read(fd[0], &n, sizeof(n)) == sizeof(n))
		;
	(void)close(fd[0]);
	return n;
}

static uint32_t work_and_kill(uint32_t commits)
{
	return work_and_kill_mode(commits, NULL);
}

static void test_kill(void)
{
	CHECK(system("rm -rf journal && mkdir journal") == 0);
	CHECK(store_create("journal", NULL) == 0);
	for (uint32_t i = 0; i < KILLS; i++) {
		struct store *s = NULL;
		uint32_t acknowledged = work_and_kill(1 + random_below(4000));

		CHECK(store_open("journal", &s, NULL) == 0);
		uint32_t n = count_of(s);
		CHECK(n == acknowledged || n == acknowledged + 1);
		check_all(s, n, true);
		store_close(s);
		CHECK(store_open("journal", &s, NULL) == 0 && count_of(s) == n);
		store_close(s);
	}
	(void)puts("ok kill");
}

/* A byte in the middle of what LevelDB lacks is wrong: what was before it is there, and nothing that came later. */
static void test_damage(void)
{
	uint32_t cut = 0;

	for (uint32_t i = 0; i < KILLS; i++) {
		struct store *s = NULL;
		uint32_t acknowledged = work_and_kill(1 + random_below(2500));
		char path[] = "journal/journal-0.log";
		uint8_t byte = 0;

		path[16] = (char)('0' + random_below(2));
		int fd = open(path, O_RDWR | O_CLOEXEC);
		off_t at = (off_t)random_below(300000);
		CHECK(fd >= 0 && pread(fd, &byte, 1, at) == 1);
		byte ^= 0x40;
		CHECK(pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0);
		CHECK(store_open("journal", &s, NULL) == 0);
		uint32_t n = count_of(s);
		CHECK(n <= acknowledged + 1);
		cut += n < acknowledged;
		check_all(s, n, true);
		store_close(s);
	}
	CHECK(cut > 0);
	(void)puts("ok damage");
}

/* Without the journal's files a store that was killed is what LevelDB has; with those of another time too. */
static void test_other_journal(void)
{
	struct store *s = NULL;

	CHECK(system("rm -rf other third && cp -r journal other") == 0);
	(void)work_and_kill(700);
	CHECK(system("cp -r journal third && cp other/journal-*.log third/") == 0);
	CHECK(store_open("third", &s, NULL) == 0);
	check_all(s, count_of(s), true);
	store_close(s);
	CHECK(system("rm -rf third && cp -r journal third && rm third/journal-*.log") == 0);
	CHECK(store_open("third", &s, NULL) == 0);
	check_all(s, count_of(s), true);
	store_close(s);
	(void)puts("ok other_journal");
}

/* Ended in good order there is nothing to apply, and who does not tend writes to LevelDB itself. */
static void test_end(void)
{
	struct store *s = NULL;
	struct stat before;
	struct stat after;

	CHECK(store_open("journal", &s, NULL) == 0);
	uint32_t n = count_of(s);
	for (int round = 0; round < 3; round++) {
		struct thread thread = start_tending(s);
		for (uint32_t i = 0; i < 400; i++)
			commit(s, ++n);
		store_tend_stop(s);
		thread_join(&thread);
		CHECK(stat("journal/journal-0.log", &before) == 0);
		for (uint32_t i = 0; i < 70; i++)
			commit(s, ++n);
		CHECK(stat("journal/journal-0.log", &after) == 0);
		CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
		      before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
		check_all(s, n, true);
	}
	store_close(s);
	CHECK(store_open("journal", &s, NULL) == 0);
	check_all(s, n, true);
	store_close(s);
	(void)puts("ok end");
}

/* ---- power cuts: what was flushed of LevelDB's logs and of the journal is there, and of the rest anything ---- */

#define POWER_CUTS 40u
#define BLOCK 4096u

static bool power_is_watched;

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open("power/new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n = 1;

	CHECK(in >= 0 && out >= 0);
	while (n > 0)
		n = copy_file_range(in, NULL, out, NULL, 16u << 20, 0);
	CHECK(n == 0 && close(in) == 0 && close(out) == 0 && rename("power/new", to) == 0);
}

/* What is flushed now, before it is: a log's length, a journal's content. */
int fdatasync(int fd)
{
	char link[40], path[400], to[200];
	struct stat st;
	ssize_t n = 0;

	if (power_is_watched) {
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
	}
	path[n > 0 ? n : 0] = 0;
	const char *name =
		n > 4 && strcmp(path + n - 4, ".log") == 0 ? strrchr(path, '/') + 1 : NULL;
	if (name && strncmp(name, "journal", 7) == 0) {
		(void)snprintf(to, sizeof(to), "power/%s", name);
		copy_file(path, to);
	} else if (name) {
		(void)snprintf(to, sizeof(to), "power/%s", name);
		CHECK(fstat(fd, &st) == 0);
		int size = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		CHECK(size >= 0 && ftruncate(size, st.st_size) == 0 && close(size) == 0);
	}
	return 0; /* the disk itself has nothing to do with it */
}

static off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_size : 0;
}

/* LevelDB's logs in order; one is cut somewhere behind what was flushed, and whole = those before and behind are left. */
static void cut_logs(bool only_one)
{
	struct dirent **list = NULL;
	int count = scandir("journal/store", &list, NULL, alphasort);
	bool cutting = false;

	for (int i = 0; i < count; i++) {
		char path[400], mark[400];
		size_t len = strlen(list[i]->d_name);

		(void)snprintf(path, sizeof(path), "journal/store/%s", list[i]->d_name);
		(void)snprintf(mark, sizeof(mark), "power/%s", list[i]->d_name);
		off_t size = size_of(path), flushed = size_of(mark);
		bool is_log = len > 4 && strcmp(list[i]->d_name + len - 4, ".log") == 0;
		if (is_log && cutting && !only_one)
			CHECK(truncate(path, flushed) == 0);
		if (is_log && !cutting && random_below(2) && size > flushed) {
			cutting = true;
			CHECK(truncate(path, flushed + (off_t)random_below(
							       (uint32_t)(size - flushed))) == 0);
		}
		free(list[i]);
	}
	free(list);
}

/* Each block is as it was flushed, or as it was written later. */
static void cut_journal(void)
{
	static uint8_t zeros[BLOCK], block[BLOCK];
	char path[] = "journal/journal-0.log", flushed[] = "power/journal-0.log";

	for (char i = '0'; i < '2'; i++) {
		path[16] = flushed[14] = i;
		int from = open(flushed, O_RDONLY | O_CLOEXEC);
		int to = open(path, O_WRONLY | O_CLOEXEC);
		uint32_t kept = random_below(3);
		CHECK(to >= 0);
		for (off_t at = 0; at < size_of(path); at += BLOCK) {
			memcpy(block, zeros, BLOCK);
			CHECK(from < 0 || pread(from, block, BLOCK, at) >= 0);
			if (kept == 0 || (kept == 1 && random_below(2)))
				CHECK(pwrite(to, block, BLOCK, at) == BLOCK);
		}
		(void)close(to);
		if (from >= 0)
			(void)close(from);
	}
}

static void test_power_cuts(void)
{
	CHECK(system("rm -rf journal && mkdir journal") == 0);
	CHECK(store_create("journal", NULL) == 0);
	for (uint32_t i = 0; i < POWER_CUTS; i++) {
		struct store *s = NULL;

		CHECK(system("rm -rf power && mkdir power && cp journal/journal-*.log power 2>/dev/null || true") ==
		      0);
		uint32_t acknowledged = work_and_kill_mode(1 + random_below(i % 4 == 0 ? 200 : 40), "power");
		/* A log in the middle is cut only where the journal is whole: the disk writes in some order. */
		bool journal = random_below(3) > 0;
		cut_logs(!journal);
		if (journal)
			cut_journal();
		CHECK(store_open("journal", &s, NULL) == 0);
		uint32_t n = count_of(s);
		CHECK(n >= acknowledged);
		check_all(s, n, true);
		store_close(s);
	}
	(void)puts("ok power_cuts");
}

/* ---- scans over thousands of writes that LevelDB does not have yet ---------------------------------- */

#define DIRS 40u
#define NAMES 50u

static bool add_name(void *ctx, struct slice key, struct slice value)
{
	struct buf *b = ctx;

	(void)value;
	buf_slice_append(b, key);
	buf_u8(b, ' ');
	return true;
}

/* One directory, from one of its names on. */
static void check_dir(struct store *s, bool there[DIRS][NAMES], uint32_t dir, uint32_t from)
{
	AUTO(buf_fini) struct buf want = {0};
	AUTO(buf_fini) struct buf got = {0};
	AUTO(buf_fini) struct buf prefix = {0};
	AUTO(buf_fini) struct buf start = {0};
	struct store_txn *t = store_begin(s);

	buf_printf(&prefix, "d%02u/", dir);
	buf_printf(&start, "d%02u/%02u", dir, from);
	for (uint32_t i = from; i < NAMES; i++) {
		if (there[dir][i])
			buf_printf(&want, "d%02u/%02u ", dir, i);
	}
	CHECK(store_scan(t, buf_slice(&prefix), from ? buf_slice(&start) : SLICE("", 0), add_name,
			 &got) == 0);
	CHECK(slice_eq(buf_slice(&got), buf_slice(&want)));
	store_abort(t);
}

static void test_scans(void)
{
	static bool there[DIRS][NAMES];
	struct store *s = NULL;
	char key[16];

	CHECK(system("rm -rf scans && mkdir scans") == 0);
	CHECK(store_create("scans", NULL) == 0 && store_open("scans", &s, NULL) == 0);
	struct thread thread = start_tending(s);
	for (uint32_t n = 0; n < 30000; n++) {
		struct store_txn *t = store_begin(s);

		for (uint32_t i = random_below(4) + 1; i > 0; i--) {
			uint32_t dir = random_below(DIRS);
			uint32_t name = random_below(NAMES);
			int len = snprintf(key, sizeof(key), "d%02u/%02u", dir, name);

			there[dir][name] = random_below(3) > 0;
			if (there[dir][name])
				store_put(t, SLICE(key, (size_t)len), SLICE_STR("some value"));
			else
				store_delete(t, SLICE(key, (size_t)len));
		}
		CHECK((n % 5 == 0 ? store_defer(t) : store_commit(t)) == 0);
		if (random_below(n % 3000 < 1000 ? 5 : 300) == 0)
			check_dir(s, there, random_below(DIRS), random_below(NAMES));
	}
	for (uint32_t dir = 0; dir < DIRS; dir++)
		check_dir(s, there, dir, 0);
	store_tend_stop(s);
	thread_join(&thread);
	store_close(s);
	(void)puts("ok scans");
}

int main(int argc, char **argv)
{
	program = argv[0];
	if (argc == 2)
		return work(atoi(argv[1]));
	if (argc == 3) {
		power_is_watched = true;
		return work_with_barriers(atoi(argv[1]));
	}
	test_kill();
	test_damage();
	test_other_journal();
	test_end();
	test_power_cuts();
	test_scans();
	return 0;
}
