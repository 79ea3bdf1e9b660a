/* The databases the relay may read some of, and the thread that has them. */
#include "relay/copies.h"

#include "core/db.h"
#include "core/log.h"
#include "core/thread.h"
#include "net/mail.h"
#include "relay/copy.h"

#include <stdlib.h>
#include <string.h>

struct message {
	struct message *next;
	bool welcome;
	struct buf bytes;
};

struct queue {
	struct message *first;
	struct message *last;
	size_t bytes;
};

struct seat {
	struct copies *copies;
	struct id mailbox;
	uint8_t dh_pk[KEYS_PK_BYTES];
	uint8_t hash[NOISE_HASH_BYTES];
	struct queue in;  /* protected by the lock */
	struct queue out; /* protected by the lock */
	bool left;	  /* protected by the lock: to be freed by the thread */
	int error;	  /* protected by the lock */
	/* The thread's: */
	struct smart *smart;
	struct copy *copy; /* that its stream is about, while it is open */
};

struct copies {
	struct copies_options options;
	struct thread thread;
	struct mutex lock;
	struct cond work;
	bool busy;	     /* protected by lock: there may be something to do */
	bool ends;	     /* protected by lock */
	struct copy **items; /* protected by lock; changed by the thread only, which reads without */
	size_t count;
	struct seat **seats; /* protected by lock; only the thread takes any out */
	size_t seat_count;
	bool said; /* the thread's: the network thread has something to fetch */
};

static void queue_add(struct queue *q, bool welcome, struct buf *bytes)
{
	struct message *m = xcalloc(1, sizeof(*m));

	m->welcome = welcome;
	m->bytes = *bytes;
	*bytes = (struct buf){0};
	q->bytes += m->bytes.len;
	if (q->last)
		q->last->next = m;
	else
		q->first = m;
	q->last = m;
}

static struct message *queue_take(struct queue *q)
{
	struct message *m = q->first;

	if (!m)
		return NULL;
	q->bytes -= m->bytes.len;
	q->first = m->next;
	if (!q->first)
		q->last = NULL;
	return m;
}

static void message_free(struct message *m)
{
	if (m->welcome && m->bytes.data)
		wipe(m->bytes.data, m->bytes.cap);
	buf_fini(&m->bytes);
	free(m);
}

static void queue_fini(struct queue *q)
{
	struct message *m = NULL;

	while ((m = queue_take(q)))
		message_free(m);
}

static struct copy *find(const struct copies *c, const struct id *mailbox)
{
	for (size_t i = 0; i < c->count; i++) {
		if (id_eq(copy_mailbox(c->items[i]), mailbox))
			return c->items[i];
	}
	return NULL;
}

/* ---- saying, on the thread ----------------------------------------------------------------------- */

static void say(struct seat *s, const struct mail *m)
{
	struct buf message = {0};

	mail_encode(m, &message);
	mutex_lock(&s->copies->lock);
	queue_add(&s->out, false, &message);
	mutex_unlock(&s->copies->lock);
	s->copies->said = true;
}

static void say_reads(struct seat *s, bool reads, const char *text)
{
	say(s, &(struct mail){.type = MAIL_READS, .reads = reads, .text = SLICE_STR(text)});
}

/* ---- copies come and go -------------------------------------------------------------------------- */

static size_t list_seats(struct copies *c, struct seat ***ret)
{
	mutex_lock(&c->lock);
	size_t n = c->seat_count;
	*ret = xmemdup(c->seats, n * sizeof(struct seat *));
	mutex_unlock(&c->lock);
	return n;
}

static void end_streams(struct copies *c, const struct copy *copy)
{
	AUTO(free_ptr) struct seat **seats = NULL;
	size_t n = list_seats(c, &seats);

	for (size_t i = 0; i < n; i++) {
		if (seats[i]->copy != copy)
			continue;
		smart_close(seats[i]->smart);
		seats[i]->copy = NULL;
	}
}

