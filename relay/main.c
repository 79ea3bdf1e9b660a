/*
 * blaze-relay: keeps sealed items for many databases, and reads none but what it is granted. The map of this directory:
 *
 *   main.c                 this file: commands, signals
 *   home.[ch]              keys, token, configuration      server.[ch]  sockets, and the thread that flushes
 *   certs.[ch]             the certificate, renewed        splice.[ch]  invitations that wait, and who knocks
 *   session.[ch]           what is said on a connection    box.[ch]     mailboxes and their rules
 *   store.h                what is asked of a store        store_leveldb.c  the store on this machine
 *   holds.[ch]             what a device need not be sent
 *   copies.[ch]            SMART: what it was granted, and the thread that has it    copy.[ch]  one on the disk
 *
 * It links core/ and net/ only.
 */
#include "core/digest.h"
#include "core/log.h"
#include "core/platform.h"
#include "core/thread.h"
#include "relay/server.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_code {
	CODE_OK = 0,
	CODE_FAILED = 1,
	CODE_USAGE = 2,
};

static const char help[] =
	"Usage: blaze-relay setup [OPTIONS]    makes keys and a token; prints the relay's address\n"
	"       blaze-relay address [OPTIONS]  prints the address again: it is a secret\n"
	"       blaze-relay run [OPTIONS]      serves, in the foreground\n"
	"\n"
	"Keeps sealed changes for devices that are not there at the same time. It can read none of them,\n"
	"but for directories that a database grants it: blaze relay grant RELAY DIR\n"
	"On each device: blaze relay add ADDRESS\n"
	"\n"
	"  --home DIR           where it keeps all it has (default: $BLAZE_RELAY_HOME, else /var/lib/blaze-relay)\n"
	"  --listen A:P         where to listen (default: [::]:7710; port 0 is any)\n"
	"  --address HOST:PORT  where devices reach it, if that is another\n"
	"  --tls-cert FILE      serves inside TLS (wss://), with this certificate and those above it, PEM\n"
	"  --tls-key FILE       its key; both are read again when they change, or at SIGHUP\n"
	"  --self-signed        setup: makes a certificate of its own, pinned by the relay's address\n"
	"  --mailboxes N        databases it takes in (default: 1000)\n"
	"  --mailbox-bytes N    of one database (default: 2 GiB)\n"
	"  --mailbox-items N    of one database's log (default: 2000000)\n"
	"  --copies N           databases that grant it something, of which it keeps a copy (default: 100)\n"
	"  --connections N      at a time (default: 2000)\n"
	"  --rate N             items a second that a device may put, for long (default: 2000)\n"
	"  --burst N            and at once (default: 20000)\n"
	"  --ready-fd N         run: writes one JSON line there when it listens\n"
	"  --version, --help\n"
	"\n"
	"The same names, without the dashes, are settings in DIR/relay.conf: \"listen [::]:7710\".\n";

static int fail(int code, const char *text)
{
	(void)fprintf(stderr, "blaze-relay: %s\n", text);
	return code;
}

static void say_ready(const struct server *s, int ready_fd)
{
	char endpoint[ENDPOINT_TEXT_BYTES];
	AUTO(buf_fini) struct buf line = {0};

	server_endpoint(s, endpoint);
	log_info("relay: listening on %s%s", endpoint, server_has_tls(s) ? ", inside TLS" : "");
	platform_tell_systemd("READY=1\n");
	if (ready_fd < 0)
		return;
	buf_printf(&line, "{\"v\":1,\"pid\":%ld,\"listen\":\"%s\"}\n", (long)getpid(), endpoint);
	if (write(ready_fd, line.data, line.len) != (ssize_t)line.len)
		log_warn("nobody reads --ready-fd, ignoring");
	(void)close(ready_fd);
}

/* ---- commands ------------------------------------------------------------------------------------ */

static int print_address(const struct relay_config *c)
{
	char address[MAILADDR_TEXT_BYTES];
	struct keys *keys = NULL;
	struct why why = {""};
	int r = relay_home_keys(c, &keys, &why);

	if (r == 0)
		r = relay_home_address(c, keys, c->listen, address, &why);
	keys_destroy(keys);
	if (r < 0)
		return fail(CODE_FAILED, why.text);
	(void)printf("%s\n", address);
	wipe(address, sizeof(address));
	return CODE_OK;
}

static int setup(struct relay_config *c, bool self_signed)
{
	struct why why = {""};

	if (!c->address)
		(void)fprintf(stderr,
			      "blaze-relay: devices will be told to dial %s: if they reach this "
			      "machine elsewhere, say --address HOST:PORT\n",
			      c->listen);
	if (relay_home_create(c, self_signed, &why) < 0)
		return fail(CODE_FAILED, why.text);
	return print_address(c);
}

struct waiter {
	struct server *server;
	sigset_t set;
};

