/* The life of a folder's thread; see folder.h. */
#include "core/log.h"
#include "core/platform.h"
#include "core/watch.h"
#include "net/folder_i.h"
#include "net/folders.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPEN_MS 2000
/** Several files that come at once are looked at together. */
#define SCAN_GATHER_MS 50
#define STORE_RETRY_MS 2000

/* Left behind in a system call: reachable, so that nobody takes them for forgotten. */
static struct mutex left_lock = MUTEX_STATIC;
static struct folder **left; /* protected by left_lock */
static size_t left_count;

/* ---- calls that may hang ------------------------------------------------------------------------- */

void folder_call_begin(struct folder *f)
{
	mutex_lock(&f->lock);
	f->call_ms = monotonic_ms();
	mutex_unlock(&f->lock);
}

void folder_call_end(struct folder *f)
{
	mutex_lock(&f->lock);
	f->call_ms = 0;
	bool is_left = f->left;
	cond_broadcast(&f->changed_cond);
	mutex_unlock(&f->lock);
	if (is_left)
		thread_exit();
}

/* ---- what others see ----------------------------------------------------------------------------- */

struct heard {
	bool in_folder;
	uint64_t ms;
};

static void edit_status(struct peer_status *p, void *ctx)
{
	const struct heard *h = ctx;

	p->in_folder = h->in_folder;
	if (h->ms > p->last_seen_ms)
		p->last_seen_ms = h->ms;
}

static void publish_relay(struct folder *f, const struct folder_info *info)
{
	struct relay_status s = {
		.path = PATH_FOLDER,
		.state = !info->open  ? PEER_OFFLINE
			 : info->idle ? PEER_SYNCED
				      : PEER_SYNCING,
		.used = true,
		.rtt_us = -1,
	};

	(void)snprintf(s.address, sizeof(s.address), "folder:%.240s", f->path);
	(void)snprintf(s.error, sizeof(s.error), "%.159s", info->error);
	status_set_relay(f->o.status, &s);
}

static void publish_peers(struct folder *f)
{
	for (size_t i = 0; i < f->writer_count; i++) {
		struct folder_writer *w = &f->writers[i];
		struct heard h = {.in_folder = f->open && w->writes, .ms = w->heard_ms};

		if (w->writes && w->device.actor != db_actor(f->o.db))
			status_edit(f->o.status, w->device.actor, edit_status, &h);
	}
}

static bool is_idle(const struct folder *f)
{
	return f->open && f->scanned && !f->busy && f->item_count == 0 && f->ack.len == 0 &&
	       !f->ack_ms && !mailbox_is_waiting(f->mailbox) &&
	       f->taken_version == f->index.version && f->looked == f->taken_generation;
}

static void publish(struct folder *f)
{
	struct folder_info info = {
		.open = f->open,
		.idle = is_idle(f),
		.generation = f->looked,
		.waiting_bytes = f->item_bytes,
		.lost_count = f->lost_count,
		.written_ms = f->written_ms,
		.up_bytes = f->up_bytes,
		.down_bytes = f->down_bytes,
	};

	for (size_t i = 0; i < f->index.count; i++) {
		const struct folder_file *file = f->index.files[i];
		bool odd = !file->good;

		for (size_t j = 0; j < file->count; j++)
			odd = odd || file->items[j].bad;
		info.odd_count += odd;
		info.file_count += file->good;
		info.bytes += file->good ? file->size : 0;
	}
	(void)snprintf(info.path, sizeof(info.path), "%s", f->path);
	(void)snprintf(info.error, sizeof(info.error), "%s",
		       f->error[0] ? f->error : f->write_error);
	mutex_lock(&f->lock);
	f->info = info;
	mutex_unlock(&f->lock);
	publish_peers(f);
	publish_relay(f, &info);
}

