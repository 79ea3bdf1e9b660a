/* The thread that talks to dns_sd.h's library. */
#include "net/dnssd.h"

#include "core/log.h"
#include "core/thread.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void dnssd_prepare(void)
{
	(void)setenv("AVAHI_COMPAT_NOWARN", "1", 0);
}

#if HAVE_DNS_SD

#include <arpa/inet.h>
#include <dlfcn.h>
#include <dns_sd.h>
#include <poll.h>

#define RETRY_MS 60000
#define RESOLVE_MS 5000
/* Strangers can announce what they like: so many are asked about at a time, and so many wait. */
#define RESOLVES_MAX 4
#define WAITING_MAX 64
/* How long dnssd_stop() waits for the goodbyes. */
#define STOP_MS 300

/* A service of ours. */
struct ad {
	struct ad *next;
	const char *type;
	char name[DNSSD_NAME_BYTES];
	uint16_t port;
	struct buf txt;
	bool withdrawn;	   /* protected by lock */
	DNSServiceRef ref; /* the thread's; NULL: not announced */
};

struct resolve {
	DNSServiceRef ref; /* NULL: free */
	struct dnssd *dnssd;
	char name[DNSSD_NAME_BYTES];
	uint64_t deadline_ms;
	bool done;
};

struct waiting {
	char name[DNSSD_NAME_BYTES];
	uint32_t interface;
};

struct library {
	__typeof__(DNSServiceBrowse) *browse;
	__typeof__(DNSServiceResolve) *resolve;
	__typeof__(DNSServiceRegister) *announce;
	__typeof__(DNSServiceRefSockFD) *fd;
	__typeof__(DNSServiceProcessResult) *process;
	__typeof__(DNSServiceRefDeallocate) *release;
};

struct dnssd {
	struct dnssd_handler handler;
	const char *type;
	int wake[2];
	struct mutex lock;
	struct cond ended;
	unsigned owners; /* protected by lock, as those below: the thread, and who started it */
	bool stopping;	 /* nothing is told any more */
	bool has_ended;
	struct ad *ads;

	struct library lib; /* the thread's, as those below */
	DNSServiceRef browser;
	bool broken; /* a callback said so: all begins anew */
	bool said;   /* that there is none */
	uint64_t retry_ms;
	struct resolve resolves[RESOLVES_MAX];
	struct waiting waiting[WAITING_MAX];
	size_t waiting_count;
};

/* ---- what is shared -------------------------------------------------------------------------- */

static void release(struct dnssd *d)
{
	mutex_lock(&d->lock);
	bool last = --d->owners == 0;
	mutex_unlock(&d->lock);
	if (!last)
		return;
	for (struct ad *a = d->ads, *next; a; a = next) {
		next = a->next;
		buf_fini(&a->txt);
		free(a);
	}
	close_fd(&d->wake[0]);
	close_fd(&d->wake[1]);
	cond_fini(&d->ended);
	mutex_fini(&d->lock);
	free(d);
}

static void wake(struct dnssd *d)
{
	/* A full pipe wakes as well. */
	if (write(d->wake[1], "", 1) < 0 && errno != EAGAIN)
		log_debug("dns-sd: cannot wake: %s", strerror(errno));
}

static bool is_stopping(struct dnssd *d)
{
	mutex_lock(&d->lock);
	bool stopping = d->stopping;
	mutex_unlock(&d->lock);
	return stopping;
}

void dnssd_announce(struct dnssd *d, const char *type, const char *name, uint16_t port,
		    struct slice txt)
{
	if (!d)
		return;
	struct ad *a = xcalloc(1, sizeof(*a));

	a->type = type;
	(void)snprintf(a->name, sizeof(a->name), "%s", name);
	a->port = port;
	buf_slice_append(&a->txt, txt);
	mutex_lock(&d->lock);
	a->next = d->ads;
	d->ads = a;
	mutex_unlock(&d->lock);
	wake(d);
}

