/* Records in two files that take turns. */
#include "core/journal.h"

#include "core/platform.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 2
/** Memory of a record that is kept for the next. */
#define RECORD_BYTES_KEPT (64u << 10)
#define HEAD_BYTES 20
#define SUM_AT 12
/** Of that much, LevelDB's log is flushed, and memory holds a copy until then. */
#define FILLING_BYTES (1u << 20)

struct journal {
	int fd[FILES];
	size_t now; /**< the file that is written */
	size_t at;  /**< where its next record goes */
	uint64_t last[FILES];
	unsigned unsynced; /**< a bit for each file */
	struct buf record;
	uint8_t epoch[JOURNAL_EPOCH_BYTES];
};

static char *path_of(const char *dir, size_t i)
{
	return xasprintf("%s/journal-%zu.log", dir, i);
}

/* With zeros, not just reserved: to make what was written there durable is then to write it, and nothing else. */
static int file_fill(int fd)
{
	static const uint8_t zeros[64 << 10];
	int r = platform_reserve(fd, JOURNAL_ROOM);

	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	for (size_t at = 0; r == 0 && at < JOURNAL_ROOM; at += sizeof(zeros)) {
		ssize_t n = write(fd, zeros, sizeof(zeros));

		r = n < 0 ? -errno : (size_t)n < sizeof(zeros) ? -ENOSPC : 0;
	}
	return r;
}

static int dir_sync(const char *dir)
{
	AUTO(close_fd) int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int file_open(const char *dir, size_t i, bool *ret_is_new)
{
	AUTO(free_ptr) char *path = path_of(dir, i);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && lseek(fd, 0, SEEK_END) < JOURNAL_ROOM) {
		*ret_is_new = true;
		r = file_fill(fd);
	}
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return r;
}

int journal_open(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], struct journal **ret)
{
	struct journal *j = xcalloc(1, sizeof(*j));
	bool is_new = false;
	int r = 0;

	memcpy(j->epoch, epoch, sizeof(j->epoch));
	for (size_t i = 0; i < FILES; i++) {
		j->fd[i] = r < 0 ? -1 : file_open(dir, i, &is_new);
		if (r == 0 && j->fd[i] < 0)
			r = j->fd[i];
	}
	if (r == 0 && is_new)
		r = dir_sync(dir);
	if (r < 0)
		journal_close(j);
	else
		*ret = j;
	return r;
}

void journal_close(struct journal *j)
{
	for (size_t i = 0; j && i < FILES; i++) {
		if (j->fd[i] >= 0)
			(void)close(j->fd[i]);
	}
	if (j)
		buf_fini(&j->record);
	free(j);
}

/* A file whose place is not known is not written any more. */
static void seek(struct journal *j, size_t at)
{
	j->at = lseek(j->fd[j->now], (off_t)at, SEEK_SET) == (off_t)at ? at : JOURNAL_ROOM;
}

int journal_append(struct journal *j, uint64_t number, struct slice payload)
{
	struct buf *b = &j->record;

	if (payload.len > JOURNAL_ROOM || j->at + HEAD_BYTES + payload.len > JOURNAL_ROOM)
		return -EFBIG;
	buf_clear(b);
	buf_be32(b, (uint32_t)payload.len);
	buf_be64(b, number);
	buf_be64(b, 0);
	buf_slice_append(b, payload);
	digest_sum(b->data + SUM_AT, j->epoch, buf_slice(b)); /* its own place is zero meanwhile */
	ssize_t n = write(j->fd[j->now], b->data, b->len);
	int r = n < 0 ? -errno : (size_t)n < b->len ? -ENOSPC : 0;
	if (r < 0) {
		seek(j, j->at);
		return r;
	}
	j->at += b->len;
	j->last[j->now] = number;
	j->unsynced |= 1u << j->now;
	return 0;
}

static size_t other(const struct journal *j)
{
	return (j->now + 1) % FILES;
}

bool journal_is_filling(const struct journal *j)
{
	return j->at >= FILLING_BYTES;
}

uint64_t journal_other_last(const struct journal *j)
{
	return j->last[other(j)];
}

void journal_turn(struct journal *j)
{
	j->now = other(j);
	j->last[j->now] = 0;
	seek(j, 0);
	if (j->record.cap > RECORD_BYTES_KEPT)
		buf_fini(&j->record);
}