void folder_info(struct folder *f, struct folder_info *ret)
{
	uint64_t now = monotonic_ms();

	mutex_lock(&f->lock);
	*ret = f->info;
	if (f->call_ms && now > f->call_ms + FOLDER_HANGS_MS) {
		ret->open = false;
		ret->idle = false;
		(void)snprintf(ret->error, sizeof(ret->error),
			       "it has not answered for %u s: is its server or sync program alive?",
			       (unsigned)((now - f->call_ms) / 1000));
	}
	mutex_unlock(&f->lock);
}

/* ---- there, or not ------------------------------------------------------------------------------- */

static void set_error(struct folder *f, int r)
{
	if (r == -ENOENT && folder_io_is_dir(f, "") == 0)
		(void)snprintf(f->error, sizeof(f->error),
			       "%s is gone from it: is it mounted? \"blaze relay add\" begins anew",
			       f->base);
	else
		(void)snprintf(f->error, sizeof(f->error), "it cannot be read: %s", strerror(-r));
}

static void tell(const struct folder *f, enum watch_kind kind, const char *why)
{
	AUTO(free_ptr) char *address = xasprintf(FOLDERS_SCHEME "%s", f->path);

	watch_relay(db_watch(f->o.db), kind, PATH_FOLDER, address, why);
}

static void go_away(struct folder *f, int r, uint64_t now_ms)
{
	char before[sizeof(f->error)];

	memcpy(before, f->error, sizeof(before));
	set_error(f, r);
	if (f->open || strcmp(before, f->error) != 0)
		log_warn("folder %s: %s", f->path, f->error);
	if (f->open)
		tell(f, WATCH_RELAY_AWAY, f->error);
	f->open = false;
	f->open_ms = now_ms + OPEN_MS;
	close_fd(&f->watch);
}

static int make(struct folder *f)
{
	int r = folder_io_is_dir(f, "");

	if (r == 0)
		r = folder_io_mkdir(f, f->own);
	if (r < 0 && folder_io_is_dir(f, f->base) == 0)
		r = 0; /* it can be read, at least */
	if (r < 0)
		return r;
	f->fresh = false;
	f->o.made(f->o.ctx, f->path);
	return 0;
}

static void tell_open(struct folder *f)
{
	f->open = true;
	f->error[0] = 0;
	f->news_ms = monotonic_ms();
	log_info("folder %s: open, %zu files", f->path, f->index.count);
	tell(f, WATCH_RELAY_OPEN, NULL);
}

static void look(struct folder *f, uint64_t now_ms)
{
	bool was_open = f->open;
	int r = f->fresh ? make(f) : 0;

	if (r == 0 && f->watch < 0 && !folder_io_is_remote(f))
		f->watch = platform_watch_create();
	if (f->watch >= 0)
		platform_watch_drain(f->watch);
	if (r == 0)
		r = folder_scan(f, now_ms);
	f->scanned_ms = now_ms;
	if (r < 0) {
		go_away(f, r, now_ms);
		return;
	}
	if (!was_open) {
		tell_open(f);
		folder_check_opened(f);
	}
}

