/* Output as frames: collected by commands, sent to a client, copied by the client to its streams. */
#include "cli/out.h"

#include "cli/show.h"
#include "core/platform.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum frame {
	FRAME_STDOUT = 1,
	FRAME_STDERR = 2,
	FRAME_EXIT = 3,
	FRAME_QUESTION = 4
};

#define HEADER_BYTES 5

void out_init(struct out *o)
{
	*o = (struct out){.fd = -1, .tty = isatty(STDOUT_FILENO)};
}

void out_init_socket(struct out *o, int fd, bool tty)
{
	assert(fd >= 0);
	*o = (struct out){.fd = fd, .tty = tty};
}

void out_fini(struct out *o)
{
	buf_fini(&o->frames);
	o->fd = -1;
}

static void add_frame(struct out *o, enum frame kind, struct slice payload)
{
	struct reader r = reader_init(payload);

	while (reader_left(&r)) {
		size_t left = reader_left(&r);
		struct slice part =
			reader_take(&r, left < OUT_FRAME_BYTES_MAX ? left : OUT_FRAME_BYTES_MAX);

		buf_u8(&o->frames, (uint8_t)kind);
		buf_be32(&o->frames, (uint32_t)part.len);
		buf_slice_append(&o->frames, part);
	}
}

void out_text(struct out *o, struct slice text)
{
	add_frame(o, FRAME_STDOUT, text);
}

