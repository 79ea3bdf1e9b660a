/* The control socket: one thread accepts, one thread a client runs its command. */
#include "cli/control.h"

#include "cli/command.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_TIMEOUT_S 5
#define SEND_TIMEOUT_S 10

struct control {
	struct service *service;
	struct thread thread;
	int listen_fd;
	int stop_fd; /* readable = stop */
	struct mutex lock;
	struct cond changed;
	/* The rest is protected by lock. */
	struct conn *conns;
	size_t conn_count;
	size_t parked_count;
	bool stopping;
	bool finished;
	uint64_t unsent;
};

/* One client. Belongs to its thread; the list is for cancelling. */
struct conn {
	struct control *control;
	struct conn *next;
	struct out out;
	int fd;
	bool parked;
};

int control_address(const char *dir, struct sockaddr_un *ret, int *ret_dir_fd)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	return platform_socket_path(dir, CONTROL_NAME, ret->sun_path, sizeof(ret->sun_path),
				    ret_dir_fd);
}

/* ---- one client ----------------------------------------------------------------------------- */

struct request {
	struct buf bytes;
	char *argv[CONTROL_ARGS_MAX + 1];
	int argc;
	bool tty;
};

static void request_fini(struct request *q)
{
	for (int i = 0; i < q->argc; i++)
		free(q->argv[i]);
	buf_fini(&q->bytes);
}

static int decode_request(struct request *q)
{
	struct reader r = reader_init(buf_slice(&q->bytes));

	if (reader_u8(&r) != CONTROL_VERSION)
		return -EPROTONOSUPPORT;
	q->tty = reader_u8(&r) & CONTROL_TTY;
	uint64_t n = reader_varint_max(&r, CONTROL_ARGS_MAX);

	for (uint64_t i = 0; i < n && !r.bad; i++) {
		struct slice arg = reader_bytes(&r, CONTROL_REQUEST_BYTES_MAX);
		char *copy = xcalloc(arg.len + 1, 1);

		if (arg.len)
			memcpy(copy, arg.data, arg.len);
		q->argv[q->argc++] = copy;
		r.bad |= strlen(copy) != arg.len;
	}
	return n == 0 ? -EBADMSG : reader_finish(&r);
}

static int read_request(int fd, struct request *q)
{
	uint8_t header[4];
	int r = out_read_all(fd, header, sizeof(header));

	if (r <= 0)
		return r < 0 ? r : -EPIPE;
	struct reader in = reader_init(SLICE(header, sizeof(header)));
	uint32_t len = reader_be32(&in);
	if (len == 0 || len > CONTROL_REQUEST_BYTES_MAX)
		return -EBADMSG;
	buf_resize(&q->bytes, len);
	r = out_read_all(fd, q->bytes.data, len);
	return r < 0 ? r : r == 0 ? -EPIPE : decode_request(q);
}

static int serve(struct conn *conn)
{
	AUTO(request_fini) struct request q = {0};
	int r = read_request(conn->fd, &q);

	if (r == -EPROTONOSUPPORT)
		return out_error(
			&conn->out, CODE_FAILED,
			"the running daemon is of another version: blaze umount it, then mount again");
	if (r < 0)
		return out_error(&conn->out, CODE_FAILED,
				 "the daemon did not understand the request");
	const struct command *c = command_find(q.argv[0]);

	if (!c || !c->serve)
		return out_error(&conn->out, CODE_USAGE, "the daemon knows no such command");
	conn->out.tty = q.tty;
	log_debug("control: %s", c->usage.name);
	return c->serve(conn->control->service, &conn->out, q.argc, q.argv);
}

static void *conn_thread(void *arg)
{
	struct conn *conn = arg;
	struct control *c = conn->control;

	out_exit(&conn->out, serve(conn));
	mutex_lock(&c->lock);
	struct conn **at = &c->conns;
	while (*at != conn)
		at = &(*at)->next;
	*at = conn->next;
	c->parked_count -= conn->parked ? 1 : 0;
	/* The end of a parked connection says that the process is gone, so the process' end closes it. */
	if (!conn->parked)
		(void)close(conn->fd);
	out_fini(&conn->out);
	free(conn);
	c->conn_count--;
	cond_broadcast(&c->changed);
	mutex_unlock(&c->lock);
	return NULL;
}

void control_park(struct service *s, struct out *out, uint64_t *ret_unsent)
{
	struct conn *conn = container_of(out, struct conn, out);
	struct control *c = s->control;

	assert(c && conn->control == c);
	mutex_lock(&c->lock);
	conn->parked = true;
	c->parked_count++;
	cond_broadcast(&c->changed);
	while (!c->finished)
		cond_wait(&c->changed, &c->lock);
	*ret_unsent = c->unsent;
	mutex_unlock(&c->lock);
}

/* ---- accepting ------------------------------------------------------------------------------ */

