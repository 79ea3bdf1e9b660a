/*
 * DNS-SD through dns_sd.h: the system's on macOS, Avahi's on Linux, where a daemon has to run (avahi-daemon). Without it, or
 * without the library, there is nothing, which one line of the log says; it is looked for again each minute.
 *
 * A thread of its own does everything: Avahi's library talks to D-Bus and waits for answers. The library is loaded there
 * (dlopen), so that programs which do not need it, and commands, do not pay for it and what it brings along.
 *
 * BLAZE_DNSSD=0 in the environment turns it off.
 */
#ifndef BLAZE_NET_DNSSD_H
#define BLAZE_NET_DNSSD_H

#include "core/bytes.h"

#define DNSSD_DEVICES "_blaze._tcp"
#define DNSSD_CODES "_blaze-pair._tcp"
/** A name of a service and its NUL: one label. */
#define DNSSD_NAME_BYTES 64

struct dnssd;

struct dnssd_handler {
	/** A service was found; it may be one's own. On the thread of the dnssd, as lost(); never after dnssd_stop() began. */
	void (*found)(void *ctx, const char *name, struct slice txt);
	/** name "": whatever was found is to be forgotten, all begins anew. */
	void (*lost)(void *ctx, const char *name);
	/** There is no DNS-SD, for now. NULL: that is logged instead, once. */
	void (*none)(void *ctx);
	void *ctx;
};

/** To be called before there are threads: keeps Avahi's library from writing to standard error. */
void dnssd_prepare(void);
/** Begins to look for services of this type. NULL: it is off. handler is copied. */
struct dnssd *dnssd_start(const char *type, const struct dnssd_handler *handler);
/** Does not wait for a library that hangs. NULL is allowed. */
void dnssd_stop(struct dnssd *d);

/* Any thread; nothing waits. NULL is allowed. */

/** Announces a service until it is withdrawn: on this network, and on those that come later. */
void dnssd_announce(struct dnssd *d, const char *type, const char *name, uint16_t port,
		    struct slice txt);
void dnssd_withdraw(struct dnssd *d, const char *type, const char *name);

#endif
