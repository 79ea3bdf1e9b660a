/* The relay's directory: keys, token, configuration. */
#include "relay/home.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX 65536
#define DEFAULT_LISTEN "[::]:7710"

void relay_config_init(struct relay_config *c)
{
	*c = (struct relay_config){
		.home = xstrdup("/var/lib/blaze-relay"),
		.listen = xstrdup(DEFAULT_LISTEN),
		.limits = {.boxes = 1000, .box_bytes = 2ull << 30, .box_items = 2000000},
		.copies = 100,
		.connections = 2000,
		.rate = 2000,
		.burst = 20000,
	};
}

void relay_config_fini(struct relay_config *c)
{
	free(c->home);
	free(c->listen);
	free(c->address);
	free(c->tls_cert);
	free(c->tls_key);
	*c = (struct relay_config){0};
}

static uint64_t *number(struct relay_config *c, const char *name)
{
	const struct {
		const char *name;
		uint64_t *value;
	} numbers[] = {
		{"mailboxes", &c->limits.boxes},
		{"mailbox-bytes", &c->limits.box_bytes},
		{"mailbox-items", &c->limits.box_items},
		{"copies", &c->copies},
		{"connections", &c->connections},
		{"rate", &c->rate},
		{"burst", &c->burst},
	};

	for (size_t i = 0; i < countof(numbers); i++) {
		if (strcmp(numbers[i].name, name) == 0)
			return numbers[i].value;
	}
	return NULL;
}

int relay_config_set(struct relay_config *c, const char *name, const char *value, struct why *why)
{
	struct endpoint e;
	char **path = strcmp(name, "tls-cert") == 0  ? &c->tls_cert
		      : strcmp(name, "tls-key") == 0 ? &c->tls_key
						     : NULL;
	char **text = strcmp(name, "listen") == 0    ? &c->listen
		      : strcmp(name, "address") == 0 ? &c->address
						     : NULL;
	uint64_t *n = number(c, name);
	char *end = NULL;

	if (path) {
		if (value[0] != '/' || strpbrk(value, " \t\r\n#"))
			return why_set(why, -EINVAL,
				       "%s: \"%.200s\" has to begin with / and have no blanks",
				       name, value);
		free(*path);
		*path = xstrdup(value);
		return 0;
	}
	if (text) {
		if (endpoint_parse(value, &e) < 0)
			return why_set(why, -EINVAL, "%s: \"%.100s\" is not HOST:PORT", name, value);
		free(*text);
		*text = xstrdup(value);
		return 0;
	}
	if (!n)
		return why_set(why, -ENOENT, "there is no setting \"%.100s\"", name);
	errno = 0;
	unsigned long long v = strtoull(value, &end, 10);
	if (errno != 0 || end == value || *end || v == 0 || strchr(value, '-'))
		return why_set(why, -EINVAL, "%s: \"%.100s\" is not a number above 0", name, value);
	*n = v;
	return 0;
}

static char *path_in(const struct relay_config *c, const char *name)
{
	return xasprintf("%s/%s", c->home, name);
}

static int read_file(const char *path, char *out, size_t size)
{
	AUTO(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, out, size - 1);
	if (n < 0)
		return -errno;
	out[n] = 0;
	return (size_t)n == size - 1 ? -EFBIG : 0;
}

static int write_file(const char *path, const char *text, mode_t mode)
{
	AUTO(close_fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0) {
		int r = errno ? -errno : -EIO;

		(void)unlink(path);
		return r;
	}
	return 0;
}

static int read_line(struct relay_config *c, char *line, struct why *why)
{
	char *rest = NULL;

	line[strcspn(line, "#")] = 0;
	char *name = strtok_r(line, " \t\r", &rest);
	char *value = strtok_r(NULL, " \t\r", &rest);
	if (!name)
		return 0;
	if (!value || strtok_r(NULL, " \t\r", &rest))
		return why_set(why, -EINVAL, "\"%.100s\" needs one value", name);
	return relay_config_set(c, name, value, why);
}

