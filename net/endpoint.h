/*
 * Addresses as people and peers write them: "192.168.1.5:7700", "[fe80::1]:7700", "host.lan:7700";
 * and the socket to listen on.
 */
#ifndef BLAZE_NET_ENDPOINT_H
#define BLAZE_NET_ENDPOINT_H

#include "core/status.h"
#include "core/why.h"

#include <sys/socket.h>

/** A formatted endpoint and its NUL. */
#define ENDPOINT_TEXT_BYTES (ENDPOINT_BYTES_MAX + 1)

struct endpoint {
	char host[ENDPOINT_BYTES_MAX + 1 - 14]; /**< without brackets; or the path of a Unix socket */
	uint16_t port;
	bool tls; /**< dialled inside TLS */
};

/** Checks the form only. -EINVAL. */
int endpoint_parse(const char *text, struct endpoint *ret);
/** The same of what a person says, or this device remembers: "wss://host:443" as well, for a device behind a proxy. */
int endpoint_parse_dialled(const char *text, struct endpoint *ret);
/** A Unix socket (net/local.h). Never what endpoint_parse() made: nobody else says which path to open. */
bool endpoint_is_local(const struct endpoint *e);
/** Brackets a host that has a colon; "unix:PATH" for a Unix socket, "wss://…" inside TLS. */
void endpoint_format(const struct endpoint *e, char out[ENDPOINT_TEXT_BYTES]);
/** An IPv4 address mapped into IPv6 becomes a plain one. -EINVAL when it is neither. */
int endpoint_from_sockaddr(const struct sockaddr_storage *address, struct endpoint *ret);
/** Whether the host is a numeric address, no name to be looked up. */
bool endpoint_is_numeric(const struct endpoint *e);
/** Whether the host means every address of the machine: "0.0.0.0" or "::". */
bool endpoint_is_any(const struct endpoint *e);
/** Where that is, for LIMITS: the host, or of IPv6 its /64, which one subscriber has. */
void endpoint_place(const struct endpoint *e, char out[ENDPOINT_TEXT_BYTES]);
/** This machine. */
bool endpoint_is_loopback(const struct endpoint *e);
/**
 * Where a peer can be dialled that says it listens on `told` and was seen at `seen`. false when
 * that cannot be known: it listens on its loopback only and is on another machine, or told
 * nonsense.
 */
bool endpoint_resolve_told(const char *told, const struct endpoint *seen,
			   char out[ENDPOINT_TEXT_BYTES]);

/**
 * Opens a listening socket on a numeric address and returns it; *ret is the one really bound.
 * -EINVAL no such form, -EADDRINUSE, -EADDRNOTAVAIL, -EACCES and the like.
 */
int endpoint_listen(const char *text, struct endpoint *ret, struct why *why);
/**
 * The addresses under which others may reach a socket bound to e: e itself, or for "any" those of
 * the running interfaces (loopback only if there is no other). Returns the count.
 */
size_t endpoint_reachable(const struct endpoint *e, char (*out)[ENDPOINT_TEXT_BYTES], size_t max);

#endif