static bool is_allowed(int fd)
{
	uid_t uid;

	return platform_peer_uid(fd, &uid) == 0 && (uid == geteuid() || uid == 0);
}

/* NULL when there is no room. */
static struct conn *add_conn(struct control *c, int fd)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));

	conn->control = c;
	conn->fd = fd;
	out_init_socket(&conn->out, fd, false);
	mutex_lock(&c->lock);
	bool room = !c->stopping && c->conn_count < CONTROL_CLIENTS_MAX;
	if (room) {
		conn->next = c->conns;
		c->conns = conn;
		c->conn_count++;
	}
	mutex_unlock(&c->lock);
	if (room)
		return conn;
	out_exit(&conn->out,
		 out_error(&conn->out, CODE_BUSY,
			   "the daemon is ending or serves %d commands already: try again",
			   CONTROL_CLIENTS_MAX));
	out_fini(&conn->out);
	free(conn);
	return NULL;
}

static void accept_one(struct control *c)
{
	int fd = platform_accept(c->listen_fd, false);
	struct timeval receive = {.tv_sec = REQUEST_TIMEOUT_S};
	struct timeval transmit = {.tv_sec = SEND_TIMEOUT_S};

	if (fd < 0) {
		/* Out of descriptors: the queue stays, so wait a little instead of spinning. */
		if (fd == -EMFILE || fd == -ENFILE)
			(void)poll(NULL, 0, 100);
		return;
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof(receive));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &transmit, sizeof(transmit));
	struct conn *conn = is_allowed(fd) ? add_conn(c, fd) : NULL;
	if (conn)
		thread_detach("blaze-cmd", conn_thread, conn);
	else
		(void)close(fd);
}

static void *accept_thread(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[] = {{.fd = c->listen_fd, .events = POLLIN},
			       {.fd = c->stop_fd, .events = POLLIN}};

	while (!(fds[1].revents & POLLIN)) {
		if (poll(fds, countof(fds), -1) > 0 && (fds[0].revents & POLLIN))
			accept_one(c);
	}
	return NULL;
}

static int listen_at(int fd, const struct sockaddr_un *address)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    chmod(address->sun_path, 0600) < 0 || listen(fd, CONTROL_CLIENTS_MAX) < 0)
		return -errno;
	return fd;
}

/* The database is ours (its store is locked), so a socket that is there belongs to nobody any more. */
static int open_socket(const char *dir)
{
	struct sockaddr_un address;
	AUTO(close_fd) int dir_fd = -1;
	int r = control_address(dir, &address, &dir_fd);

	if (r < 0)
		return r;
	int fd = platform_socket(AF_UNIX, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	(void)unlink(address.sun_path);
	r = listen_at(fd, &address);
	if (r < 0)
		(void)close(fd);
	return r;
}

int control_start(struct service *s, struct why *why)
{
	int fd = open_socket(s->dir);
	int r = fd;

	if (r < 0)
		return why_set(why, r, "cannot open the control socket %s/" CONTROL_NAME ": %s",
			       s->dir, strerror(-r));
	int stop_fd = platform_event_create();
	if (stop_fd < 0) {
		r = stop_fd;
		(void)close(fd);
		return why_set(why, r, "cannot open an event descriptor: %s", strerror(-r));
	}
	struct control *c = xcalloc(1, sizeof(*c));

	c->service = s;
	c->listen_fd = fd;
	c->stop_fd = stop_fd;
	mutex_init(&c->lock);
	cond_init(&c->changed);
	s->control = c;
	thread_start(&c->thread, "blaze-control", accept_thread, c);
	return 0;
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	mutex_lock(&c->lock);
	c->stopping = true;
	mutex_unlock(&c->lock);
	platform_event_set(c->stop_fd);
	thread_join(&c->thread);

	struct sockaddr_un address;
	AUTO(close_fd) int dir_fd = -1;
	if (control_address(c->service->dir, &address, &dir_fd) == 0)
		(void)unlink(address.sun_path);
	(void)close(c->listen_fd);

	mutex_lock(&c->lock);
	while (c->conn_count > c->parked_count) {
		for (struct conn *conn = c->conns; conn; conn = conn->next)
			atomic_store(&conn->out.cancelled, true);
		cond_wait(&c->changed, &c->lock);
	}
	mutex_unlock(&c->lock);
}

void control_finish(struct control *c, uint64_t unsent)
{
	if (!c)
		return;
	mutex_lock(&c->lock);
	assert(c->stopping);
	c->unsent = unsent;
	c->finished = true;
	cond_broadcast(&c->changed);
	while (c->conn_count > 0)
		cond_wait(&c->changed, &c->lock);
	c->service->control = NULL;
	mutex_unlock(&c->lock);
	(void)close(c->stop_fd);
	cond_fini(&c->changed);
	mutex_fini(&c->lock);
	free(c);
}