/* Tells all who have the mailbox open. */
static void tell_all(struct copies *c, const struct id *mailbox, bool reads, const char *text)
{
	AUTO(free_ptr) struct seat **seats = NULL;
	size_t n = list_seats(c, &seats);

	for (size_t i = 0; i < n; i++) {
		if (id_eq(&seats[i]->mailbox, mailbox))
			say_reads(seats[i], reads, text);
	}
}

static void add_copy(struct copies *c, struct copy *copy)
{
	mutex_lock(&c->lock);
	c->items = xreallocarray(c->items, c->count + 1, sizeof(struct copy *));
	c->items[c->count++] = copy;
	mutex_unlock(&c->lock);
}

/* Erases it, and says so. */
static void drop_copy(struct copies *c, struct copy *copy)
{
	struct id mailbox = *copy_mailbox(copy);

	mutex_lock(&c->lock);
	for (size_t i = 0; i < c->count; i++) {
		if (c->items[i] == copy)
			c->items[i] = c->items[--c->count];
	}
	mutex_unlock(&c->lock);
	end_streams(c, copy);
	copy_erase(copy);
	tell_all(c, &mailbox, false, "");
}

/* WELCOME: begins a copy, if there is none. */
static void begin_copy(struct copies *c, struct seat *s, struct slice welcome)
{
	struct copy *copy = NULL;

	if (find(c, &s->mailbox)) {
		say_reads(s, true, "");
		return;
	}
	if (c->count >= c->options.count_max) {
		say_reads(s, false, "it reads as many databases as it may");
		return;
	}
	int r = copy_create(c->options.home, c->options.keys, &s->mailbox, welcome, &copy);
	if (r < 0) {
		log_warn("a copy could not be made: %s", strerror(-r));
		say_reads(s, false,
			  r == -ENOSPC ? "its disk is full"
				       : "it could not make a copy of what it was granted");
		return;
	}
	add_copy(c, copy);
	log_info("something was granted by a database; there are %zu such", c->count);
	tell_all(c, &s->mailbox, true, "");
}

/* ---- streams ------------------------------------------------------------------------------------- */

/* The device opens the stream: is there a copy, and is it a member by what the copy knows? */
static bool admits(void *ctx, struct smart_party *ret)
{
	struct seat *s = ctx;
	struct copies *c = s->copies;
	struct copy *copy = find(c, &s->mailbox);
	struct member_info m;

	if (!copy)
		return false;
	int r = copy_open(copy, c->options.keys, c->options.bytes_max);
	if (r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EACCES || r == -ENOENT) {
		/* It is a copy: what cannot be used is had again. */
		log_warn("a copy is not usable, and is begun anew: %s", strerror(-r));
		drop_copy(c, copy);
		return false;
	}
	if (r < 0) {
		log_warn("a copy cannot be opened: %s", strerror(-r));
		return false;
	}
	struct db *db = copy_db(copy);
	if (db_member_by_key(db, s->dh_pk, &m) < 0 || m.removed || m.role == MEMBER_RELAY)
		return false;
	s->copy = copy;
	*ret = (struct smart_party){.db = db, .peer = m.device.actor, .now_ms = db_now_ms(db)};
	return true;
}

static int receive(struct copies *c, struct seat *s, struct message *m)
{
	struct slice bytes = buf_slice(&m->bytes);

	if (m->welcome) {
		begin_copy(c, s, bytes);
		return 0;
	}
	if (!s->smart) {
		struct smart_options o = {.admits = admits, .ctx = s};

		memcpy(o.hash, s->hash, sizeof(o.hash));
		s->smart = smart_create(&o);
	}
	int r = smart_receive(s->smart, bytes);
	if (s->copy && !smart_is_open(s->smart))
		s->copy = NULL;
	if (s->copy)
		copy_came(s->copy, bytes.len);
	return r;
}

static void fail(struct seat *s, int error)
{
	log_info("a member's stream ends: %s", strerror(-error));
	mutex_lock(&s->copies->lock);
	s->error = s->error ? s->error : error;
	mutex_unlock(&s->copies->lock);
	s->copies->said = true;
}

