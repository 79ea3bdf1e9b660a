/* Our own read and writev on /dev/fuse, of which the first writev sees the reply to FUSE_INIT. */
#include "fs/init_patch.h"

#include "core/platform.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <sys/uio.h>
#include <unistd.h>

#define PROTOCOL_MAJOR 7

/** What every reply and notification begins with. */
struct out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique; /**< of the request; a notification has none */
};

/** What the reply to FUSE_INIT begins with. */
struct init_out {
	uint32_t major;
	uint32_t minor;
	uint32_t max_readahead;
	uint32_t flags;
};

static ssize_t device_read(int fd, void *data, size_t size, void *userdata)
{
	(void)userdata;
	return read(fd, data, size);
}

static bool is_init_reply(const struct iovec *iov, int count)
{
	const struct out_header *header = iov[0].iov_base;

	return count == 2 && iov[0].iov_len == sizeof(*header) && header->error == 0 &&
	       header->unique != 0 && iov[1].iov_len > sizeof(struct init_out);
}

/** libfuse builds the reply in memory of its own, so it may be changed in place. */
static void patch(const struct iovec *iov)
{
	struct init_out *out = iov[1].iov_base;

	if (out->major == PROTOCOL_MAJOR)
		out->flags |= PLATFORM_INIT_FLAGS;
}

/* What fs/notify.c does to wait for an inode's lock fails on a file, as meant: libfuse would say so, each time. */
static ssize_t write_quietly(int fd, struct iovec *iov, int count)
{
	ssize_t r = writev(fd, iov, count);

	if (r < 0 && errno == ENOTDIR)
		errno = ENOENT;
	return r;
}

static ssize_t device_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct init_patch *p = userdata;

	/* A notification can overtake the reply. */
	if (atomic_load_explicit(&p->answered, memory_order_relaxed) || !is_init_reply(iov, count))
		return write_quietly(fd, iov, count);
	patch(iov);
	atomic_store(&p->answered, true);
	ssize_t r = writev(fd, iov, count);
	if (r >= 0 && p->ready)
		p->ready(p->ctx);
	return r;
}

int init_patch_install(struct fuse_session *se)
{
	static const struct fuse_custom_io io = {.read = device_read, .writev = device_writev};

	return fuse_session_custom_io(se, &io, fuse_session_fd(se));
}
