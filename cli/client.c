/* Finding the database a command is about, and the process to run it in. */
#include "cli/client.h"

#include "cli/control.h"
#include "cli/home.h"
#include "cli/mountpoint.h"
#include "cli/service.h"
#include "cli/show.h"
#include "core/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* How long peers get to take what a command in its own process published at its end. */
#define FLUSH_MS 500
#define OPTIONS_BYTES_MAX 1024

void target_fini(struct target *t)
{
	free(t->home);
	free(t->name);
	free(t->path);
	if (t->fd >= 0)
		(void)close(t->fd);
	*t = (struct target){.fd = -1};
}

/* ---- speaking to a daemon ------------------------------------------------------------------- */

int client_connect(const char *home, const char *name)
{
	AUTO(free_ptr) char *dir = home_database(home, name);
	struct sockaddr_un address;
	AUTO(close_fd) int dir_fd = -1;
	int r = control_address(dir, &address, &dir_fd);

	if (r < 0)
		return r;
	int fd = platform_socket(AF_UNIX, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	return fd;
}

static int send_request(int fd, bool tty, int argc, char *const *argv)
{
	AUTO(buf_fini) struct buf body = {0};
	AUTO(buf_fini) struct buf all = {0};

	buf_u8(&body, CONTROL_VERSION);
	buf_u8(&body, tty ? CONTROL_TTY : 0);
	buf_varint(&body, (uint64_t)argc);
	for (int i = 0; i < argc; i++)
		buf_bytes(&body, SLICE_STR(argv[i]));
	if (argc > CONTROL_ARGS_MAX || body.len > CONTROL_REQUEST_BYTES_MAX)
		return -E2BIG;
	buf_be32(&all, (uint32_t)body.len);
	buf_slice_append(&all, buf_slice(&body));
	return out_write_all(fd, buf_slice(&all));
}

int client_call(int fd, struct out *out, int argc, char *const *argv)
{
	int r = send_request(fd, out->tty, argc, argv);

	if (r == -E2BIG)
		return out_error(out, CODE_USAGE, "%s: the arguments are too long", argv[0]);
	/* A daemon that refuses answers before it has read all of the request. */
	r = out_relay(fd, out);
	if (r < 0)
		return out_error(
			out, CODE_FAILED,
			"%s: the daemon ended before it answered: see the file log in the database's "
			"directory",
			argv[0]);
	return r;
}

int client_info(const char *home, const char *name, struct client_info *ret)
{
	AUTO(close_fd) int fd = client_connect(home, name);
	AUTO(buf_fini) struct buf answer = {0};
	struct out out;
	char command[] = "info";
	char *argv[] = {command, NULL};

	if (fd < 0)
		return fd;
	out_init(&out);
	out.capture = &answer;
	int r = send_request(fd, false, 1, argv);
	if (r >= 0)
		r = out_relay(fd, &out);
	out_fini(&out);
	if (r != CODE_OK)
		return -ECONNREFUSED;

	const char *fields[3] = {"", "", ""};
	struct reader in = reader_init(buf_slice(&answer));
	for (size_t i = 0; i < countof(fields); i++) {
		size_t n = strnlen((const char *)in.p, reader_left(&in));

		fields[i] = (const char *)reader_take(&in, n + 1).data;
		if (in.bad)
			return -ECONNREFUSED;
	}
	*ret = (struct client_info){.pid = (pid_t)strtol(fields[0], NULL, 10)};
	(void)snprintf(ret->mountpoint, sizeof(ret->mountpoint), "%s", fields[1]);
	(void)snprintf(ret->listen, sizeof(ret->listen), "%s", fields[2]);
	return 0;
}

/* ---- finding -------------------------------------------------------------------------------- */

/* Resolves what exists of a path and keeps the rest: a deleted record has a history too. */
static char *canonical(const char *path)
{
	AUTO(free_ptr) char *head = path[0] == '/' ? xstrdup(path) : xasprintf("./%s", path);
	AUTO(buf_fini) struct buf tail = {0};

	for (;;) {
		AUTO(free_ptr) char *real = realpath(head, NULL);
		char *slash = strrchr(head, '/');

		if (real)
			return xasprintf("%s%s", strcmp(real, "/") == 0 && tail.len ? "" : real,
					 tail.len ? buf_str(&tail) : "");
		if (!slash || strcmp(slash, "/..") == 0)
			return NULL;
		if (slash[1] && strcmp(slash, "/.") != 0) {
			AUTO(free_ptr)
			char *rest = tail.len ? xstrdup(buf_str(&tail)) : xstrdup("");

			buf_clear(&tail);
			buf_printf(&tail, "%s%s", slash, rest);
		}
		if (slash == head)
			slash[1] = 0;
		else
			*slash = 0;
	}
}

/* What of path is below dir, without a leading slash; NULL when it is not. */
static const char *below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (strncmp(path, dir, n) != 0 || (path[n] != '/' && path[n] != 0))
		return NULL;
	return path[n] == '/' ? path + n + 1 : path + n;
}