static void *wait_for_signal(void *arg)
{
	struct waiter *w = arg;
	int sig = 0;

	while (sigwait(&w->set, &sig) == 0 && sig == SIGHUP)
		server_reload(w->server);
	if (sig != SIGUSR1)
		log_info("relay: ending after %s", strsignal(sig));
	server_stop(w->server);
	return NULL;
}

static int run(const struct relay_config *c, int ready_fd)
{
	struct waiter w = {0};
	struct thread signals = {0};
	struct why why = {""};
	struct rlimit limit;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)sigemptyset(&w.set);
	(void)sigaddset(&w.set, SIGTERM);
	(void)sigaddset(&w.set, SIGINT);
	(void)sigaddset(&w.set, SIGUSR1);
	(void)sigaddset(&w.set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &w.set, NULL);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (server_create(c, &w.server, &why) < 0)
		return fail(CODE_FAILED, why.text);
	thread_start(&signals, "relay-signal", wait_for_signal, &w);
	say_ready(w.server, ready_fd);
	int r = server_run(w.server);
	thread_interrupt(&signals, SIGUSR1);
	thread_join(&signals);
	server_destroy(w.server);
	return r < 0 ? fail(CODE_FAILED, "the network cannot go on") : CODE_OK;
}

/* ---- options ------------------------------------------------------------------------------------- */

static void set_home(struct relay_config *c, const char *home)
{
	free(c->home);
	c->home = xstrdup(home);
}

/* What is asked for on the command line only. */
struct asked {
	int ready_fd;
	bool self_signed;
};

/* Applies what is on the command line; the home first, whose file it goes before. 0, 1 = all is said, or < 0. */
static int read_options(struct relay_config *c, int argc, char **argv, struct asked *ret)
{
	static const struct option rows[] = {
		{"home", 1, NULL, 'h'},
		{"ready-fd", 1, NULL, 'r'},
		{"help", 0, NULL, '?' + 128},
		{"version", 0, NULL, 'v'},
		{"self-signed", 0, NULL, 't'},
		{"listen", 1, NULL, 's'},
		{"address", 1, NULL, 's'},
		{"tls-cert", 1, NULL, 's'},
		{"tls-key", 1, NULL, 's'},
		{"mailboxes", 1, NULL, 's'},
		{"mailbox-bytes", 1, NULL, 's'},
		{"mailbox-items", 1, NULL, 's'},
		{"copies", 1, NULL, 's'},
		{"connections", 1, NULL, 's'},
		{"rate", 1, NULL, 's'},
		{"burst", 1, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	struct why why = {""};

	for (int pass = 0; pass < 2; pass++) {
		int row = 0;
		int letter;

		optind = 1;
		opterr = pass == 0;
		while ((letter = getopt_long(argc, argv, "", rows, &row)) != -1) {
			if (letter == '?')
				return fail(-EINVAL, "see blaze-relay --help");
			if (letter == '?' + 128)
				return printf("%s", help) > 0;
			if (letter == 'v')
				return printf("blaze-relay %s\n", BLAZE_VERSION) > 0;
			if (letter == 'h' && pass == 0)
				set_home(c, optarg);
			if (letter == 'r')
				ret->ready_fd = atoi(optarg);
			if (letter == 't')
				ret->self_signed = true;
			if (letter == 's' && pass == 1 &&
			    relay_config_set(c, rows[row].name, optarg, &why) < 0)
				return fail(-EINVAL, why.text);
		}
		if (pass == 0 && relay_config_read(c, &why) < 0)
			return fail(-EINVAL, why.text);
	}
	return 0;
}

static int dispatch(struct relay_config *c, int argc, char **argv, const struct asked *asked)
{
	const char *command = optind < argc ? argv[optind] : "";

	if (optind + 1 < argc)
		return fail(CODE_USAGE, "too many words: see blaze-relay --help");
	if (strcmp(command, "setup") == 0)
		return setup(c, asked->self_signed);
	if (asked->self_signed)
		return fail(CODE_USAGE, "--self-signed is for blaze-relay setup");
	if (strcmp(command, "address") == 0)
		return print_address(c);
	if (strcmp(command, "run") == 0)
		return run(c, asked->ready_fd);
	return fail(CODE_USAGE, command[0] ? "there is no such command: see blaze-relay --help"
					   : "setup, address or run? See blaze-relay --help");
}

int main(int argc, char **argv)
{
	struct relay_config c;
	const char *home = getenv("BLAZE_RELAY_HOME");
	const char *level = getenv("BLAZE_LOG");
	struct asked asked = {.ready_fd = -1};

	digest_init();
	(void)umask(077);
	log_set_level(level && strcmp(level, "debug") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	relay_config_init(&c);
	if (home)
		set_home(&c, home);
	int r = read_options(&c, argc, argv, &asked);
	int code = r > 0 ? CODE_OK : r < 0 ? CODE_USAGE : dispatch(&c, argc, argv, &asked);
	relay_config_fini(&c);
	return code;
}