static char *format_text(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static char *format_text(const char *format, va_list args)
{
	char *text = NULL;

	if (vasprintf(&text, format, args) < 0)
		abort();
	return text;
}

void out_printf(struct out *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	AUTO(free_ptr) char *text = format_text(format, args);
	va_end(args);
	add_frame(o, FRAME_STDOUT, SLICE_STR(text));
}

int out_error(struct out *o, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	AUTO(free_ptr) char *text = format_text(format, args);
	va_end(args);
	AUTO(free_ptr) char *safe = show_text(text);
	AUTO(free_ptr) char *line = xasprintf("blaze: %s\n", safe);
	add_frame(o, FRAME_STDERR, SLICE_STR(line));
	return code;
}

void out_warn(struct out *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	AUTO(free_ptr) char *text = format_text(format, args);
	va_end(args);
	AUTO(free_ptr) char *safe = show_text(text);
	AUTO(free_ptr) char *line = xasprintf("blaze: warning: %s\n", safe);
	add_frame(o, FRAME_STDERR, SLICE_STR(line));
}

int out_write_all(int fd, struct slice data)
{
	struct reader r = reader_init(data);

	while (reader_left(&r)) {
		ssize_t n = send(fd, r.p, reader_left(&r), PLATFORM_SEND_FLAGS);

		if (n < 0 && errno == ENOTSOCK)
			n = write(fd, r.p, reader_left(&r));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		(void)reader_take(&r, (size_t)n);
	}
	return 0;
}

int out_read_all(int fd, void *data, size_t len)
{
	uint8_t *p = data;
	size_t have = 0;

	while (have < len) {
		ssize_t n = read(fd, p + have, len - have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return have ? -EPIPE : 0;
		have += (size_t)n;
	}
	return 1;
}

void out_flush(struct out *o)
{
	int r = 0;

	if (o->fd >= 0 && !o->gone) {
		r = out_write_all(o->fd, buf_slice(&o->frames));
	} else if (o->fd < 0) {
		struct reader in = reader_init(buf_slice(&o->frames));

		while (reader_left(&in) && r == 0) {
			uint8_t kind = reader_u8(&in);
			struct slice text = reader_take(&in, reader_be32(&in));

			if (kind == FRAME_STDOUT && o->capture)
				buf_slice_append(o->capture, text);
			else
				r = out_write_all(
					kind == FRAME_STDERR ? STDERR_FILENO : STDOUT_FILENO, text);
		}
		assert(r < 0 || reader_finish(&in) == 0);
	}
	if (r < 0 && !o->gone)
		o->error = r;
	o->gone |= r < 0;
	buf_clear(&o->frames);
}

void out_exit(struct out *o, int code)
{
	assert(code >= 0);
	if (o->fd >= 0) {
		uint8_t bytes[4] = {0, 0, 0, (uint8_t)code};

		add_frame(o, FRAME_EXIT, SLICE(bytes, sizeof(bytes)));
	}
	out_flush(o);
}

bool out_is_cancelled(struct out *o)
{
	struct pollfd p = {.fd = o->fd, .events = PLATFORM_POLLRDHUP};

	if (atomic_load(&o->cancelled) || o->gone)
		return true;
	if (o->fd >= 0 && poll(&p, 1, 0) > 0 &&
	    (p.revents & (PLATFORM_POLLRDHUP | POLLHUP | POLLERR)))
		o->gone = true;
	return o->gone;
}

bool out_has_room(struct out *o, int timeout_ms)
{
	struct pollfd p = {.fd = o->fd, .events = POLLOUT | PLATFORM_POLLRDHUP};

	if (o->fd < 0)
		return true; /* this process' own streams may block: nobody else waits for it */
	if (o->gone || poll(&p, 1, timeout_ms) <= 0)
		return false;
	o->gone = p.revents & (PLATFORM_POLLRDHUP | POLLHUP | POLLERR);
	return !o->gone && (p.revents & POLLOUT);
}

/* On this process' own terminal. */
static bool ask_here(struct slice question)
{
	char answer[16] = "";

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return true;
	(void)out_write_all(STDOUT_FILENO, question);
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* What the client says; it may take a person's time. */
static int read_answer(struct out *o)
{
	for (;;) {
		struct pollfd p = {.fd = o->fd, .events = POLLIN};
		uint8_t answer = 0;

		if (out_is_cancelled(o))
			return -ECANCELED;
		if (poll(&p, 1, 200) <= 0)
			continue;
		ssize_t n = read(o->fd, &answer, 1);
		if (n == 1)
			return answer == 'y';
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return -ECANCELED;
	}
}

int out_ask(struct out *o, const char *question)
{
	if (o->fd >= 0)
		add_frame(o, FRAME_QUESTION, SLICE_STR(question));
	out_flush(o);
	return o->fd >= 0 ? read_answer(o) : ask_here(SLICE_STR(question));
}

/*
 * For who follows something without end: whether somebody still reads. A pipe whose reader has left says so to poll() at
 * once, and not only at the next write, which may be hours away.
 */
static bool is_read(int fd, struct out *o)
{
	struct pollfd p[] = {{.fd = fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};

	if (!o->follows)
		return true;
	while (!o->gone && poll(p, countof(p), -1) < 0 && errno == EINTR)
		;
	return !o->gone && !(p[1].revents & (POLLERR | POLLHUP | POLLNVAL));
}

int out_relay(int fd, struct out *o)
{
	AUTO(free_ptr) uint8_t *payload = xmalloc(OUT_FRAME_BYTES_MAX);
	int code = -EPIPE;

	for (;;) {
		uint8_t header[HEADER_BYTES];

		if (!is_read(fd, o))
			return o->error == -EPIPE ? 0 : o->error;
		int r = out_read_all(fd, header, sizeof(header));

		if (r <= 0)
			return code >= 0 || r == 0 ? code : r;
		struct reader in = reader_init(SLICE(header, sizeof(header)));
		uint8_t kind = reader_u8(&in);
		uint32_t len = reader_be32(&in);

		if (len > OUT_FRAME_BYTES_MAX || kind < FRAME_STDOUT || kind > FRAME_QUESTION)
			return -EBADMSG;
		if (len && (r = out_read_all(fd, payload, len)) <= 0)
			return r ? r : -EPIPE;
		if (kind == FRAME_EXIT && len == 4)
			code = payload[3];
		else if (kind == FRAME_QUESTION)
			(void)out_write_all(fd, ask_here(SLICE(payload, len)) ? SLICE_STR("y")
									      : SLICE_STR("n"));
		else if (kind != FRAME_EXIT)
			add_frame(o, (enum frame)kind, SLICE(payload, len));
		out_flush(o);
	}
}