void journal_restart(struct journal *j)
{
	j->last[other(j)] = j->last[j->now] = 0;
	seek(j, 0);
}

unsigned journal_take_unsynced(struct journal *j)
{
	unsigned files = j->unsynced;

	j->unsynced = 0;
	return files;
}

int journal_sync(const struct journal *j, unsigned files)
{
	int r = 0;

	for (size_t i = 0; i < FILES; i++) {
		if (files & 1u << i && platform_sync_data(j->fd[i]) != 0)
			r = -errno;
	}
	return r;
}

/* ---- reading ------------------------------------------------------------------------------------ */

/** What is left of one file. */
struct rest {
	struct buf bytes;
	struct reader reader;
};

struct record {
	uint64_t number;
	struct slice payload;
};

struct records {
	struct record *at;
	size_t count;
	size_t room;
};

static int load(const char *dir, size_t i, struct rest *ret)
{
	AUTO(free_ptr) char *path = path_of(dir, i);
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	while (n > 0 && ret->bytes.len < JOURNAL_ROOM) {
		size_t room = JOURNAL_ROOM - ret->bytes.len;

		n = read(fd, buf_reserve(&ret->bytes, room), room);
		if (n > 0)
			ret->bytes.len += (size_t)n;
	}
	ret->reader = reader_init(buf_slice(&ret->bytes));
	return n < 0 ? -errno : 0;
}

/* The next record of this file; false: there is none, or it is not to be trusted. */
static bool next(const uint8_t epoch[JOURNAL_EPOCH_BYTES], struct rest *f, struct record *ret)
{
	size_t left = reader_left(&f->reader);
	uint8_t *from = f->bytes.data + (f->bytes.len - left);
	uint8_t theirs[DIGEST_SUM_BYTES];
	uint8_t ours[DIGEST_SUM_BYTES];

	if (left < HEAD_BYTES)
		return false;
	uint32_t len = reader_be32(&f->reader);
	ret->number = reader_be64(&f->reader);
	reader_copy(&f->reader, theirs, sizeof(theirs));
	ret->payload = reader_take(&f->reader, len);
	if (reader_left(&f->reader) + HEAD_BYTES + len != left)
		return false;
	memset(from + SUM_AT, 0, sizeof(ours));
	digest_sum(ours, epoch, SLICE(from, HEAD_BYTES + len));
	return memcmp(ours, theirs, sizeof(ours)) == 0;
}

/* The records of one file, in order, behind those in `list`. */
static void list_file(const uint8_t epoch[JOURNAL_EPOCH_BYTES], struct rest *f, struct records *list)
{
	struct record r;

	for (uint64_t last = 0; next(epoch, f, &r) && r.number > last; last = r.number) {
		if (list->count == list->room) {
			list->room = list->room ? list->room * 2 : 64;
			list->at = xreallocarray(list->at, list->room, sizeof(*list->at));
		}
		list->at[list->count++] = r;
	}
}

static int by_number(const void *a, const void *b)
{
	const struct record *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* The row that `number` is in or before; its end is behind the last. */
static void find_row(const struct records *list, uint64_t number, size_t *ret_first, size_t *ret_end)
{
	size_t first = 0, end = 0;

	for (; end < list->count; end++) {
		bool gap = end > first && list->at[end].number != list->at[end - 1].number + 1;

		if (gap && list->at[end - 1].number >= number)
			break;
		if (gap)
			first = end;
	}
	bool fits = end > first && list->at[first].number <= number + 1 &&
		    list->at[end - 1].number >= number;
	*ret_first = fits ? first : 0;
	*ret_end = fits ? end : 0;
}

int journal_read(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], uint64_t number,
		 int (*fn)(void *ctx, uint64_t number, struct slice payload), void *ctx)
{
	struct rest file[FILES] = {0};
	struct records list = {0};
	size_t at = 0, end = 0;
	int r = 0;

	for (size_t i = 0; i < FILES && r == 0; i++) {
		r = load(dir, i, &file[i]);
		if (r == 0)
			list_file(epoch, &file[i], &list);
	}
	if (r == 0 && list.count) {
		qsort(list.at, list.count, sizeof(*list.at), by_number);
		find_row(&list, number, &at, &end);
	}
	for (; r == 0 && at < end; at++)
		r = fn(ctx, list.at[at].number, list.at[at].payload);
	free(list.at);
	for (size_t i = 0; i < FILES; i++)
		buf_fini(&file[i].bytes);
	return r;
}
