/* Addresses and listening sockets. */
#include "net/endpoint.h"

#include "core/platform.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64
#define TLS_SCHEME "wss://"

static_assert(sizeof(((struct endpoint *)NULL)->host) + strlen(TLS_SCHEME "[]:65535") <=
		      ENDPOINT_TEXT_BYTES,
	      "every endpoint can be formatted");

static bool host_is_valid(const char *host, size_t len)
{
	if (len == 0 || len >= sizeof(((struct endpoint *)NULL)->host))
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = host[i];
		bool alnum =
			(c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!alnum && c != '.' && c != '-' && c != '_' && c != ':' && c != '%')
			return false;
	}
	return true;
}

static int parse_port(const char *text, uint16_t *ret)
{
	unsigned port = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
		return -EINVAL;
	for (size_t i = 0; i < len; i++)
		port = port * 10 + (unsigned)(text[i] - '0');
	if (port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
	struct endpoint e = {0};
	const char *colon = strrchr(text, ':');

	if (!colon)
		return -EINVAL;
	const char *host = text;
	size_t len = (size_t)(colon - text);
	bool bracketed = len >= 2 && host[0] == '[' && host[len - 1] == ']';
	if (bracketed) {
		host++;
		len -= 2;
	}
	if (!host_is_valid(host, len) || parse_port(colon + 1, &e.port) < 0)
		return -EINVAL;
	/*
	 * Brackets are for colons, and colons need them: else the port could be part of the
	 * address.
	 */
	if ((memchr(host, ':', len) != NULL) != bracketed)
		return -EINVAL;
	memcpy(e.host, host, len);
	*ret = e;
	return 0;
}

int endpoint_parse_dialled(const char *text, struct endpoint *ret)
{
	bool tls = strncmp(text, TLS_SCHEME, strlen(TLS_SCHEME)) == 0;
	int r = endpoint_parse(tls ? text + strlen(TLS_SCHEME) : text, ret);

	if (r == 0)
		ret->tls = tls;
	return r;
}

bool endpoint_is_local(const struct endpoint *e)
{
	return e->host[0] == '/';
}

void endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT_BYTES])
{
	bool v6 = strchr(e->host, ':');

	if (endpoint_is_local(e)) {
		(void)snprintf(out, ENDPOINT_TEXT_BYTES, "unix:%s", e->host);
		return;
	}
	(void)snprintf(out, ENDPOINT_TEXT_BYTES, v6 ? "%s[%s]:%u" : "%s%s:%u",
		       e->tls ? TLS_SCHEME : "", e->host, e->port);
}

int endpoint_from_sockaddr(const struct sockaddr_storage *address, struct endpoint *ret)
{
	struct endpoint e = {0};

	if (address->ss_family == AF_INET) {
		struct sockaddr_in v4;

		memcpy(&v4, address, sizeof(v4));
		e.port = ntohs(v4.sin_port);
		if (!inet_ntop(AF_INET, &v4.sin_addr, e.host, sizeof(e.host)))
			return -EINVAL;
	} else if (address->ss_family == AF_INET6) {
		struct sockaddr_in6 v6;

		memcpy(&v6, address, sizeof(v6));
		e.port = ntohs(v6.sin6_port);
		bool mapped = IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
		const uint8_t *bytes = v6.sin6_addr.s6_addr;
		if (!inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? bytes + 12 : bytes, e.host,
			       sizeof(e.host)))
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	*ret = e;
	return 0;
}

/* The address in binary; its length or -EINVAL. */
static int to_sockaddr(const struct endpoint *e, struct sockaddr_storage *ret)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(e->port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, e->host, &v4.sin_addr) == 1) {
		memcpy(ret, &v4, sizeof(v4));
		return sizeof(v4);
	}
	if (inet_pton(AF_INET6, e->host, &v6.sin6_addr) == 1) {
		memcpy(ret, &v6, sizeof(v6));
		return sizeof(v6);
	}
	return -EINVAL;
}

bool endpoint_is_numeric(const struct endpoint *e)
{
	struct sockaddr_storage address;

	return to_sockaddr(e, &address) >= 0;
}

/* Compares with an IPv4 prefix of len bytes and one whole IPv6 address. */
static bool host_is(const struct endpoint *e, const uint8_t *v4_prefix, size_t len,
		    const struct in6_addr *v6)
{
	struct in_addr a4;
	struct in6_addr a6;

	if (inet_pton(AF_INET, e->host, &a4) == 1)
		return memcmp(&a4, v4_prefix, len) == 0;
	return inet_pton(AF_INET6, e->host, &a6) == 1 && memcmp(&a6, v6, sizeof(a6)) == 0;
}

bool endpoint_is_any(const struct endpoint *e)
{
	static const uint8_t any4[4];

	return host_is(e, any4, sizeof(any4), &in6addr_any);
}