/* When to list again, though nobody told of a change. */
static uint64_t next_look(const struct folder *f)
{
	uint64_t missing = FOLDER_MISSING_PAUSES * f->pause_ms;
	uint64_t quiet = f->scanned_ms > f->news_ms ? f->scanned_ms - f->news_ms : 0;
	uint64_t pause = f->watch >= 0 ? FOLDER_LOOK_MS_MAX : quiet / 8;
	uint64_t at;

	pause = pause < FOLDER_LOOK_MS_MIN ? FOLDER_LOOK_MS_MIN : pause;
	at = f->scanned_ms + (pause > FOLDER_LOOK_MS_MAX ? FOLDER_LOOK_MS_MAX : pause);
	for (size_t i = 0; i < f->index.count; i++) {
		const struct folder_file *file = f->index.files[i];

		if (file->missing_ms && file->missing_ms + missing < at)
			at = file->missing_ms + missing;
		if (file->retry_ms && file->retry_ms < at)
			at = file->retry_ms;
	}
	return at > f->scanned_ms + SCAN_GATHER_MS ? at : f->scanned_ms + SCAN_GATHER_MS;
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* That a disk was unmounted, nobody tells. */
static bool is_there(struct folder *f, uint64_t now_ms)
{
	if (now_ms < f->there_ms)
		return true;
	f->there_ms = now_ms + f->pause_ms;
	return folder_io_is_dir(f, f->base) == 0;
}

static void tidy(struct folder *f)
{
	folder_fold(f, monotonic_ms());
	folder_compact(f, monotonic_ms());
}

/* Returns when it wants to be called again. */
static uint64_t step(struct folder *f, bool told)
{
	uint64_t now = monotonic_ms();

	folder_read_writers(f);
	if (!f->open && now < f->open_ms)
		return f->open_ms;
	if (!f->open || told || now >= next_look(f) || !is_there(f, now))
		look(f, now);
	if (!f->open)
		return f->open_ms;
	int r = folder_take(f);
	if (r < 0) {
		(void)snprintf(f->write_error, sizeof(f->write_error),
			       "what came cannot be stored here: %s", strerror(-r));
		return monotonic_ms() + STORE_RETRY_MS;
	}
	folder_put(f, monotonic_ms(), atomic_load(&f->stopping));
	if (!atomic_load(&f->stopping))
		tidy(f);
	return sooner(sooner(folder_put_due(f), next_look(f)), f->there_ms);
}

static void wait_until(struct folder *f, uint64_t at_ms, bool *ret_told)
{
	struct pollfd fds[] = {{.fd = f->wake[0], .events = POLLIN},
			       {.fd = f->watch, .events = POLLIN}};
	uint64_t now = monotonic_ms();
	uint64_t most = f->wake[0] >= 0 ? FOLDER_LOOK_MS_MAX : FOLDER_LOOK_MS_MIN;
	uint64_t wait = at_ms > now ? at_ms - now : 0;
	char bytes[16];

	(void)poll(fds, countof(fds), (int)(wait < most ? wait : most));
	*ret_told = f->watch >= 0 && (fds[1].revents & POLLIN);
	while (recv(f->wake[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	atomic_store(&f->changed, false);
}

static void *run(void *arg)
{
	struct folder *f = arg;
	bool told = false;

	while (!atomic_load(&f->stopping)) {
		uint64_t at = step(f, told);

		publish(f);
		if (atomic_load(&f->stopping))
			break;
		wait_until(f, at, &told);
		if (told && !atomic_load(&f->stopping)) {
			struct pollfd pause = {.fd = f->wake[0]};

			(void)poll(&pause, 1, SCAN_GATHER_MS);
		}
	}
	if (f->open)
		folder_put(f, monotonic_ms(), true);
	if (f->open)
		tell(f, WATCH_RELAY_AWAY, NULL);
	f->open = false;
	publish_peers(f);
	mutex_lock(&f->lock);
	f->ended = true;
	cond_broadcast(&f->changed_cond);
	mutex_unlock(&f->lock);
	return NULL;
}

void folder_wake(struct folder *f)
{
	(void)send(f->wake[1], "", 1, MSG_DONTWAIT | PLATFORM_SEND_FLAGS);
}

/* Any thread. */
static void db_changed(void *ctx)
{
	struct folder *f = ctx;

	if (!atomic_exchange(&f->changed, true))
		folder_wake(f);
}

/* ---- start and stop ------------------------------------------------------------------------------ */

/* What another device made will be put by that device, if it uses the folder, too; but not for ever. */
static bool leaves(void *ctx, uint64_t actor)
{
	struct folder *f = ctx;

	for (size_t i = 0; i < f->writer_count; i++) {
		struct folder_writer *w = &f->writers[i];

		if (w->device.actor != actor || !w->writes)
			continue;
		if (!w->left_ms)
			w->left_ms = monotonic_ms();
		return monotonic_ms() < w->left_ms + FOLDER_MAKER_PAUSES * f->pause_ms;
	}
	return false;
}

static void start_mailbox(struct folder *f)
{
	struct slice path = SLICE_STR(f->path);
	struct id place = digest_id("blaze folder place", &path, 1);
	struct reader r = reader_init(SLICE(place.b, sizeof(place.b)));
	char hex[ID_HEX_BYTES];

	f->mailbox = mailbox_create(f->o.db, reader_be64(&r) | 1);
	f->self = mailbox_device_tag(f->mailbox, db_actor(f->o.db));
	mailbox_be_patient(f->mailbox, MAILBOX_FOREIGN_MS, leaves, f);
	int e = mailbox_start(f->mailbox, SLICE("", 0));
	assert(e == 0);
	struct id id = mailbox_id(f->mailbox);
	id_hex(&id, hex);
	(void)snprintf(f->base, sizeof(f->base), "blaze1/%s", hex);
	id_hex(&f->self, hex);
	(void)snprintf(f->own, sizeof(f->own), "%s/w/%s", f->base, hex);
}

/* Tests do not wait for half a minute. */
static uint64_t read_pause_ms(void)
{
	const char *text = getenv("BLAZE_FOLDER_PAUSE_MS");
	unsigned long ms = text ? strtoul(text, NULL, 10) : 0;

	return ms > 0 && ms < FOLDER_PAUSE_MS ? ms : FOLDER_PAUSE_MS;
}

struct folder *folder_start(const struct folder_options *o)
{
	struct folder *f = xcalloc(1, sizeof(*f));

	f->o = *o;
	f->path = xstrdup(o->path);
	f->o.path = NULL; /* borrowed for this call only */
	f->fresh = o->fresh;
	f->watch = -1;
	f->pause_ms = read_pause_ms();
	f->busy = true;
	mutex_init(&f->lock);
	cond_init(&f->changed_cond);
	(void)snprintf(f->info.path, sizeof(f->info.path), "%s", f->path);
	start_mailbox(f);
	folder_check_load(f);
	if (platform_socketpair(SOCK_DGRAM, f->wake) < 0) {
		f->wake[0] = f->wake[1] = -1; /* it is looked at once a second, then */
		log_warn("folder %s: too many open files", f->path);
	}
	f->observer = (struct db_observer){.changed = db_changed, .ctx = f};
	db_observe(o->db, &f->observer);
	thread_start(&f->thread, "blaze-folder", run, f);
	return f;
}

void folder_stop(struct folder *f)
{
	atomic_store(&f->stopping, true);
	folder_wake(f);
}

static void leave(struct folder *f)
{
	mutex_lock(&left_lock);
	left = xreallocarray(left, left_count + 1, sizeof(struct folder *));
	left[left_count++] = f;
	mutex_unlock(&left_lock);
}

static void destroy(struct folder *f)
{
	mailbox_destroy(f->mailbox);
	mailbox_destroy(f->checker);
	folder_index_fini(&f->index);
	for (size_t i = 0; i < f->item_count; i++)
		buf_fini(&f->items[i]);
	free(f->items);
	free(f->heads);
	buf_fini(&f->ack);
	buf_fini(&f->ack_written);
	free(f->writers);
	close_fd(&f->watch);
	close_fd(&f->wake[0]);
	close_fd(&f->wake[1]);
	cond_fini(&f->changed_cond);
	mutex_fini(&f->lock);
	free(f->path);
	free(f);
}

void folder_join(struct folder *f, uint64_t deadline_ms)
{
	bool is_left = false;

	db_unobserve(f->o.db, &f->observer);
	mutex_lock(&f->lock);
	while (!f->ended && !is_left) {
		uint64_t now = monotonic_ms();

		if (now >= deadline_ms && f->call_ms)
			is_left = f->left = true;
		else
			(void)cond_wait_until(&f->changed_cond, &f->lock,
					      now < deadline_ms ? deadline_ms
								: now + SCAN_GATHER_MS);
	}
	mutex_unlock(&f->lock);
	if (is_left) {
		log_warn("folder %s does not answer: left as it is", f->path);
		leave(f);
		return;
	}
	thread_join(&f->thread);
	destroy(f);
}