void dnssd_withdraw(struct dnssd *d, const char *type, const char *name)
{
	if (!d)
		return;
	mutex_lock(&d->lock);
	for (struct ad *a = d->ads; a; a = a->next) {
		if (strcmp(a->type, type) == 0 && strcmp(a->name, name) == 0)
			a->withdrawn = true;
	}
	mutex_unlock(&d->lock);
	wake(d);
}

static void tell(struct dnssd *d, const char *name, struct slice txt, bool found)
{
	mutex_lock(&d->lock); /* so that dnssd_stop() can say: never again */
	if (!d->stopping && found)
		d->handler.found(d->handler.ctx, name, txt);
	else if (!d->stopping)
		d->handler.lost(d->handler.ctx, name);
	mutex_unlock(&d->lock);
}

/* ---- the library ----------------------------------------------------------------------------- */

/* Avahi's, and what is part of macOS. */
static const char *const libraries[] = {"libdns_sd.so.1", "/usr/lib/libSystem.B.dylib"};

static bool load(struct library *lib)
{
	const struct {
		const char *name;
		void *slot;
	} functions[] = {
		{"DNSServiceBrowse", &lib->browse},
		{"DNSServiceResolve", &lib->resolve},
		{"DNSServiceRegister", &lib->announce},
		{"DNSServiceRefSockFD", &lib->fd},
		{"DNSServiceProcessResult", &lib->process},
		{"DNSServiceRefDeallocate", &lib->release},
	};
	void *handle = NULL;

	for (size_t i = 0; !handle && i < countof(libraries); i++)
		handle = dlopen(libraries[i], RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; handle && i < countof(functions); i++) {
		void *function = dlsym(handle, functions[i].name);

		if (!function)
			return false;
		memcpy(functions[i].slot, &function, sizeof(function));
	}
	return handle != NULL; /* it stays for the life of the process */
}

static void drop(struct dnssd *d, DNSServiceRef *ref)
{
	if (*ref)
		d->lib.release(STEAL(*ref));
}

static void say_none(struct dnssd *d, const char *why)
{
	mutex_lock(&d->lock);
	if (d->handler.none && !d->stopping)
		d->handler.none(d->handler.ctx);
	mutex_unlock(&d->lock);
	if (!d->said && !d->handler.none)
		log_info("nobody is looked for on the local network: %s", why);
	d->said = true;
}

/* ---- callbacks, within process() ------------------------------------------------------------- */

static void on_browsed(DNSServiceRef ref, DNSServiceFlags flags, uint32_t interface,
		       DNSServiceErrorType error, const char *name, const char *type,
		       const char *domain, void *ctx)
{
	struct dnssd *d = ctx;

	(void)ref;
	(void)type;
	(void)domain;
	d->broken = d->broken || error != kDNSServiceErr_NoError;
	if (d->broken || !name || strlen(name) >= DNSSD_NAME_BYTES)
		return;
	if (!(flags & kDNSServiceFlagsAdd)) {
		tell(d, name, SLICE("", 0), false);
		return;
	}
	for (size_t i = 0; i < d->waiting_count; i++) {
		if (strcmp(d->waiting[i].name, name) == 0)
			return; /* on several interfaces, by IPv4 and IPv6 */
	}
	if (d->waiting_count == WAITING_MAX)
		return;
	struct waiting *w = &d->waiting[d->waiting_count++];
	(void)snprintf(w->name, sizeof(w->name), "%s", name);
	w->interface = interface;
}

static void on_resolved(DNSServiceRef ref, DNSServiceFlags flags, uint32_t interface,
			DNSServiceErrorType error, const char *full_name, const char *host,
			uint16_t port, uint16_t len, const unsigned char *txt, void *ctx)
{
	struct resolve *r = ctx;

	(void)ref;
	(void)flags;
	(void)interface;
	(void)full_name;
	(void)host;
	(void)port;
	if (error == kDNSServiceErr_NoError && !r->done && txt)
		tell(r->dnssd, r->name, SLICE(txt, len), true);
	r->done = true;
}

