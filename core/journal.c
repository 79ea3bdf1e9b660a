/* Records in two files that take turns. */
#include "core/journal.h"

#include "core/platform.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 2
#define HEAD_BYTES 20
#define SUM_AT 12

struct journal {
	int fd[FILES];
	size_t now; /**< the file that is written */
	size_t at;  /**< where its next record goes */
	struct buf record;
	uint8_t epoch[JOURNAL_EPOCH_BYTES];
};

static char *path_of(const char *dir, size_t i)
{
	return xasprintf("%s/journal-%zu.log", dir, i);
}

static int file_open(const char *dir, size_t i)
{
	AUTO(free_ptr) char *path = path_of(dir, i);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && lseek(fd, 0, SEEK_END) < JOURNAL_ROOM)
		r = platform_reserve(fd, JOURNAL_ROOM);
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
	int r = 0;

	memcpy(j->epoch, epoch, sizeof(j->epoch));
	for (size_t i = 0; i < FILES; i++) {
		j->fd[i] = r < 0 ? -1 : file_open(dir, i);
		if (r == 0 && j->fd[i] < 0)
			r = j->fd[i];
	}
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
	if (r == 0)
		j->at += b->len;
	else
		seek(j, j->at);
	return r;
}

void journal_turn(struct journal *j)
{
	j->now = (j->now + 1) % FILES;
	seek(j, 0);
}

void journal_restart(struct journal *j)
{
	seek(j, 0);
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

int journal_read(const char *dir, const uint8_t epoch[JOURNAL_EPOCH_BYTES], uint64_t after,
		 int (*fn)(void *ctx, uint64_t number, struct slice payload), void *ctx)
{
	struct rest file[FILES] = {0};
	struct record head[FILES];
	bool there[FILES];
	int r = 0;

	for (size_t i = 0; i < FILES; i++) {
		r = r < 0 ? r : load(dir, i, &file[i]);
		there[i] = r == 0 && next(epoch, &file[i], &head[i]);
	}
	while (r == 0) {
		size_t i = there[0] && (!there[1] || head[0].number < head[1].number) ? 0 : 1;

		if (!there[i] || head[i].number > after + 1)
			break;
		if (head[i].number == after + 1) {
			r = fn(ctx, head[i].number, head[i].payload);
			after++;
		}
		there[i] = next(epoch, &file[i], &head[i]);
	}
	for (size_t i = 0; i < FILES; i++)
		buf_fini(&file[i].bytes);
	return r;
}