/* The mount an absolute path is in. true = found. */
static bool find_mount(const char *home, const char *path, struct target *t)
{
	char **names = NULL;
	size_t n = home_names(home, &names);
	bool found = false;

	for (size_t i = 0; i < n && !found; i++) {
		AUTO(free_ptr) struct client_info *info = xcalloc(1, sizeof(*info));

		if (client_info(home, names[i], info) < 0 || !info->mountpoint[0])
			continue;
		const char *rest = below(path, info->mountpoint);
		if (!rest)
			continue;
		t->name = xstrdup(names[i]);
		t->path = xstrdup(rest);
		found = true;
	}
	home_names_free(names, n);
	return found;
}

static int ask_which(char *const *names, size_t n, struct out *out)
{
	AUTO(buf_fini) struct buf list = {0};

	for (size_t i = 0; i < n; i++)
		buf_printf(&list, "%s%s", i ? ", " : "", names[i]);
	return out_error(out, CODE_USAGE, "which database? Name one of: %s", buf_str(&list));
}

static int find_only(struct target *t, struct out *out)
{
	AUTO(free_ptr) char *cwd = getcwd(NULL, 0);
	char **names = NULL;
	size_t n = 0;
	size_t mounted = 0;
	size_t last = 0;
	int code = CODE_OK;

	if (cwd && find_mount(t->home, cwd, t))
		return CODE_OK;
	n = home_names(t->home, &names);
	for (size_t i = 0; i < n && n > 1; i++) {
		AUTO(close_fd) int fd = client_connect(t->home, names[i]);

		mounted += fd >= 0 ? 1 : 0;
		last = fd >= 0 ? i : last;
	}
	if (n == 0)
		code = out_error(
			out, CODE_NO_DATABASE,
			"no database on this device yet: make one with blaze init NAME, or join one "
			"with blaze pair CODE");
	else if (n == 1 || mounted == 1)
		t->name = xstrdup(names[last]);
	else
		code = ask_which(names, n, out);
	home_names_free(names, n);
	return code;
}

/* "NAME" or "NAME:path". */
static bool find_named(const struct command *c, const char *operand, struct target *t)
{
	const char *colon = strchr(operand, ':');

	if (!c->operand_is_path || c->operand_is_either) {
		if (home_has_database(t->home, operand))
			t->name = xstrdup(operand);
		if (t->name || !c->operand_is_path)
			return t->name != NULL;
	}
	if (!colon)
		return false;
	AUTO(free_ptr) char *name = strndup(operand, (size_t)(colon - operand));
	if (!name || !home_has_database(t->home, name))
		return false;
	t->name = STEAL(name);
	t->path = xstrdup(colon[1] == '/' ? colon + 2 : colon + 1);
	return true;
}

static int not_found(const struct target *t, const char *operand, const char *path, struct out *out)
{
	AUTO(free_ptr) char *shown = show_text(operand);

	if (path && platform_is_blaze(path)) {
		if (platform_is_dead(path))
			return out_error(
				out, CODE_FAILED,
				"%s: the mount's process has died: run blaze umount %s, then mount it "
				"again",
				shown, shown);
		return out_error(
			out, CODE_FAILED,
			"%s is mounted by another device of this machine: set BLAZE_HOME to its "
			"directory",
			shown);
	}
	if (strchr(operand, '/') || access(operand, F_OK) == 0)
		return out_error(
			out, CODE_NO_DATABASE,
			"%s is not inside a mounted database: see blaze mount for what is mounted",
			shown);
	return out_error(
		out, CODE_NO_DATABASE,
		"no database \"%s\" in %s: see blaze mount for what is there, or make one with blaze "
		"init",
		shown, t->home);
}

