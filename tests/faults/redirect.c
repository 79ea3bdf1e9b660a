/*
 * Sends a program's connections through a proxy, whatever address it chooses to dial:
 * LD_PRELOAD=redirect.so REDIRECT_RULE=FILE, where FILE holds lines "PORT PROXYPORT". A connection to PORT on a
 * loopback address goes to PROXYPORT instead. FILE is read at each connect, so the ports may change.
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint16_t redirected(uint16_t port)
{
	const char *file = getenv("REDIRECT_RULE");
	FILE *f = file ? fopen(file, "re") : NULL;
	unsigned from = 0;
	unsigned to = 0;
	uint16_t found = port;

	while (f && fscanf(f, "%u %u", &from, &to) == 2) {
		if (from == port)
			found = (uint16_t)to;
	}
	if (f)
		(void)fclose(f);
	return found;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (address->sa_family == AF_INET && len >= sizeof(v4)) {
		memcpy(&v4, address, sizeof(v4));
		if (ntohl(v4.sin_addr.s_addr) >> 24 == 127)
			v4.sin_port = htons(redirected(ntohs(v4.sin_port)));
		return (int)syscall(SYS_connect, fd, &v4, sizeof(v4));
	}
	if (address->sa_family == AF_INET6 && len >= sizeof(v6)) {
		memcpy(&v6, address, sizeof(v6));
		if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) || IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
			v6.sin6_port = htons(redirected(ntohs(v6.sin6_port)));
		return (int)syscall(SYS_connect, fd, &v6, sizeof(v6));
	}
	return (int)syscall(SYS_connect, fd, address, len);
}