void endpoint_place(const struct endpoint *e, char out[ENDPOINT_TEXT_BYTES])
{
	struct in6_addr a;
	char text[INET6_ADDRSTRLEN];

	(void)snprintf(out, ENDPOINT_TEXT_BYTES, "%s", e->host);
	if (inet_pton(AF_INET6, e->host, &a) != 1)
		return;
	memset(a.s6_addr + 8, 0, 8);
	if (inet_ntop(AF_INET6, &a, text, sizeof(text)))
		(void)snprintf(out, ENDPOINT_TEXT_BYTES, "%s", text);
}

bool endpoint_is_loopback(const struct endpoint *e)
{
	static const uint8_t loopback4[1] = {127};

	return endpoint_is_local(e) || host_is(e, loopback4, sizeof(loopback4), &in6addr_loopback);
}

bool endpoint_resolve_told(const char *told, const struct endpoint *seen,
			   char out[ENDPOINT_TEXT_BYTES])
{
	struct endpoint e;

	if (endpoint_parse(told, &e) < 0 || e.port == 0 || !endpoint_is_numeric(&e))
		return false;
	if (endpoint_is_any(&e)) {
		if (!endpoint_is_numeric(seen))
			return false;
		memcpy(e.host, seen->host, sizeof(e.host));
	} else if (endpoint_is_loopback(&e) && !endpoint_is_loopback(seen)) {
		return false;
	}
	endpoint_format(&e, out);
	return true;
}

static int bind_and_listen(int fd, const struct sockaddr_storage *address, socklen_t len)
{
	const int on = 1;
	const int off = 0;

	/* A restarted daemon gets its port back although old connections still time out. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, (const struct sockaddr *)address, len) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	return 0;
}

static int listen_failed(struct why *why, int r, const char *text)
{
	const char *hint = "";

	if (r == -EADDRINUSE)
		hint = "; another program uses this port: choose another one, or port 0 for any";
	else if (r == -EADDRNOTAVAIL)
		hint = "; this machine has no such address: try 0.0.0.0 for all it has";
	else if (r == -EACCES)
		hint = "; ports below 1024 are reserved: choose a higher one";
	return why_set(why, r, "cannot listen on %s: %s%s", text, strerror(-r), hint);
}

int endpoint_listen(const char *text, struct endpoint *ret, struct why *why)
{
	struct endpoint e;
	struct sockaddr_storage address;

	if (endpoint_parse(text, &e) < 0)
		return why_set(
			why, -EINVAL,
			"'%s' is not an address to listen on; write it as 127.0.0.1:7700 or [::]:7700",
			text);
	int len = to_sockaddr(&e, &address);
	if (len < 0)
		return why_set(
			why, -EINVAL,
			"cannot listen on '%s': write the host as a number, such as 127.0.0.1 or 0.0.0.0",
			text);
	int fd = platform_socket(address.ss_family, SOCK_STREAM, true);
	if (fd < 0)
		return listen_failed(why, fd, text);
	int r = bind_and_listen(fd, &address, (socklen_t)len);
	if (r < 0) {
		(void)close(fd);
		return listen_failed(why, r, text);
	}
	socklen_t size = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
	    endpoint_from_sockaddr(&address, ret) < 0) {
		(void)close(fd);
		return listen_failed(why, -EIO, text);
	}
	return fd;
}

/* An interface's address that is of use to others; link-local ones need a zone, so they are not. */
static bool is_useful(const struct ifaddrs *i, struct endpoint *ret)
{
	struct sockaddr_storage address = {0};

	if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
		return false;
	sa_family_t family = i->ifa_addr->sa_family;
	if (family != AF_INET && family != AF_INET6)
		return false;
	memcpy(&address, i->ifa_addr,
	       family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	if (endpoint_from_sockaddr(&address, ret) < 0)
		return false;
	return strncmp(ret->host, "fe80:", 5) != 0 && strncmp(ret->host, "169.254.", 8) != 0;
}

size_t endpoint_reachable(const struct endpoint *e, char (*out)[ENDPOINT_TEXT_BYTES], size_t max)
{
	struct ifaddrs *list = NULL;
	bool v4_only = !strchr(e->host, ':');
	size_t count = 0;

	if (max > 0 && endpoint_is_any(e) && getifaddrs(&list) == 0) {
		for (const struct ifaddrs *i = list; i && count < max; i = i->ifa_next) {
			struct endpoint found;

			if (!is_useful(i, &found) || endpoint_is_loopback(&found) ||
			    (v4_only && strchr(found.host, ':')))
				continue;
			found.port = e->port;
			endpoint_format(&found, out[count++]);
		}
		freeifaddrs(list);
	}
	if (max > 0 && count == 0) {
		struct endpoint only = *e;

		if (endpoint_is_any(e))
			(void)snprintf(only.host, sizeof(only.host), "127.0.0.1");
		endpoint_format(&only, out[count++]);
	}
	return count;
}
