/*
 * What a WebSocket costs by itself: messages of one size through libwebsockets, without encryption or disk.
 *
 *   wshop direct N SIZE   from one process to another and back; half of that counts as one hop
 *   wshop relay N SIZE    from one client through a server to a second client, in another process, and back; likewise
 *
 * Prints {"op":...,"p50_ms":...,"p99_ms":...}.
 */
#include "tests/bench/measure.h"

#include <libwebsockets.h>

#include <signal.h>
#include <sys/wait.h>

#define SIZE_MAX_BYTES 4096
#define ENDS 2

static struct {
	struct lws_context *context;
	struct lws *ends[ENDS]; /* of the server: who is connected; of a client: [0] */
	uint8_t out[ENDS][LWS_PRE + SIZE_MAX_BYTES];
	size_t out_len[ENDS];
	size_t size;
	bool is_server;
	bool relays;
	bool measures;
	uint64_t started_ns;
	double *ms;
	size_t count;
	size_t wanted;
} hop;

static void queue(int to, const void *data, size_t len)
{
	assert(len <= SIZE_MAX_BYTES && hop.out_len[to] == 0);
	memcpy(hop.out[to] + LWS_PRE, data, len);
	hop.out_len[to] = len;
	lws_callback_on_writable(hop.ends[to]);
}

static void send_next(void)
{
	static const uint8_t zeros[SIZE_MAX_BYTES];

	hop.started_ns = now_ns();
	queue(0, zeros, hop.size);
}

static int index_of(const struct lws *wsi)
{
	return hop.ends[0] == wsi ? 0 : 1;
}

static void received(int from, const void *data, size_t len)
{
	if (hop.is_server) {
		queue(hop.relays ? !from : from, data, len);
		return;
	}
	if (!hop.measures) {
		queue(0, data, len);
		return;
	}
	hop.ms[hop.count++] = (double)(now_ns() - hop.started_ns) / 2e6;
	if (hop.count < hop.wanted)
		send_next();
	else
		lws_cancel_service(hop.context);
}

static void established(struct lws *wsi)
{
	if (!hop.is_server) {
		hop.ends[0] = wsi;
		if (hop.measures)
			send_next();
		return;
	}
	hop.ends[hop.ends[0] ? 1 : 0] = wsi;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t len)
{
	(void)user;
	switch ((int)reason) {
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_CLIENT_ESTABLISHED:
		established(wsi);
		break;
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_CLIENT_RECEIVE:
		received(index_of(wsi), in, len);
		break;
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_CLIENT_WRITEABLE: {
		int i = index_of(wsi);

		if (hop.out_len[i]) {
			size_t n = hop.out_len[i];

			hop.out_len[i] = 0;
			if (lws_write(wsi, hop.out[i] + LWS_PRE, n, LWS_WRITE_BINARY) < (int)n)
				die("lws_write");
		}
		break;
	}
	case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
		die("connect");
		break;
	default:
		break;
	}
	return 0;
}

static const struct lws_protocols protocols[] = {
	{.name = "hop", .callback = on_event, .rx_buffer_size = SIZE_MAX_BYTES},
	{0},
};

static struct lws_context *context_create(int port)
{
	struct lws_context_creation_info info = {
		.port = port, .iface = port == 0 ? "127.0.0.1" : NULL, .protocols = protocols};

	lws_set_log_level(0, NULL);
	struct lws_context *c = lws_create_context(&info);
	if (!c)
		die("lws_create_context");
	return c;
}

static void run_client(int port, bool measures)
{
	hop.measures = measures;
	hop.context = context_create(CONTEXT_PORT_NO_LISTEN);
	struct lws_client_connect_info info = {.context = hop.context,
					       .address = "127.0.0.1",
					       .host = "127.0.0.1",
					       .origin = "127.0.0.1",
					       .path = "/",
					       .port = port,
					       .protocol = "hop"};
	if (!lws_client_connect_via_info(&info))
		die("connect");
	while (!measures || hop.count < hop.wanted) {
		if (lws_service(hop.context, 0) < 0)
			die("lws_service");
	}
}

/* Writes its port to `fd` once it listens, and a byte for each client. */
static void run_server(int fd)
{
	hop.is_server = true;
	hop.context = context_create(0);
	int port = lws_get_vhost_listen_port(lws_get_vhost_by_name(hop.context, "default"));
	bool told = false;

	if (write(fd, &port, sizeof(port)) != (ssize_t)sizeof(port))
		die("pipe");
	for (;;) {
		if (lws_service(hop.context, 0) < 0)
			die("lws_service");
		if (hop.ends[0] && !told) {
			told = true;
			if (write(fd, "", 1) != 1)
				die("pipe");
		}
	}
}

int main(int argc, char **argv)
{
	int fds[2];
	int port = 0;
	char byte;
	pid_t pids[2] = {0};

	if (argc != 4) {
		(void)fprintf(stderr, "usage: wshop direct|relay N SIZE\n");
		return 2;
	}
	hop.relays = strcmp(argv[1], "relay") == 0;
	hop.wanted = strtoul(argv[2], NULL, 10);
	hop.size = strtoul(argv[3], NULL, 10);
	hop.ms = calloc(hop.wanted, sizeof(*hop.ms));
	if (hop.wanted == 0 || hop.size > SIZE_MAX_BYTES || !hop.ms || pipe(fds) < 0)
		die("setup");
	pids[0] = fork();
	if (pids[0] == 0)
		run_server(fds[1]);
	if (read(fds[0], &port, sizeof(port)) != (ssize_t)sizeof(port))
		die("server");
	if (hop.relays) {
		pids[1] = fork();
		if (pids[1] == 0)
			run_client(port, false);
		if (read(fds[0], &byte, 1) != 1)
			die("server");
	}
	run_client(port, true);
	for (int i = 0; i < 2; i++) {
		if (pids[i] > 0 && kill(pids[i], SIGKILL) == 0)
			(void)waitpid(pids[i], NULL, 0);
	}
	qsort(hop.ms, hop.wanted, sizeof(*hop.ms), compare_rates);
	printf("{\"op\":\"%s\",\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n", argv[1],
	       at_percent(hop.ms, hop.wanted, 50), at_percent(hop.ms, hop.wanted, 99));
	return 0;
}