/* What came; not more than has come by now, so that all get their turn. */
static void hear(struct copies *c, struct seat *s)
{
	mutex_lock(&c->lock);
	struct queue in = s->in;
	s->in = (struct queue){0};
	bool ended = s->error < 0 || s->left;
	mutex_unlock(&c->lock);

	for (struct message *m; (m = queue_take(&in));) {
		int r = ended ? 0 : receive(c, s, m);

		message_free(m);
		ended = ended || r < 0;
		if (r < 0)
			fail(s, r);
	}
}

static bool has_room(struct seat *s)
{
	mutex_lock(&s->copies->lock);
	bool room = s->out.bytes < COPIES_OUT_BYTES && s->error == 0 && !s->left;
	mutex_unlock(&s->copies->lock);
	return room;
}

static void speak(struct seat *s)
{
	AUTO(buf_fini) struct buf message = {0};
	int r = 1;

	while (r > 0 && s->smart && has_room(s)) {
		r = smart_next(s->smart, &message);
		if (r > 0)
			say(s, &(struct mail){.type = MAIL_STREAM, .rest = buf_slice(&message)});
	}
	if (r < 0)
		fail(s, r);
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void remove_seat(struct copies *c, struct seat *s)
{
	mutex_lock(&c->lock);
	for (size_t i = 0; i < c->seat_count; i++) {
		if (c->seats[i] == s)
			c->seats[i] = c->seats[--c->seat_count];
	}
	mutex_unlock(&c->lock);
	smart_destroy(s->smart);
	queue_fini(&s->in);
	queue_fini(&s->out);
	free(s);
}

static bool is_left(struct seat *s)
{
	mutex_lock(&s->copies->lock);
	bool left = s->left;
	mutex_unlock(&s->copies->lock);
	return left;
}

static bool is_used(struct seat *const *seats, size_t n, const struct copy *copy)
{
	for (size_t i = 0; i < n; i++) {
		if (seats[i]->copy == copy)
			return true;
	}
	return false;
}

/* Makes durable what came, and sees what it means for the copy itself. */
static void tend(struct copies *c, struct copy *copy)
{
	switch (copy_tend(copy, c->options.bytes_max)) {
	case COPY_FINE:
		break;
	case COPY_REMOVED:
		log_info("a database does not grant anything any more: its copy is erased");
		drop_copy(c, copy);
		break;
	case COPY_FULL:
		end_streams(c, copy);
		tell_all(c, copy_mailbox(copy), true, "its copy has reached the quota");
		break;
	}
}

/* Once through everything. */
static void pass(struct copies *c)
{
	AUTO(free_ptr) struct seat **seats = NULL;
	size_t n = list_seats(c, &seats);
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (is_left(seats[i]))
			remove_seat(c, seats[i]);
		else
			seats[kept++] = seats[i];
	}
	for (size_t i = 0; i < kept; i++)
		hear(c, seats[i]);
	for (size_t i = c->count; i-- > 0;) {
		if (copy_db(c->items[i]))
			tend(c, c->items[i]);
	}
	for (size_t i = 0; i < kept; i++)
		speak(seats[i]);
	for (size_t i = 0; i < c->count; i++) {
		if (copy_db(c->items[i]) && !is_used(seats, kept, c->items[i]))
			copy_close(c->items[i]);
	}
}

/* Whether a pass has left something to do: what one seat brought is news for the others. */
static bool is_restless(struct copies *c)
{
	for (size_t i = 0; i < c->count; i++) {
		if (copy_db(c->items[i]) && copy_is_restless(c->items[i]))
			return true;
	}
	return false;
}

/* Folds what is old, step by step, as long as nothing else is to be done. */
static bool compact(struct copies *c)
{
	for (size_t i = 0; i < c->count; i++) {
		if (copy_db(c->items[i]) && copy_compact(c->items[i]))
			return true;
	}
	return false;
}

static void *run(void *arg)
{
	struct copies *c = arg;
	bool idle = false;

	mutex_lock(&c->lock);
	while (!c->ends) {
		if (!c->busy && idle) {
			cond_wait(&c->work, &c->lock);
			continue;
		}
		bool busy = c->busy;
		c->busy = false;
		mutex_unlock(&c->lock);
		if (busy) {
			pass(c);
			if (c->said)
				c->options.news(c->options.ctx);
			busy = c->said || is_restless(c);
			c->said = false;
			idle = false;
		} else {
			idle = !compact(c);
		}
		mutex_lock(&c->lock);
		c->busy = c->busy || busy;
	}
	mutex_unlock(&c->lock);
	return NULL;
}