static void on_announced(DNSServiceRef ref, DNSServiceFlags flags, DNSServiceErrorType error,
			 const char *name, const char *type, const char *domain, void *ctx)
{
	(void)ref;
	(void)flags;
	(void)type;
	(void)domain;
	(void)ctx;
	if (error != kDNSServiceErr_NoError)
		log_debug("dns-sd: %s is not announced: error %d", name ? name : "?", (int)error);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* Whatever was begun is given up; what is announced will be again. */
static void reset(struct dnssd *d)
{
	drop(d, &d->browser);
	for (size_t i = 0; i < RESOLVES_MAX; i++)
		drop(d, &d->resolves[i].ref);
	mutex_lock(&d->lock);
	struct ad *a = d->ads;
	mutex_unlock(&d->lock);
	for (; a; a = a->next) /* new ones come in front, and only this thread takes any out */
		drop(d, &a->ref);
	d->waiting_count = 0;
	d->broken = false;
	tell(d, "", SLICE("", 0), false);
}

static void begin(struct dnssd *d)
{
	uint64_t now = monotonic_ms();

	if (d->browser || now < d->retry_ms)
		return;
	d->retry_ms = now + RETRY_MS;
	if (d->lib.browse(&d->browser, 0, kDNSServiceInterfaceIndexAny, d->type, "local",
			  on_browsed, d) == kDNSServiceErr_NoError)
		return;
	d->browser = NULL;
	say_none(d, "no DNS-SD answers on this machine (on Linux that is avahi-daemon)");
}

static void announce(struct dnssd *d, struct ad *a)
{
	if (a->ref || !d->browser)
		return;
	if (d->lib.announce(&a->ref, 0, kDNSServiceInterfaceIndexAny, a->name, a->type, "local",
			    NULL, htons(a->port), (uint16_t)a->txt.len, a->txt.data, on_announced,
			    d) != kDNSServiceErr_NoError) {
		a->ref = NULL;
		d->broken = true;
	}
}

static void tend_ads(struct dnssd *d)
{
	mutex_lock(&d->lock);
	for (struct ad **at = &d->ads; *at;) {
		struct ad *a = *at;
		bool withdrawn = a->withdrawn;

		if (withdrawn)
			*at = a->next;
		else
			at = &a->next;
		mutex_unlock(
			&d->lock); /* the library may wait; new ones come before those that are there */
		if (withdrawn) {
			drop(d, &a->ref);
			buf_fini(&a->txt);
			free(a);
		} else {
			announce(d, a);
		}
		mutex_lock(&d->lock);
	}
	mutex_unlock(&d->lock);
}

static void start_resolve(struct dnssd *d, struct resolve *r)
{
	const struct waiting w = d->waiting[0];

	memmove(d->waiting, d->waiting + 1, --d->waiting_count * sizeof(w));
	*r = (struct resolve){.dnssd = d, .deadline_ms = monotonic_ms() + RESOLVE_MS};
	memcpy(r->name, w.name, sizeof(r->name));
	if (d->lib.resolve(&r->ref, 0, w.interface, r->name, d->type, "local", on_resolved, r) !=
	    kDNSServiceErr_NoError)
		r->ref = NULL;
}

static void tend_resolves(struct dnssd *d)
{
	uint64_t now = monotonic_ms();

	for (size_t i = 0; i < RESOLVES_MAX; i++) {
		struct resolve *r = &d->resolves[i];

		if (r->ref && (r->done || now >= r->deadline_ms))
			drop(d, &r->ref);
		if (!r->ref && d->waiting_count > 0 && d->browser)
			start_resolve(d, r);
	}
}

/* When to look again although nothing came: in ms, or -1. */
static int timeout(const struct dnssd *d)
{
	uint64_t now = monotonic_ms();
	uint64_t next = d->browser ? UINT64_MAX : d->retry_ms;

	for (size_t i = 0; i < RESOLVES_MAX; i++) {
		if (d->resolves[i].ref && d->resolves[i].deadline_ms < next)
			next = d->resolves[i].deadline_ms;
	}
	return next == UINT64_MAX ? -1 : next > now ? (int)(next - now) : 0;
}

/* Ads change hands only in tend_ads(), so the list is as it was when it was polled, but for those in front. */
static size_t list_refs(struct dnssd *d, DNSServiceRef *refs, size_t max)
{
	size_t n = 0;

	if (d->browser)
		refs[n++] = d->browser;
	for (size_t i = 0; i < RESOLVES_MAX; i++) {
		if (d->resolves[i].ref)
			refs[n++] = d->resolves[i].ref;
	}
	mutex_lock(&d->lock);
	for (struct ad *a = d->ads; a && n < max; a = a->next) {
		if (a->ref)
			refs[n++] = a->ref;
	}
	mutex_unlock(&d->lock);
	return n;
}

static void wait_and_process(struct dnssd *d)
{
	enum {
		REFS_MAX = 1 + RESOLVES_MAX + 64,
	};
	DNSServiceRef refs[REFS_MAX];
	struct pollfd fds[REFS_MAX + 1] = {{.fd = d->wake[0], .events = POLLIN}};
	char bytes[64];
	size_t n = list_refs(d, refs, REFS_MAX);

	for (size_t i = 0; i < n; i++)
		fds[i + 1] = (struct pollfd){.fd = d->lib.fd(refs[i]), .events = POLLIN};
	if (poll(fds, (nfds_t)n + 1, timeout(d)) < 0)
		return;
	if (fds[0].revents && read(d->wake[0], bytes, sizeof(bytes)) < 0 && errno != EAGAIN)
		log_debug("dns-sd: cannot be woken: %s", strerror(errno));
	for (size_t i = 0; i < n && !d->broken; i++) {
		if (fds[i + 1].revents && d->lib.process(refs[i]) != kDNSServiceErr_NoError)
			d->broken = true;
	}
}

static void *run(void *arg)
{
	struct dnssd *d = arg;

	if (load(&d->lib)) {
		while (!is_stopping(d)) {
			begin(d);
			tend_ads(d);
			tend_resolves(d);
			if (!d->broken)
				wait_and_process(d);
			if (d->broken) {
				reset(d); /* what goes away for an update is back soon; retry_ms says when */
				say_none(d, "its DNS-SD went away, and is asked again each minute");
			}
		}
		reset(d);
	} else {
		say_none(d, "this machine has no libdns_sd");
	}
	mutex_lock(&d->lock);
	d->has_ended = true;
	cond_broadcast(&d->ended);
	mutex_unlock(&d->lock);
	release(d);
	return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

static bool open_pipe(int fds[2])
{
	if (pipe(fds) < 0)
		return false;
	for (size_t i = 0; i < 2; i++) {
		(void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
		(void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
	}
	return true;
}

struct dnssd *dnssd_start(const char *type, const struct dnssd_handler *handler)
{
	const char *wanted = getenv("BLAZE_DNSSD");

	if (wanted && strcmp(wanted, "0") == 0)
		return NULL;
	struct dnssd *d = xcalloc(1, sizeof(*d));
	d->handler = *handler;
	d->type = type;
	d->owners = 2;
	if (!open_pipe(d->wake)) {
		free(d);
		return NULL;
	}
	mutex_init(&d->lock);
	cond_init(&d->ended);
	thread_detach("blaze-dnssd", run, d);
	return d;
}

void dnssd_stop(struct dnssd *d)
{
	if (!d)
		return;
	uint64_t deadline_ms = monotonic_ms() + STOP_MS;

	mutex_lock(&d->lock);
	d->stopping = true;
	wake(d);
	while (!d->has_ended && cond_wait_until(&d->ended, &d->lock, deadline_ms))
		;
	mutex_unlock(&d->lock);
	release(d);
}

#else

struct dnssd *dnssd_start(const char *type, const struct dnssd_handler *handler)
{
	(void)type;
	(void)handler;
	return NULL;
}

void dnssd_stop(struct dnssd *d)
{
	(void)d;
}

void dnssd_announce(struct dnssd *d, const char *type, const char *name, uint16_t port,
		    struct slice txt)
{
	(void)d;
	(void)type;
	(void)name;
	(void)port;
	(void)txt;
}

void dnssd_withdraw(struct dnssd *d, const char *type, const char *name)
{
	(void)d;
	(void)type;
	(void)name;
}

#endif