int client_find(const struct command *c, const char *operand, struct target *ret, struct out *out)
{
	struct why why = {""};
	int code = CODE_OK;

	*ret = (struct target){.fd = -1};
	if (home_find(&ret->home, &why) < 0)
		return out_error(out, CODE_FAILED, "%s", why.text);
	if (!operand) {
		code = find_only(ret, out);
	} else if (!find_named(c, operand, ret)) {
		AUTO(free_ptr) char *path = canonical(operand);

		if (!path || !find_mount(ret->home, path, ret))
			code = not_found(ret, operand, path, out);
	}
	if (code != CODE_OK)
		return code;
	ret->fd = client_connect(ret->home, ret->name);
	if (ret->fd == -EACCES)
		return out_error(out, CODE_FAILED, "%s belongs to another user", ret->name);
	if (ret->fd < 0)
		ret->fd = -1;
	return CODE_OK;
}

/* ---- running -------------------------------------------------------------------------------- */

/* No daemon has the database: this process opens it for the time of the command. */
static int serve_here(const struct command *c, struct target *t, struct out *out, int argc,
		      char **argv)
{
	struct service s = {0};
	struct why why = {""};
	int code = service_open(&s, t->home, t->name, out);

	if (code == CODE_OK && (c->needs & COMMAND_NEEDS_FILES))
		code = service_open_files(&s, getuid(), getgid(), out);
	if (code == CODE_OK && (c->needs & COMMAND_NEEDS_NET))
		code = service_open_net(&s, NULL, out);
	/* A command that waits for the network takes long: others may ask it meanwhile. */
	if (code == CODE_OK && s.net && control_start(&s, &why) < 0)
		code = out_error(out, CODE_FAILED, "%s", why.text);
	if (code == CODE_OK)
		code = c->serve(&s, out, argc, argv);
	out_flush(out);
	control_stop(s.control);
	control_finish(s.control, 0);
	if (s.vfs)
		service_close_files(&s, FLUSH_MS);
	service_close(&s);
	return code;
}

int client_run(const struct command *c, struct out *out, int argc, char **argv)
{
	_Alignas(max_align_t) char scratch[OPTIONS_BYTES_MAX] = {0};
	AUTO(target_fini) struct target t = {.fd = -1};
	int code = CODE_OK;
	int first = options_parse(&c->usage, scratch, argc, argv, out, &code);

	if (!first)
		return code;
	int operand = first;
	if (c->path_operand)
		operand += c->path_operand(argc - first, argv + first);
	code = client_find(c, operand < argc ? argv[operand] : NULL, &t, out);
	if (code != CODE_OK)
		return code;

	if (t.fd < 0 && (c->needs & COMMAND_NEEDS_MOUNT))
		return out_error(out, CODE_FAILED, "%s: %s is not mounted: blaze mount %s DIR first",
				 c->usage.name, t.name, t.name);

	char end[] = "--";
	char none[] = "";
	AUTO(free_ptr) char **request = xcalloc((size_t)argc + 3, sizeof(*request));
	int n = 0;
	for (int i = 0; i < first; i++) {
		if (i == 0 || i + 1 < first || strcmp(argv[i], "--") != 0)
			request[n++] = argv[i];
	}
	request[n++] = end;
	for (int i = first; i < argc && (c->operand_is_path || c->path_operand); i++) {
		if (i != operand)
			request[n++] = argv[i];
	}
	/* The path comes last; left out, it is the directory the person is in. */
	if (c->operand_is_path)
		request[n++] = t.path ? t.path : none;
	return t.fd >= 0 ? client_call(t.fd, out, n, request) : serve_here(c, &t, out, n, request);
}