static void wake_locked(struct copies *c)
{
	c->busy = true;
	cond_broadcast(&c->work);
}

/* ---- life ---------------------------------------------------------------------------------------- */

int copies_create(const struct copies_options *options, struct copies **ret, struct why *why)
{
	struct copies *c = xcalloc(1, sizeof(*c));

	c->options = *options;
	mutex_init(&c->lock);
	cond_init(&c->work);
	int r = copy_list(options->home, &c->items, &c->count, why);
	if (r < 0) {
		copies_destroy(c);
		return r;
	}
	*ret = c;
	return 0;
}

void copies_start(struct copies *c)
{
	thread_start(&c->thread, "relay-copies", run, c);
}

void copies_stop(struct copies *c)
{
	if (!c || !c->thread.running)
		return;
	mutex_lock(&c->lock);
	c->ends = true;
	cond_broadcast(&c->work);
	mutex_unlock(&c->lock);
	thread_join(&c->thread);
}

void copies_destroy(struct copies *c)
{
	if (!c)
		return;
	copies_stop(c);
	while (c->seat_count > 0) {
		assert(c->seats[0]->left);
		remove_seat(c, c->seats[0]);
	}
	for (size_t i = 0; i < c->count; i++)
		copy_destroy(c->items[i]);
	free(c->items);
	free(c->seats);
	cond_fini(&c->work);
	mutex_fini(&c->lock);
	free(c);
}

struct seat *seat_take(struct copies *c, const struct id *mailbox,
		       const uint8_t dh_pk[KEYS_PK_BYTES], const uint8_t hash[NOISE_HASH_BYTES],
		       bool *ret_reads)
{
	struct seat *s = xcalloc(1, sizeof(*s));

	s->copies = c;
	s->mailbox = *mailbox;
	memcpy(s->dh_pk, dh_pk, sizeof(s->dh_pk));
	memcpy(s->hash, hash, sizeof(s->hash));
	mutex_lock(&c->lock);
	c->seats = xreallocarray(c->seats, c->seat_count + 1, sizeof(struct seat *));
	c->seats[c->seat_count++] = s;
	*ret_reads = find(c, mailbox) != NULL;
	mutex_unlock(&c->lock);
	return s;
}

void seat_leave(struct seat *s)
{
	if (!s)
		return;
	mutex_lock(&s->copies->lock);
	s->left = true;
	wake_locked(s->copies);
	mutex_unlock(&s->copies->lock);
}

static int add(struct seat *s, bool welcome, struct slice bytes)
{
	struct buf copied = {0};

	buf_slice_append(&copied, bytes);
	mutex_lock(&s->copies->lock);
	int r = s->in.bytes > COPIES_IN_BYTES ? -EPROTO : s->error;
	if (r == 0) {
		queue_add(&s->in, welcome, &copied);
		wake_locked(s->copies);
	}
	mutex_unlock(&s->copies->lock);
	if (r < 0)
		buf_fini(&copied);
	return r;
}

int seat_welcome(struct seat *s, struct slice welcome)
{
	return add(s, true, welcome);
}

int seat_receive(struct seat *s, struct slice message)
{
	return add(s, false, message);
}

int seat_next(struct seat *s, struct buf *out)
{
	mutex_lock(&s->copies->lock);
	bool full = s->out.bytes >= COPIES_OUT_BYTES;
	struct message *m = queue_take(&s->out);
	int r = m ? 1 : s->error;
	if (full && s->out.bytes < COPIES_OUT_BYTES)
		wake_locked(s->copies);
	mutex_unlock(&s->copies->lock);
	if (!m)
		return r;
	buf_fini(out);
	*out = m->bytes;
	m->bytes = (struct buf){0};
	message_free(m);
	return 1;
}
