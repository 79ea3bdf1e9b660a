/* A pipe in the place of standard error. */
#include "fs/refusal.h"

#include "core/bytes.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Twice as much as fusermount3 ever says; threads that log meanwhile must not wait for us. */
#define SAID_BYTES_MAX 4096

static bool divert(struct refusal *r, int ends[2])
{
	for (int i = 0; i < 2; i++) {
		if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0 ||
		    fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0)
			return false;
	}
	r->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return r->saved_fd >= 0 && dup2(ends[1], STDERR_FILENO) >= 0;
}

void refusal_begin(struct refusal *r)
{
	int ends[2];

	*r = (struct refusal){.saved_fd = -1, .read_fd = -1};
	if (pipe(ends) < 0)
		return;
	if (divert(r, ends))
		r->read_fd = ends[0];
	else
		(void)close(ends[0]);
	(void)close(ends[1]);
}

/* One line of what was said: the helper's becomes the text, others go where they belong. */
static void sort_out(const char *line, char *text, size_t size)
{
	static const char prefix[] = "fusermount3: ";

	if (strncmp(line, prefix, strlen(prefix)) == 0)
		(void)snprintf(text, size, "%s", line + strlen(prefix));
	else if (line[0])
		(void)dprintf(STDERR_FILENO, "%s\n", line);
}

void refusal_end(struct refusal *r, char *text, size_t size)
{
	char said[SAID_BYTES_MAX + 1];

	if (r->read_fd < 0) {
		close_fd(&r->saved_fd);
		return;
	}
	(void)dup2(r->saved_fd, STDERR_FILENO);
	(void)close(r->saved_fd);
	ssize_t n = read(r->read_fd, said, SAID_BYTES_MAX);
	(void)close(r->read_fd);
	said[n > 0 ? n : 0] = 0;
	char *rest = said;
	while (rest)
		sort_out(strsep(&rest, "\n"), text, size);
}