int relay_config_read(struct relay_config *c, struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "relay.conf");
	AUTO(free_ptr) char *text = xmalloc(CONFIG_BYTES_MAX);
	struct why inner = {""};
	char *rest = NULL;
	int r = read_file(path, text, CONFIG_BYTES_MAX);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return why_set(why, r, "cannot read %s: %s", path, strerror(-r));
	for (char *line = strtok_r(text, "\n", &rest); r == 0 && line;
	     line = strtok_r(NULL, "\n", &rest))
		r = read_line(c, line, &inner);
	return r < 0 ? why_set(why, r, "%s: %s", path, inner.text) : 0;
}

/* ---- keys and token ------------------------------------------------------------------------------ */

static int create_token(const struct relay_config *c, struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "token");
	AUTO(buf_fini) struct buf text = {0};
	uint8_t token[MAIL_TOKEN_BYTES];

	random_bytes(token, sizeof(token));
	base64_encode(SLICE(token, sizeof(token)), &text);
	wipe(token, sizeof(token));
	int r = write_file(path, buf_str(&text), 0600);
	wipe(text.data, text.len);
	return r < 0 && r != -EEXIST ? why_set(why, r, "cannot write %s: %s", path, strerror(-r))
				     : 0;
}

static bool is_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* Of what is in a configuration that is there, only where the certificate is can be set anew: the last word counts. */
static int append_tls(const struct relay_config *c, const char *path, struct why *why)
{
	AUTO(buf_fini) struct buf text = {0};
	struct relay_config there;

	relay_config_init(&there);
	free(there.home);
	there.home = xstrdup(c->home);
	int r = relay_config_read(&there, why);
	bool same = r == 0 && is_text(c->tls_cert, there.tls_cert) &&
		    is_text(c->tls_key, there.tls_key);
	relay_config_fini(&there);
	if (r < 0 || same)
		return r;
	AUTO(close_fd) int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	buf_printf(&text, "\ntls-cert %s\ntls-key %s\n", c->tls_cert, c->tls_key);
	if (fd < 0 || write(fd, text.data, text.len) != (ssize_t)text.len || fsync(fd) < 0)
		return why_set(why, -errno, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

static int create_config(const struct relay_config *c, struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "relay.conf");
	AUTO(buf_fini) struct buf text = {0};

	buf_printf(&text, "# blaze-relay: one setting a line; see blaze-relay --help\nlisten %s\n",
		   c->listen);
	if (c->address)
		buf_printf(&text, "address %s\n", c->address);
	if (c->tls_cert)
		buf_printf(&text, "tls-cert %s\ntls-key %s\n", c->tls_cert, c->tls_key);
	int r = write_file(path, buf_str(&text), 0644);
	if (r == -EEXIST)
		return c->tls_cert ? append_tls(c, path, why) : 0;
	return r < 0 ? why_set(why, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* ---- TLS ----------------------------------------------------------------------------------------- */

static int write_pem(const char *path, struct buf *text, struct why *why)
{
	int r = write_file(path, buf_str(text), 0600);

	return r < 0 ? why_set(why, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

/* The key first: where there is a certificate, all is there. */
static int create_tls(struct relay_config *c, struct why *why)
{
	AUTO(free_ptr) char *home = realpath(c->home, NULL);
	AUTO(free_ptr) char *cert_path = xasprintf("%s/tls.crt", home ? home : c->home);
	AUTO(free_ptr) char *key_path = xasprintf("%s/tls.key", home ? home : c->home);
	AUTO(buf_fini) struct buf cert = {0};
	AUTO(buf_fini) struct buf key = {0};
	struct endpoint e;
	int r = 0;

	if (access(cert_path, F_OK) < 0) {
		if (endpoint_parse(c->address ? c->address : c->listen, &e) < 0)
			return why_set(why, -EINVAL, "the relay's address is not HOST:PORT");
		(void)unlink(key_path);
		r = tls_make(e.host, &cert, &key, why);
		if (r == 0)
			r = write_pem(key_path, &key, why);
		if (r == 0)
			r = write_pem(cert_path, &cert, why);
		if (key.data)
			wipe(key.data, key.cap);
	}
	if (r == 0)
		r = relay_config_set(c, "tls-cert", cert_path, why);
	return r < 0 ? r : relay_config_set(c, "tls-key", key_path, why);
}

int relay_home_tls(const struct relay_config *c, struct tls_identity **ret, struct why *why)
{
	*ret = NULL;
	if (!c->tls_cert && !c->tls_key)
		return 0;
	if (!c->tls_cert || !c->tls_key)
		return why_set(why, -EINVAL, "tls-cert and tls-key are wanted both, or none");
	return tls_identity_load(c->tls_cert, c->tls_key, ret, why);
}

/* A person is there who can do something about it. */
static int check_tls(const struct relay_config *c, struct why *why)
{
	struct tls_identity *identity = NULL;
	int r = relay_home_tls(c, &identity, why);

	if (r == 0 && identity)
		r = tls_identity_check_time(identity, time(NULL), why);
	tls_identity_destroy(identity);
	return r;
}

int relay_home_create(struct relay_config *c, bool self_signed, struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "relay.key");
	struct keys *keys = NULL;
	int r = 0;

	if (mkdir(c->home, 0700) < 0 && errno != EEXIST)
		return why_set(why, -errno, "cannot make %s: %s", c->home, strerror(errno));
	if (access(path, F_OK) < 0)
		r = keys_create(path, "relay", &keys, why);
	keys_destroy(keys);
	if (r == 0)
		r = create_token(c, why);
	if (r == 0 && self_signed)
		r = create_tls(c, why);
	if (r == 0)
		r = check_tls(c, why);
	return r < 0 ? r : create_config(c, why);
}

int relay_home_keys(const struct relay_config *c, struct keys **ret, struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "relay.key");

	if (access(path, F_OK) < 0)
		return why_set(why, -ENOENT,
			       "there is no relay in %s: make one with blaze-relay setup", c->home);
	return keys_load(path, ret, why);
}

int relay_home_token(const struct relay_config *c, uint8_t ret[MAIL_TOKEN_BYTES], struct why *why)
{
	AUTO(free_ptr) char *path = path_in(c, "token");
	AUTO(buf_fini) struct buf token = {0};
	char text[64];
	int r = read_file(path, text, sizeof(text));

	if (r == 0) {
		text[strcspn(text, "\r\n")] = 0;
		r = base64_decode(text, strlen(text), &token);
	}
	wipe(text, sizeof(text));
	if (r < 0 || token.len != MAIL_TOKEN_BYTES)
		return why_set(why, r < 0 ? r : -EBADMSG,
			       "%s is missing or damaged: remove it and run blaze-relay setup, which "
			       "makes another address",
			       path);
	memcpy(ret, token.data, MAIL_TOKEN_BYTES);
	wipe(token.data, token.len);
	return 0;
}

int relay_home_address(const struct relay_config *c, const struct keys *keys, const char *endpoint,
		       char out[MAILADDR_TEXT_BYTES], struct why *why)
{
	struct mailaddr a = {0};
	const char *text = c->address ? c->address : endpoint;
	int r = relay_home_token(c, a.token, why);

	if (r < 0)
		return r;
	if (endpoint_parse(text, &a.endpoint) < 0)
		return why_set(why, -EINVAL, "\"%.100s\" is not HOST:PORT", text);
	memcpy(a.dh_pk, keys_device(keys)->dh_pk, sizeof(a.dh_pk));
	a.sign_id = mailaddr_sign_id(keys_device(keys)->sign_pk);
	struct tls_identity *identity = NULL;
	r = relay_home_tls(c, &identity, why);
	if (r < 0)
		return r;
	a.tls = identity != NULL;
	a.pinned = identity && tls_identity_is_self_signed(identity);
	if (a.pinned)
		tls_identity_pin(identity, a.pin);
	tls_identity_destroy(identity);
	mailaddr_format(&a, out);
	wipe(&a, sizeof(a));
	return 0;
}
