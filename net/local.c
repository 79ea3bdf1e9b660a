/* Sockets of the same machine. */
#include "net/local.h"

#include "core/log.h"
#include "core/platform.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG 16

/* Ours, and nobody else may look or write there. */
static bool own_directory(const char *path)
{
	struct stat st;

	(void)mkdir(path, 0700);
	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 077) == 0;
}

char *local_directory(const char *purpose)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	bool has_runtime = runtime && runtime[0] == '/' && access(runtime, W_OK) == 0;
	AUTO(free_ptr)
	char *base = has_runtime ? xasprintf("%s/blaze", runtime)
				 : xasprintf("/tmp/blaze-%lu", (unsigned long)geteuid());
	AUTO(free_ptr) char *dir = xasprintf("%s/%s", base, purpose);

	return own_directory(base) && own_directory(dir) ? STEAL(dir) : NULL;
}

static bool is_turned_off(void)
{
	const char *value = getenv("BLAZE_LOCAL");

	return value && strcmp(value, "0") == 0;
}

bool local_endpoint(uint64_t actor, struct endpoint *ret)
{
	AUTO(free_ptr) char *dir = is_turned_off() ? NULL : local_directory("net");

	if (!dir)
		return false;
	AUTO(free_ptr) char *path = xasprintf("%s/%016" PRIx64 ".sock", dir, actor);
	*ret = (struct endpoint){0};
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		log_debug("no socket for this machine: the path is too long: %s", path);
		return false;
	}
	(void)snprintf(ret->host, sizeof(ret->host), "%s", path);
	return true;
}

bool local_is_there(const struct endpoint *e)
{
	struct stat st;

	return lstat(e->host, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid();
}

static struct sockaddr_un address_of(const struct endpoint *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	assert(strlen(e->host) < sizeof(address.sun_path));
	memcpy(address.sun_path, e->host, strlen(e->host));
	return address;
}

/* A full backlog is an answer, too. */
static bool answers(const struct sockaddr_un *address)
{
	AUTO(close_fd) int fd = platform_socket(AF_UNIX, SOCK_STREAM, true);

	return fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			   errno == EAGAIN || errno == EINPROGRESS);
}

int local_listen(const struct endpoint *e)
{
	struct sockaddr_un address = address_of(e);
	AUTO(close_fd) int fd = platform_socket(AF_UNIX, SOCK_STREAM, true);

	if (fd < 0)
		return fd;
	if (local_is_there(e)) {
		if (answers(&address))
			return -EADDRINUSE;
		(void)unlink(e->host);
	}
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (chmod(e->host, 0600) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		int r = -errno;

		(void)unlink(e->host);
		return r;
	}
	int ret = fd;
	fd = -1;
	return ret;
}

void local_unlisten(const struct endpoint *e)
{
	(void)unlink(e->host);
}

bool local_is_own_user(int fd)
{
	uid_t uid = 0;

	return platform_peer_uid(fd, &uid) == 0 && uid == geteuid();
}
